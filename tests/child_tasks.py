"""What tests of crashes and of several processes have done in processes of their own.

Imported once by multiprocessing's fork server, so that a child is there in milliseconds. A task says what is
acknowledged by a line in a log file: what is written there survives the process.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import resource
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import alembic.command  # noqa: F401 - with what follows loaded before the fork
import faiss  # noqa: F401
import langchain.chat_models  # noqa: F401
import langchain_openai  # noqa: F401
import langchain_text_splitters  # noqa: F401
import networkx  # noqa: F401
import pytest
from pydantic import SecretStr
from sqlalchemy import event
from sqlalchemy.pool import Pool
from traces import traces
from unchanged import state

import hippomem.consolidation.worker
import hippomem.doctor
import hippomem.extracting
import hippomem.extraction_calls
import hippomem.reencode
import hippomem.storage.outages
import hippomem.transfer
from hippomem import (
    AsyncMemory,
    HippomemError,
    Memory,
    Settings,
    SimulatedClock,
    StoreAccessError,
    StoreFullError,
    viewing,
)
from hippomem.cli_graph import write_graph
from hippomem.hippocampus import snapshot
from hippomem.ingest.pipeline import Reading, Stored
from hippomem.storage.rows import NewPassage
from hippomem.testing import HashEncoder, ScriptedChatModel, capitals
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
    "store": (Writer, "store"),
    "sync": (snapshot, "_sync"),
    "fsync": (os, "fsync"),
    "replace": (Path, "replace"),
    "rmtree": (shutil, "rmtree"),
}


def live(db: Path, folder: Path, log: Path) -> None:
    """A life of one memory: records in four parts, a folder, single notes, a question."""
    store = Writer.store

    def told(writer: Writer, passages: list[NewPassage], readings: list[Reading], *more: Any) -> Stored:
        stored = store(writer, passages, readings, *more)
        say(log, *(p.id for p in passages))
        return stored

    with pytest.MonkeyPatch.context() as patch, opened(db, batch=8) as memory:
        patch.setattr(Writer, "store", told)
        for first in range(0, 400, 100):
            memory.ingest(records(100, first))
        memory.ingest(folder)
        for i in range(10):
            text = f"{PEOPLE[i]} wrote note {i} in {PLACES[i % 6]}."
            # Dated: what is said again without a date counts as said then.
            say(log, memory.add(text, triples=[("Ada", "sent", "it")], occurred_at=datetime(2026, 1, 1, tzinfo=UTC)).id)
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


def killed_as_it_saves(db: Path) -> None:
    def die(_: Path) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    snapshot._checksum = die
    with opened(db) as memory:
        memory.ingest(records(300))
        memory.recall("ferry")


def killed_as_it_saves_the_slow_map(db: Path) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with opened(db) as memory, pytest.MonkeyPatch.context() as patched:
        memory.feedback(memory.recall("ferry"), useful=[memory.passages(limit=1)[0].id])
        patched.setattr(Path, "replace", die)
        memory._learning.rehearse(memory._learning.draw(1, seed=1))


def ingest_file(db: Path, file: Path) -> None:
    with opened(db, batch=4) as memory:
        memory.ingest(file)


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


def forked(db: Path, log: Path) -> None:
    """Open a memory, fork, and close it before the child, which says what it added."""
    memory = opened(db)
    memory.add("Ada was here before the fork.")
    child = os.fork()
    if child:
        memory.close()
        say(log, "closed")
        os.waitpid(child, 0)
        return
    while not said(log):
        time.sleep(0.01)
    for number in range(20):
        say(log, memory.add(f"Note {number} of the child.").id)
    os._exit(0)  # as a process that is killed


def forked_beside_a_saver(db: Path, log: Path) -> None:
    """Fork just after a recall that has a view saved, with the memory's lock held; the child recalls, too."""
    begin = snapshot.Snapshots.begin
    viewing.IN_USE, snapshot.SMALLEST = 48, 16

    def slowly(*args: Any) -> Path:
        time.sleep(0.5)
        return begin(*args)

    snapshot.Snapshots.begin = slowly  # type: ignore[method-assign]
    memory = opened(db)
    for record in records(60, 100):
        memory.add(**record)
    memory.recall("Whom did Ada Thorne meet?")
    time.sleep(0.1)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        memory.close()
        return
    signal.alarm(10)  # or it would wait for ever
    say(log, len(memory.recall("Whom did Ada Thorne meet?", 1000).passages))
    os._exit(0)


def as_nobody(db: Path, log: Path) -> None:
    """Say how far one gets without the rights of root: opened, added, recalled, forgot, or the error."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    try:
        with opened(db) as memory:
            say(log, "opened")
            event_ = memory.add("Ada met Bea.")
            say(log, "added")
            assert memory.recall("Ada", 500).passages
            say(log, "recalled")
            memory.forget(event_.id)
            say(log, "forgot")
    except HippomemError as error:
        say(log, f"{type(error).__name__}: {error}")


def without_threads(folder: Path, log: Path) -> None:
    """Do what takes a thread where the system gives none, and say each error; then once more where it does."""
    if os.getuid() == 0:  # whom no limit on processes holds
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    model = ScriptedChatModel(answers=lambda _: '{"entities": ["Ada"], "triples": [["Ada", "met", "Bea"]]}')
    settings = Settings(db=str(folder / "m.db"), encoder=HashEncoder(64), pipeline=PIPELINE, llm=model, batch=16)
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)

    def limited(what: str, call: Callable[[], Any]) -> None:
        resource.setrlimit(resource.RLIMIT_NPROC, (1, hard))
        try:
            say(log, f"{what}: {call()}")
        except HippomemError as error:
            say(log, f"{what}: {error}")
        finally:
            resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))

    def of_a_round() -> str | None:
        return memory.consolidate().steps[0].error

    async def opened_and_closed() -> None:
        await (await AsyncMemory.open(settings=settings)).close()

    async def asked() -> None:
        async with await AsyncMemory.open(settings=settings) as beside:
            resource.setrlimit(resource.RLIMIT_NPROC, (1, hard))
            try:
                await beside.recall("Whom did Ada meet?", decompose=True)
            except HippomemError as error:
                say(log, f"a recall: {error}")
            resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
            await beside.recall("Whom did Ada meet?", decompose=True)

    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == "hippomem-chat":
            raise RuntimeError("can't start new thread")
        start(thread)

    with Memory.open(settings=settings) as memory:
        memory.add("Ada met Bea.")
        limited("a round", of_a_round)
        threading.Thread.start = refused  # type: ignore[method-assign]
        say(log, f"a call: {of_a_round()}")
        threading.Thread.start = start  # type: ignore[method-assign]
        say(log, *[f"{job.state} {job.attempts}" for job in memory.jobs()])
        assert of_a_round() is None
        say(log, *[f"{job.state} {job.attempts}" for job in memory.jobs()])
        limited("workers", lambda: memory.ingest(records(64), workers=1))
    limited("background", lambda: Memory.open(settings=settings, background=True))
    Memory.open(settings=settings, background=True).close()
    limited("AsyncMemory", lambda: asyncio.run(opened_and_closed()))
    asyncio.run(asked())


def has_small_disk(folder: Path, size: int) -> bool:
    """Give this process alone a file system of so many bytes at `folder`, which takes the rights of root."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_namespace, private = 0x20000, 0x44000
    return (
        libc.unshare(new_namespace) == 0
        and libc.mount(b"none", b"/", None, private, None) == 0
        and libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode()) == 0
    )


def fill_up(filler: Path, left: int = 0) -> None:
    """Leave so many bytes of a disk."""
    disk = os.statvfs(filler.parent)
    filler.write_bytes(bytes(max(0, disk.f_bavail * disk.f_frsize - left)))


def limit_files(size: int) -> None:
    """Let no file of this process grow over so many bytes."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


def fill(folder: Path, log: Path, real: bool) -> None:
    """Ingest until the disk is full (a real one, or a limit on files), then go on with a little more space."""
    snapshot.SMALLEST = 10**9
    filler = folder / "filler"
    if real and not has_small_disk(folder, 3_000_000):
        say(log, "cannot")
        return
    filler.write_bytes(bytes(1_000_000))
    if not real:
        limit_files(900_000)
    held = ingest_until_full(folder / "m.db", log, 0)
    assert held > 30
    filler.unlink()
    if not real:
        limit_files(1_200_000)
    # The log takes several times the space of what it holds: all of that must be of use again.
    assert ingest_until_full(folder / "m.db", log, held) > held + 60
    say(log, "went on")


def ingest_until_full(db: Path, log: Path, held: int) -> int:
    """Ingest records from number `held` on until there is no space, and see that what was acknowledged is there."""
    with opened(db, batch=16) as memory:
        try:
            while True:
                held += memory.ingest(records(16, held)).passages
        except StoreFullError as error:
            say(log, "full" if "free some space" in str(error) else error)
        assert memory.stats()["passages"] == held
        assert len(memory.recall("Whom did Ada Thorne meet?", 5000).passages) == held
        assert memory.doctor().ok
    return held


def use_full_disk(folder: Path, log: Path) -> None:
    """Do everything else on a disk without any space, then once more with space."""
    if not has_small_disk(folder, 4_000_000):
        say(log, "cannot")
        return
    filler, dump = folder / "filler", folder / "dump"
    with opened(folder / "m.db") as memory:
        memory.ingest(records(100))
        id_ = memory.recall("What of Visitor17?").passages[0].id
        before = state(memory)
        memory.export(folder / "whole")
        fill_up(filler)
        there = sorted(folder.rglob("*"))
        for write in (
            lambda: memory.add("Ada met Bea."),
            lambda: memory.update(id_, "Ada met Bea."),
            lambda: Memory.reencode(folder / "m.db", encoder=HashEncoder(96)),
            lambda: load(folder / "whole", folder / "loaded.db"),
            lambda: opened(folder / "new.db"),
        ):
            with pytest.raises(StoreFullError, match="free some space"):
                write()
        for write_out in (lambda: memory.export(dump), lambda: write_graph(memory.graph(), folder / "g.json")):
            with pytest.raises(StoreAccessError, match="No space left"):
                write_out()
        (folder / "new.db").unlink(missing_ok=True)
        assert sorted(folder.rglob("*")) == there
        assert state(memory) == before
        assert memory.doctor().ok
        with pytest.raises(StoreFullError, match="free some space"):
            memory.forget(id_)  # drops the views first, whose files are still open here
        assert state(memory) == before
        filler.unlink()
        (folder / "whole").unlink()
    with opened(folder / "m.db") as memory:
        for left in range(80_000, 2_000_000, 20_000):  # until there is space to forget, and none to write the file anew
            fill_up(filler, left)
            with pytest.raises(StoreFullError) as told:
                memory.forget(id_)
            filler.unlink()
            if "it is forgotten, but" in str(told.value):
                break
        assert memory.stats()["passages"] == 99
        assert memory.export(dump) == 99
    open_and_close(folder / "m.db")
    assert traces(folder / "m.db", [b"Visitor17", b"visitor17"]) == []
    dump.unlink()
    Memory.reencode(folder / "m.db", encoder=HashEncoder(96))
    with opened(folder / "m.db", dimension=96) as memory:
        assert memory.stats()["passages"] == 99
        assert memory.doctor().ok
    say(log, "went on")


def fill_views(folder: Path, log: Path) -> None:
    """Save a view where the disk is full at once, or a little later and later; close a memory whose view is due."""
    if not has_small_disk(folder, 8_000_000):
        say(log, "cannot")
        return
    filler = folder / "filler"
    with opened(folder / "m.db") as memory:
        memory.ingest(records(100))
        views = sorted((folder / "m.db.views").rglob("*"))
        for left in range(0, memory.stats()["bytes"]["views"], 8_000):
            fill_up(filler, left)
            with pytest.raises(OSError, match="No space left"):
                memory._snapshots.save(memory._view)
            assert sorted((folder / "m.db.views").rglob("*")) == views
            filler.unlink()
        memory._view.saved_rows = 0  # one is due
        fill_up(filler)
    say(log, "closed")
    filler.unlink()
    with opened(folder / "m.db") as memory:
        assert len(memory.recall("Ada", 500).passages) == 100
        assert memory._view.saved_rows == 100
        assert memory.doctor().ok
    say(log, "went on")


def extract(db: Path, url: str, concurrency: int) -> None:
    """Work on what a chat model is to do until nothing is left, with short pauses and leases."""
    settings = Settings(
        db=str(db),
        encoder=HashEncoder(64),
        pipeline=PIPELINE,
        llm="openai:test-model",
        llm_base_url=url,
        llm_api_key=SecretStr("none"),
        llm_timeout=1.0,
        llm_concurrency=concurrency,
        llm_group_chars=0,
    )
    hippomem.extraction_calls.LEASE_MARGIN = 1.0
    hippomem.extracting.FIRST_PAUSE = 0.05
    hippomem.storage.outages.FIRST = timedelta(seconds=0.05)
    hippomem.storage.outages.LONGEST = timedelta(seconds=0.5)
    hippomem.extracting.LONGEST_FAULT = 0.5
    hippomem.consolidation.worker.POLL_SECONDS = 0.2
    with Memory.open(settings=settings) as memory:
        memory._new_worker().run(until_idle=True)


def consolidate(db: Path, moment: datetime, log: Path) -> None:
    """Rounds of consolidation at a moment, with uses in between, until killed or nothing is due."""
    clock = SimulatedClock(moment)
    with Memory.open(settings=Settings(db=str(db), encoder=HashEncoder(), pipeline=PIPELINE), clock=clock) as memory:
        say(log, "began")
        for round_ in range(50):
            report = memory.consolidate(budget=6)
            found = memory.recall(f"Whom did {PEOPLE[round_ % 12]} meet?", 3)
            memory._note_use(found, [p.id for p in found.passages[:2]])
            if not any(part.counts.get("replayed") for part in report.steps):
                break
        say(log, "ended")


def outcome(log: Path) -> tuple[dict[str, list[str]], set[str], set[str]]:
    """What `take_part` said: the words of each memory that is there, by its id; those that were forgotten; and those of
    which nobody knows, as their process was killed before it said so."""
    live: dict[str, list[str]] = {}
    forgotten: set[str] = set()
    unsure: set[str] = set()
    begun: list[str] = []
    for line in [*said(log), "begins nothing"]:
        first, *rest = line.split()
        if first == "begins":
            unsure.update(word for old in begun[1:2] for word in [*live.pop(old, []), *begun[2:]])
            begun = rest
        elif first == "done":
            deed, old, *words = begun
            words = live.pop(old, []) + words
            if deed == "forget":
                forgotten.update(words)
            else:
                live[rest[0]] = words
            begun = []
    return live, forgotten, unsure


def take_part(db: Path, log: Path, seed: int) -> None:
    """Do one thing after the other with a memory and say so, until killed; only what it added itself is changed."""
    snapshot.SMALLEST = 16
    viewing.STEP, viewing.IN_USE, viewing.UNSAVED, viewing.BARE_SECONDS = 64, 48, 96, 1.0
    rng = random.Random(seed)  # noqa: S311
    live = outcome(log)[0]
    try:
        with opened(db) as memory:
            while True:
                word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=12)).title()
                text = f"{rng.choice(PEOPLE)} told {word} at {rng.choice(PLACES)} to wait for {rng.choice(PEOPLE)}."
                id_ = rng.choice(sorted(live)) if live else "none"
                deed = rng.choice(("add", "add", "update", "forget", "look")) if live else "add"
                if deed == "look":
                    found = memory.recall(f"What of {live[id_][-1]}?", 1000, deep=True)
                    assert id_ in {p.id for p in found.passages}, f"{id_} is not found"
                    memory.feedback(found, [id_])
                    assert [part.error for part in memory.consolidate(budget=4).steps if part.error] == []
                    memory.ingest([{"text": f"{word} left.", "source": log.name}])
                    assert [check for check in memory.doctor().checks if not check.ok] == []
                    continue
                say(log, "begins", deed, "none" if deed == "add" else id_, *([word] if deed != "forget" else []))
                if deed == "forget":
                    memory.forget(id_)
                    live.pop(id_)
                    say(log, "done", id_)
                else:
                    event_ = memory.add(text) if deed == "add" else memory.update(id_, text)
                    live[event_.id] = [*(live.pop(id_) if deed == "update" else []), word]
                    say(log, "done", event_.id)
    except BaseException as error:
        say(log, "error", repr(error))
        raise


def ingest_with_workers(db: Path, encoder: HashEncoder) -> None:
    settings = Settings(db=str(db), batch=4, encoder=encoder, pipeline=PIPELINE)
    with Memory.open(settings=settings) as memory:
        memory.ingest(records(200), workers=2)
