"""What tests of crashes and of several processes have done in processes of their own.

Imported once by multiprocessing's fork server, so that a child is there in milliseconds. A task says what is
acknowledged by a line in a log file: what is written there survives the process.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Barrier
from typing import Any

import alembic.command  # noqa: F401 - with what follows loaded before the fork
import faiss  # noqa: F401
import langchain_text_splitters  # noqa: F401
import networkx  # noqa: F401
from sqlalchemy import event
from sqlalchemy.pool import Pool

import hippomem.doctor
import hippomem.reencode
import hippomem.transfer
from hippomem import Memory, Settings, SimulatedClock
from hippomem.hippocampus import snapshot
from hippomem.ingest.pipeline import Finished, Stored
from hippomem.storage.rows import NewPassage
from hippomem.testing import HashEncoder, capitals
from hippomem.writing import Writer

PIPELINE = capitals()
PEOPLE = [f"{first} {last}" for first in ("Ada", "Bruno", "Chiara", "Dana") for last in ("Thorne", "Vale", "Okoro")]
PLACES = ["Oslo", "Brackwater", "Gannet Point", "Varrow Island", "Whitlock Library", "Lantern Foundry"]


def opened(db: Path | str, *, batch: int = 256, dimension: int = 64, **options: Any) -> Memory:
    """A memory that needs no model, with a clock that stands still: equal memories, equal exports."""
    settings = Settings(db=str(db), batch=batch, encoder=HashEncoder(dimension), pipeline=PIPELINE)
    return Memory.open(settings=settings, clock=SimulatedClock(), **options)


def records(number: int, first: int = 0) -> list[dict[str, str]]:
    """Short different records that share people and places."""
    made = []
    for i in range(first, first + number):
        rng = random.Random(i)  # noqa: S311
        one, two = rng.sample(PEOPLE, 2)
        place, other = rng.sample(PLACES, 2)
        made.append(
            {
                "title": f"Entry {i}" if i % 3 else f"{one} in {place}",
                "text": f"In entry {i}, {one} met {two} at {place}. From there Visitor{i} left for {other} by ferry.",
            }
        )
    return made


def say(log: Path, *words: object) -> None:
    """Append a line, whole or not at all."""
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, (" ".join(map(str, words)) + "\n").encode())
    os.close(handle)


def said(log: Path) -> list[str]:
    """All lines so far."""
    return log.read_text().splitlines() if log.exists() else []


def dying(at: str, number: int, log: Path, task: Callable[..., None], *args: Any) -> None:
    """Do a task and be killed when it comes to its `number`th SQL statement, or call of a function in CALLS.

    With 0 it lives, and says in the log how many there were.
    """
    count = 0

    def step(*_: object) -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_trace_callback(step)

    if at == "statement":
        event.listen(Pool, "connect", connected)
    else:
        owner, name = CALLS[at]
        original = getattr(owner, name)

        def stepping(*args: Any, **kwargs: Any) -> Any:
            step()
            return original(*args, **kwargs)

        setattr(owner, name, stepping)
    task(*args)
    say(log, count)


CALLS: dict[str, tuple[Any, str]] = {
    "sync": (snapshot, "_sync"),
    "fsync": (os, "fsync"),
    "replace": (Path, "replace"),
    "rename": (Path, "rename"),
    "rmtree": (shutil, "rmtree"),
}


def live(db: Path, folder: Path, log: Path) -> None:
    """A life of one memory: records in four parts, a folder, single notes, a question."""
    store = Writer.store

    def told(writer: Writer, passages: list[NewPassage], finished: list[Finished]) -> Stored:
        stored = store(writer, passages, finished)
        say(log, *(p.id for p in passages))
        return stored

    Writer.store = told  # type: ignore[method-assign]
    with opened(db, batch=8) as memory:
        for first in range(0, 400, 100):
            memory.ingest(records(100, first))
        memory.ingest(folder)
        for i in range(10):
            say(log, memory.add(f"{PEOPLE[i]} wrote note {i} in {PLACES[i % 6]}.", triples=[("Ada", "sent", "it")]).id)
        memory.recall("Whom did Ada Thorne meet?")


def open_and_close(db: Path) -> None:
    opened(db).close()


def open_each(folder: Path, number: int, together: Barrier) -> None:
    """Open new databases at the very moment at which others do."""
    for i in range(number):
        together.wait()
        with opened(folder / f"{i}.db") as memory:
            memory.add(f"Process {os.getpid()} was here.")


def ingest(db: Path, number: int) -> None:
    with opened(db) as memory:
        memory.ingest(records(number))


def call(db: Path, method: str, args: tuple[Any, ...], log: Path) -> None:
    """Call a method of a memory and say the id of what it returns, if it has one."""
    with opened(db) as memory:
        say(log, getattr(getattr(memory, method)(*args), "id", ""))


def forget(db: Path, target: str, log: Path) -> None:
    with opened(db) as memory:
        say(log, *memory.forget(target).ids)


def export(db: Path, file: Path) -> None:
    with opened(db) as memory:
        memory.export(file)


def load(file: Path, db: Path) -> None:
    hippomem.transfer.BATCH = 40
    Memory.load(file, db, settings=Settings(encoder=HashEncoder(), pipeline=PIPELINE)).close()


def reencode(db: Path) -> None:
    hippomem.reencode.BATCH = 40
    Memory.reencode(db, encoder=HashEncoder(96))


def write(db: Path, namespace: str, parts: list[tuple[int, int]], together: Barrier, log: Path) -> None:
    """Ingest the records of `parts`, as (number, first), and add a note after each, while others do the same."""
    together.wait()
    with opened(db, batch=16, namespace=namespace) as memory:
        for number, first in parts:
            memory.ingest(records(number, first))
            say(log, memory.add(f"Note after {first} by {PEOPLE[first % 12]}.").id)
        say(log, memory.stats()["passages"])
