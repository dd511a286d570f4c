"""Several threads on one memory."""

from __future__ import annotations

import importlib
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from child_tasks import opened, records
from sqlalchemy import text

from hippomem import ClosedError, Memory, NotFoundError
from hippomem.storage.sqlite import SQLite
from hippomem.storage.store import Store
from hippomem.threads import given_threads, processors

Opened = Callable[..., Memory]


def in_threads(*works: Callable[[], None]) -> None:
    """Run all at the same time; the first error of any of them is raised."""
    errors: list[BaseException] = []
    ready = threading.Barrier(len(works))

    def guarded(work: Callable[[], None]) -> None:
        ready.wait()
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("name", ["doctor.rebuilt_in_steps", "memory.as_networkx"])
def test_recalls_go_on_while_the_doctor_or_the_graph_take_their_time(
    fast: Opened, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    memory = fast()
    memory.ingest(records(20))
    found: list[int] = []
    module, function = name.split(".")
    whole = getattr(importlib.import_module(f"hippomem.{module}"), function)

    def slow(*args: Any, **options: Any) -> Any:
        other = threading.Thread(target=lambda: found.append(len(memory.recall("What of Visitor7?", 5).passages)))
        other.start()
        other.join(10)
        assert found, "the recall waits"
        return whole(*args, **options)

    monkeypatch.setattr(f"hippomem.{name}", slow)
    assert memory.doctor().ok
    assert memory.graph().number_of_nodes() >= 20
    assert found == [5]


@pytest.mark.sqlite
def test_recalls_go_on_while_what_is_forgotten_is_overwritten(fast: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fast()
    memory.ingest(records(20))
    target, *others = memory.passages()
    found: list[set[str]] = []
    scrub = SQLite.scrub

    def slow(*args: Any) -> None:
        other = threading.Thread(
            target=lambda: found.append({p.id for p in memory.recall("What of Visitor7?", 50).passages})
        )
        other.start()
        other.join(10)
        assert found, "the recall waits"
        scrub(*args)

    monkeypatch.setattr(SQLite, "scrub", slow)
    memory.forget(target)
    assert found == [{passage.id for passage in others}]
    assert memory.doctor().ok


@pytest.mark.sqlite
def test_what_several_forget_at_once_is_overwritten_together(fast: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fast()
    memory.ingest(records(20))
    scrub = SQLite.scrub
    begun: list[int] = []

    def slow(*args: Any) -> None:
        begun.append(len(memory.passages()))
        deadline = time.monotonic() + 30
        while memory.passages() and time.monotonic() < deadline:  # all others are deleted meanwhile
            time.sleep(0.01)
        scrub(*args)

    monkeypatch.setattr(SQLite, "scrub", slow)
    in_threads(*(partial(memory.forget, passage) for passage in memory.passages()))
    assert len(begun) == 2
    assert begun[1] == 0
    assert memory.doctor().ok


def test_the_doctor_finds_all_well_while_others_write(fast: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippomem.doctor.STEP", 7)
    monkeypatch.setattr("hippomem.hippocampus.catchup.BATCH", 16)
    memory = fast()
    memory.ingest(records(60))
    ids = [p.id for p in memory.passages()]
    done = threading.Event()

    def write() -> None:
        for number, record in enumerate(records(60, 1000)):
            memory.add(**record)
            if number % 2:
                memory.forget(ids[number])
            else:
                memory.update(ids[number], f"Visitor{number} came back to Oslo with Visitor{number + 1000}.")
        done.set()

    def examine() -> None:
        while not done.is_set():
            found = memory.doctor()
            assert found.ok, found
            assert {key for key in memory.graph() if not key.startswith("entity:")}

    in_threads(write, examine)
    assert memory.doctor().ok
    told = {node for node, about in memory.graph().nodes(data=True) if about["kind"] == "passage"}
    assert told == {p.id for p in memory.passages()}


def test_threads_add_recall_update_and_forget_on_one_memory(fast: Opened) -> None:
    memory = fast()
    kept: list[str] = []

    def work(number: int) -> None:
        for i, record in enumerate(records(24, 100 * number)):
            event = memory.add(**record)
            assert event.created
            assert event.id in {p.id for p in memory.recall(f"What of Visitor{100 * number + i}?", 500).passages}
            if i % 3 == 0:
                assert memory.forget(event.id).ids == (event.id,)
            elif i % 3 == 1:
                kept.append(memory.update(event.id, f"Visitor{100 * number + i} came back to Oslo.").id)
            else:
                kept.append(event.id)

    in_threads(*(lambda number=n: work(number) for n in range(4)))
    assert memory.doctor().ok
    assert {p.id for p in memory.recall("Visitor", 500).passages} == set(kept)
    assert len(kept) == 4 * 16


@pytest.mark.parametrize("db", [None, ":memory:"])
def test_threads_that_add_and_forget_the_same_thing(fast: Opened, db: str | None) -> None:
    memory = fast(db)
    memory.add("Bea stays.")

    def work() -> None:
        for _ in range(15):
            event = memory.add("Ada met Bea in Oslo.", title="Meeting")
            assert event.text == "Ada met Bea in Oslo."
            with suppress(NotFoundError):  # another thread was faster
                memory.forget(event.id)

    in_threads(work, work, work, work)
    assert {p.text for p in memory.recall("Bea", 9).passages} == {"Bea stays."}
    assert memory.doctor().ok


def test_no_thread_waits_for_the_connections_of_others(fast: Opened) -> None:
    memory = fast()
    memory.add("Ada is here.")
    all_of_them = threading.Barrier(40, timeout=60)

    def work() -> None:
        with memory._store.read():
            all_of_them.wait()

    in_threads(*[work] * 40)
    in_threads(*(lambda n=n: memory.add(f"Ada wrote line {n}.") for n in range(40)))
    assert memory.stats()["passages"] == 41


def test_counting_while_views_come_and_go(fast: Opened) -> None:
    memory, done = fast(), threading.Event()
    assert memory._snapshots is not None
    views = memory._snapshots.folder

    def come_and_go() -> None:
        while not done.is_set():
            folder = views / "view"
            folder.mkdir(parents=True)
            for i in range(20):
                (folder / f"{i}.npy").write_bytes(b"x")
            shutil.rmtree(folder)

    def count() -> None:
        try:
            assert {memory.stats()["bytes"]["views"] for _ in range(150)} <= set(range(21))
        finally:
            done.set()

    in_threads(come_and_go, count)


def test_closing_while_other_threads_are_at_it(tmp_path: Path) -> None:
    memory, begun = opened(tmp_path / "m.db"), threading.Semaphore(0)
    memory.ingest(records(80))

    def until_closed(call: Callable[[int], object]) -> Callable[[], None]:
        def work() -> None:
            with suppress(ClosedError):
                for i in range(10_000):
                    call(i)
                    begun.release()

        return work

    def close() -> None:
        for _ in range(20):
            begun.acquire()
        memory.close()

    in_threads(
        close,
        until_closed(lambda i: memory.add(f"Note {i}.")),
        until_closed(lambda i: memory.recall(f"Ada {i}")),
        until_closed(lambda i: memory.ingest(records(5, 100 + 5 * i))),
        until_closed(lambda i: memory.forget(memory.add(f"Forget {i}.").id)),
        until_closed(lambda _: memory.stats()),
    )
    with opened(tmp_path / "m.db") as again:
        assert again.doctor().ok


@pytest.mark.sqlite
def test_a_connection_in_use_at_the_close_is_closed_after_its_use(tmp_path: Path) -> None:
    store = Store(tmp_path / "m.db")
    with store.read() as connection:
        used = connection.connection.dbapi_connection
        assert isinstance(used, sqlite3.Connection)
        store.close()
        assert connection.scalar(text("SELECT 1")) == 1
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        used.execute("SELECT 1")


@pytest.mark.parametrize(("given", "threads"), [("3", 3), ("2,1", 2), ("", None), ("0", None), ("many", None)])
def test_the_number_of_threads_can_be_given(given: str, threads: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert given_threads() == threads
    assert processors() >= 1
