"""Several processes on one database."""

from __future__ import annotations

from contextlib import suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import child_tasks
import pytest
from child_tasks import opened, records, said
from traces import traces

from hippomem import File, HippomemError, Memory, NotFoundError


def together(children: ForkServerContext, *calls: tuple[Any, ...]) -> None:
    """Run tasks at the same time, each in a process; `calls` are (task, *arguments)."""
    started = [children.Process(target=task, args=args) for task, *args in calls]
    for child in started:
        child.start()
    for child in started:
        child.join()
    assert [child.exitcode for child in started] == [0] * len(calls)


def alone(children: ForkServerContext, task: Any, *args: Any) -> None:
    together(children, (task, *args))


def texts(memory: Memory) -> set[str]:
    return {text for _, text in memory.graph().nodes(data="text") if text is not None}


def test_two_processes_write_the_same_and_different_things(children: ForkServerContext, tmp_path: Path) -> None:
    db, logs, barrier = tmp_path / "m.db", [tmp_path / "log0", tmp_path / "log1"], children.Barrier(2, timeout=60)
    # Records 40 to 79 come from both, at about the same time.
    parts = [[(20, 0), (20, 20), (40, 40), (20, 80)], [(20, 100), (20, 120), (40, 40), (20, 140)]]
    together(
        children, *((child_tasks.write, db, "default", own, barrier, log) for own, log in zip(parts, logs, strict=True))
    )
    with opened(db) as memory:
        assert memory.doctor().ok
        notes = {line for log in logs for line in said(log)[:-1]}
        assert all(memory.get(id_) for id_ in notes)
        assert len(notes) == 7  # the note after part 40 is the same
        expected = {record["text"] for record in records(160)}
        assert expected == {text for text in texts(memory) if not text.startswith("Note")}
        assert memory.stats()["passages"] == 160 + 7
        assert {p.text for p in memory.recall("entry", 500).passages} == texts(memory)
    assert max(int(said(log)[-1]) for log in logs) == 167  # the later one saw what the other had written


def test_processes_that_open_the_same_new_database(children: ForkServerContext, tmp_path: Path) -> None:
    barrier = children.Barrier(2, timeout=60)
    together(children, *[(child_tasks.open_each, tmp_path, 25, barrier)] * 2)
    for i in range(25):
        with opened(tmp_path / f"{i}.db") as memory:
            assert memory.stats()["passages"] == 2
            assert memory.doctor().ok


@pytest.mark.sqlite
@pytest.mark.parametrize("deed", ["open", "export", "export beside", "load", "ingest", "ingest a file", "ingest all"])
def test_what_is_written_is_not_lost_to_others_by_what_this_process_did_before(
    children: ForkServerContext, tmp_path: Path, deed: str
) -> None:
    """A process that opens a database's file and closes it again has no locks in it any more."""
    db, log = tmp_path / "m.sqlite", tmp_path / "log"
    with opened(db) as memory:
        memory.add("Ada met Bea.")
        deeds = {
            "open": lambda: opened(db, namespace="another").close(),
            "export": lambda: memory.export(db),
            "export beside": lambda: memory.export(tmp_path / "m.sqlite-shm"),
            "load": lambda: Memory.load(db, tmp_path / "new.db"),
            "ingest": lambda: memory.ingest(db),
            "ingest a file": lambda: memory.ingest([File(db, "a name of its own")]),
            "ingest all": lambda: memory.ingest(tmp_path),
        }
        with suppress(HippomemError):
            deeds[deed]()
        alone(children, child_tasks.open_and_close, db)
        assert db.with_name("m.sqlite-wal").exists()  # it is in use
        id_ = memory.add("Cid met Dora.").id
        alone(children, child_tasks.call, db, "get", (id_,), log)


def test_a_reader_sees_what_another_process_adds_updates_and_forgets(
    children: ForkServerContext, tmp_path: Path
) -> None:
    db, log = tmp_path / "m.db", tmp_path / "log"
    with opened(db) as memory:
        memory.ingest(records(3))
        assert memory.recall("Who owns the Grey Heron?", 9).passages

        def found() -> set[str]:
            return {p.text for p in memory.recall("Who owns the Grey Heron?", 9).passages}

        alone(children, child_tasks.call, db, "add", ("Ebba Lind owns the Grey Heron.",), log)
        assert "Ebba Lind owns the Grey Heron." in found()
        assert memory.recall("Who owns the Grey Heron?", 1).passages[0].entities == ("the Grey Heron",)
        id_ = said(log)[-1]
        alone(children, child_tasks.call, db, "update", (id_, "Falk Moen owns the Grey Heron."), log)
        assert "Falk Moen owns the Grey Heron." in found()
        assert "Ebba Lind owns the Grey Heron." not in found()
        assert memory.get(id_).text.startswith("Falk")
        alone(children, child_tasks.call, db, "forget", (id_,), log)
        assert not any("Grey Heron" in text for text in found())
        assert memory.recall("Who owns the Grey Heron?", 1).passages[0].entities == ()
        with pytest.raises(NotFoundError):
            memory.get(id_)


def test_namespaces_of_two_processes_never_meet(children: ForkServerContext, tmp_path: Path) -> None:
    db, log, barrier = tmp_path / "m.db", tmp_path / "log", children.Barrier(2, timeout=60)
    together(
        children,
        (child_tasks.write, db, "one", [(100, 0), (20, 200)], barrier, log),
        (child_tasks.write, db, "two", [(100, 0), (20, 300)], barrier, log),
    )
    own = {record["text"] for record in records(100)}
    with opened(db, namespace="one") as one, opened(db, namespace="two") as two:
        first, second = texts(one), texts(two)
        assert own == {text for text in first & second if not text.startswith("Note")}
        assert {record["text"] for record in records(20, 200)} <= first - second
        assert {record["text"] for record in records(20, 300)} <= second - first
        assert {p.text for p in two.recall("entry 205", 500).passages} == second
        shared = one.recall("entry 7", 1).passages[0]
        with pytest.raises(NotFoundError):
            two.get(shared.id)  # the same text has an id of its own there
        one.forget(shared)
        assert (texts(one), texts(two)) == (first - {shared.text}, second)
        assert one.doctor().ok
        assert two.doctor().ok


@pytest.mark.sqlite
def test_a_snapshot_of_another_process_replaces_the_one_in_use(children: ForkServerContext, tmp_path: Path) -> None:
    db = tmp_path / "m.db"
    with opened(db) as memory:
        memory.ingest(records(100))
        (old,) = {file.parent for file in tmp_path.rglob("manifest.json")}
        assert memory.recall("entry 7", 1).passages
        alone(children, child_tasks.ingest, db, 300)
        (new,) = {file.parent for file in tmp_path.rglob("manifest.json")}
        assert new != old
        assert not old.exists()
        assert len(memory.recall("entry 7", 500).passages) == 300
        assert memory.doctor().ok
    with opened(db) as memory:
        assert memory.recall("entry 7", 500).passages
        assert memory._view is not None
        assert memory._view.saved_rows == 300  # it was read, not rebuilt
        assert memory.doctor().ok


@pytest.mark.parametrize("looks_first", [True, False])
def test_a_process_with_an_older_view_saves_nothing_that_was_forgotten(
    children: ForkServerContext, tmp_path: Path, looks_first: bool
) -> None:
    db = tmp_path / "m.db"
    with opened(db) as memory:
        for record in records(80):
            memory.add(**record)
        target = memory.recall("What of Visitor17?", 1).passages[0]
        assert "Visitor17" in target.text
        assert not list(tmp_path.rglob("manifest.json"))
        alone(children, child_tasks.call, db, "forget", (target.id,), tmp_path / "log")
        if looks_first:
            assert target.id not in {p.id for p in memory.recall("What of Visitor17?", 500).passages}
    assert traces(db, [b"Visitor17", b"visitor17", target.text.encode()]) == []
    with opened(db) as memory:
        assert memory.doctor().ok


@pytest.mark.sqlite
def test_a_process_that_is_forked_just_after_a_recall_does_not_wait_for_a_thread_of_its_parent(
    children: ForkServerContext, tmp_path: Path
) -> None:
    with opened(tmp_path / "m.db") as memory:
        memory.ingest(records(100))
    alone(children, child_tasks.forked_beside_a_saver, tmp_path / "m.db", tmp_path / "log")
    assert said(tmp_path / "log") == ["160"]


def test_a_forked_process_loses_nothing_when_its_parent_closes_the_memory(
    children: ForkServerContext, tmp_path: Path
) -> None:
    alone(children, child_tasks.forked, tmp_path / "m.db", tmp_path / "log")
    with opened(tmp_path / "m.db") as memory:
        notes = said(tmp_path / "log")[1:]
        assert len(notes) == 20
        assert all(memory.get(id_) for id_ in notes)
        assert memory.doctor().ok
