"""Killed at any instant (SIGKILL): nothing acknowledged is lost, nothing is half done, and the next run goes on."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import child_tasks
import pytest
from child_tasks import opened, records, said
from traces import plant, traces

from hippomem import EncoderMismatchError, Memory
from hippomem.testing import HashEncoder

KILLS = 30
QUESTIONS = ("Whom did Ada Thorne meet at Gannet Point?", "Who left for Oslo?", "entry 17")


def run(children: ForkServerContext, task: Any, *args: Any, seconds: float | None = None) -> int:
    """The exit code of a task that runs to its end, or is killed after so many seconds."""
    child = children.Process(target=task, args=args)
    child.start()
    child.join(seconds)
    child.kill()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode


def described(db: Path, dimension: int = 64) -> dict[str, Any]:
    """All that there is to know about a memory; its vectors are in the export."""
    with opened(db, dimension=dimension) as memory:
        assert [check for check in memory.doctor().checks if not check.ok] == []
        memory.export(db.with_name("export"))
        graph = memory.graph()
        return {
            "export": db.with_name("export").read_text().splitlines(),
            "nodes": sorted((node, tuple(sorted(data.items()))) for node, data in graph.nodes(data=True)),
            "edges": sorted((a, b, tuple(sorted(data.items()))) for a, b, data in graph.edges(data=True)),
            "recall": [
                {p.id: pytest.approx(p.score, abs=1e-4) for p in memory.recall(q, 9).passages} for q in QUESTIONS
            ],
            "counts": {k: v for k, v in memory.stats().items() if isinstance(v, int)},
        }


def ids_in(db: Path) -> set[str]:
    """The stored ids, read past the library; from a copy, so that the files stay as the killed process left them."""
    copy = shutil.copytree(db.parent, db.parent.with_name(f"copy of {db.parent.name}"), dirs_exist_ok=True) / db.name
    if not db.exists():
        return set()
    connection = sqlite3.connect(copy)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return {row[0] for row in connection.execute("SELECT id FROM passages")} if tables else set()
    finally:
        connection.close()
        shutil.rmtree(copy.parent)


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    for i in range(6):
        lines = (r["text"] for r in records(12, 1000 + 12 * i))
        (folder / f"chapter{i}.md").write_text(f"# Chapter {i}\n\n" + "\n\n".join(lines))
    return folder


@pytest.mark.slow
def test_an_ingest_that_is_killed_goes_on_and_ends_as_if_it_had_not_been(
    children: ForkServerContext, documents: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole" / "m.db"
    whole.parent.mkdir()
    began = time.monotonic()
    assert run(children, child_tasks.live, whole, documents, tmp_path / "log") == 0
    seconds = time.monotonic() - began
    expected = described(whole)
    rng = random.Random(7)  # noqa: S311
    killed = 0
    for life in range(KILLS):
        db, log = tmp_path / f"life{life}" / "m.db", tmp_path / f"log{life}"
        db.parent.mkdir()
        for _ in range(3):
            killed += run(children, child_tasks.live, db, documents, log, seconds=rng.uniform(0, seconds)) < 0
            acknowledged = {id_ for line in said(log) for id_ in line.split()}
            assert acknowledged <= ids_in(db)
        assert run(children, child_tasks.live, db, documents, log) == 0
        assert described(db) == expected
        if killed >= KILLS:
            break
    assert killed >= KILLS


def killed_at_each(
    children: ForkServerContext, at: str, folder: Path, task: Any, *args: Any, most: int = 12
) -> Iterator[tuple[Path, int]]:
    """Let a task run to its end on a copy of `folder`, then kill it on other copies, at up to `most` different steps
    from the first to the last. Arguments are paths inside the folder, or what the task takes."""

    def inside(copy: Path) -> list[Any]:
        return [copy / a.relative_to(folder) if isinstance(a, Path) and folder in a.parents else a for a in args]

    log = folder.with_name("steps")
    copy = shutil.copytree(folder, folder.with_name("alive"))
    assert run(children, child_tasks.dying, at, 0, log, task, *inside(copy)) == 0
    steps = int(said(log)[-1])
    assert steps
    for number in sorted({1 + (steps - 1) * i // max(1, most - 1) for i in range(most)}):
        copy = shutil.copytree(folder, folder.with_name(f"killed at {number}"))
        assert run(children, child_tasks.dying, at, number, log, task, *inside(copy)) == -signal.SIGKILL
        yield copy, number
        shutil.rmtree(copy)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A database of 150 records, with a snapshot, closed, in a folder of its own."""
    db = tmp_path / "filled" / "m.db"
    db.parent.mkdir()
    with opened(db) as memory:
        memory.ingest(records(150))
    assert list(db.with_name("m.db.views").rglob("manifest.json"))
    return db


@pytest.mark.slow
@pytest.mark.sqlite
def test_an_ingest_of_a_changed_file_that_is_killed_leaves_nothing_once_the_file_is_as_it_was(
    children: ForkServerContext, tmp_path: Path
) -> None:
    folder, file = tmp_path / "store", tmp_path / "d.jsonl"
    folder.mkdir()
    earlier, later = ["\n".join(map(json.dumps, records(n, first))) for n, first in ((10, 0), (300, 5))]
    file.write_text(earlier)
    child_tasks.ingest_file(folder / "m.db", file)
    expected = described(folder / "m.db")
    file.write_text(later)
    sizes = set()
    for copy, step in killed_at_each(children, "store", folder, child_tasks.ingest_file, folder / "m.db", file, most=6):
        sizes.add(len(ids_in(copy / "m.db")))
        again = shutil.copytree(copy, copy.with_name(f"again after {step}"))
        child_tasks.ingest_file(again / "m.db", file)
        assert described(again / "m.db") == described(folder.with_name("alive") / "m.db"), step
        file.write_text(earlier)
        child_tasks.ingest_file(copy / "m.db", file)
        assert described(copy / "m.db") == expected, step
        file.write_text(later)
    assert len(sizes) > 2


@pytest.mark.sqlite
@pytest.mark.parametrize("most", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_a_new_database_whose_making_is_killed_is_made_by_the_next(
    children: ForkServerContext, tmp_path: Path, most: int
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    task = child_tasks.open_and_close
    for copy, _ in killed_at_each(children, "statement", folder, task, folder / "m.db", most=most):
        ids_in(copy / "m.db")
        with opened(copy / "m.db") as memory:
            memory.add("Ada met Bea.")
            assert memory.doctor().ok


@pytest.mark.sqlite
@pytest.mark.parametrize("at", ["replace", *(pytest.param(at, marks=pytest.mark.slow) for at in ("sync", "rmtree"))])
def test_a_snapshot_whose_saving_is_killed_is_as_if_it_had_not_been_begun(
    children: ForkServerContext, filled: Path, at: str
) -> None:
    expected = None
    for copy, _ in killed_at_each(children, at, filled.parent, child_tasks.ingest, filled, 400, most=6):
        assert len(ids_in(copy / "m.db")) == 400
        found = described(copy / "m.db")
        expected = expected or described(filled.parent.with_name("alive") / "m.db")
        assert found == expected


@pytest.mark.slow
def test_forgetting_that_is_killed_is_done_or_not_and_leaves_no_trace(
    children: ForkServerContext, filled: Path, tmp_path: Path
) -> None:
    question = "What of Visitor17?"
    with opened(filled) as memory:
        target = memory.recall(question, 1).passages[0]
    needles = [target.text.encode(), b"Visitor17", b"visitor17"]
    plant(filled, needles[0])
    log = tmp_path / "forgotten"
    outcomes = set()
    for copy, step in killed_at_each(
        children, "statement", filled.parent, child_tasks.forget, filled, target.id, log, most=24
    ):
        db = copy / "m.db"
        there = target.id in ids_in(db)
        outcomes.add(there)
        with opened(db) as memory:
            assert memory.doctor().ok, step
            assert (target.id in {p.id for p in memory.recall(question, 150).passages}) == there
            if there:
                assert memory.get(target.id).text == target.text
                memory.forget(target.id)
        assert traces(db, needles) == [], step
    assert outcomes == {True, False}


@pytest.mark.sqlite
@pytest.mark.parametrize("at", ["statement", "fsync", "replace"])
def test_an_export_that_is_killed_leaves_the_earlier_one(children: ForkServerContext, filled: Path, at: str) -> None:
    file = filled.with_name("export.jsonl")
    file.write_text("the earlier one")
    for copy, _ in killed_at_each(children, at, filled.parent, child_tasks.export, filled, file):
        whole = (filled.parent.with_name("alive") / file.name).read_text()
        assert len(whole.splitlines()) == 152
        assert (copy / file.name).read_text() in ("the earlier one", whole)
        assert len(ids_in(copy / "m.db")) == 150
        assert run(children, child_tasks.export, copy / "m.db", copy / file.name) == 0
        assert list(copy.glob(".*")) == []  # nothing that `forget` does not reach stays


@pytest.mark.slow
def test_loading_that_is_killed_can_be_done_again(children: ForkServerContext, filled: Path) -> None:
    file = filled.with_name("export.jsonl")
    with opened(filled) as memory:
        memory.export(file)
    expected = described(filled)
    sizes = set()
    for copy, _ in killed_at_each(
        children, "statement", filled.parent, child_tasks.load, file, filled.with_name("n.db")
    ):
        sizes.add(len(ids_in(copy / "n.db")))
        assert run(children, child_tasks.load, copy / file.name, copy / "n.db") == 0
        assert described(copy / "n.db") == expected
    assert len(sizes) > 2


@pytest.mark.slow
def test_encoding_anew_that_is_killed_goes_on(children: ForkServerContext, filled: Path) -> None:
    sizes = set()
    for copy, _ in killed_at_each(children, "statement", filled.parent, child_tasks.reencode, filled):
        db = copy / "m.db"
        expected = described(filled.parent.with_name("alive") / "m.db", dimension=96)
        try:
            opened(db, dimension=96).close()
        except EncoderMismatchError:  # until the last one is done the store keeps the old vectors
            with opened(db) as memory:
                assert memory.doctor().ok
                assert memory.recall("What of Visitor17?", 1).passages[0].text.count("Visitor17")
        sizes.add(Memory.reencode(db, encoder=HashEncoder(96)))
        assert described(db, dimension=96) == expected
    assert len(sizes) > 2


@pytest.mark.slow
def test_processes_that_do_everything_at_once_and_are_killed(children: ForkServerContext, tmp_path: Path) -> None:
    db, logs = tmp_path / "store" / "m.db", [tmp_path / f"log{number}" for number in range(4)]
    db.parent.mkdir()
    rng, running = random.Random(5), {}  # noqa: S311
    ends, seed = time.monotonic() + 30, 0
    while time.monotonic() < ends:
        for log in logs:
            if log not in running:
                seed += 1
                running[log] = children.Process(target=child_tasks.take_part, args=(db, log, seed))
                running[log].start()
        time.sleep(rng.uniform(0.1, 2.0))
        victim = running.pop(rng.choice(logs))
        victim.kill()
        victim.join()
        assert victim.exitcode == -signal.SIGKILL
    for child in running.values():
        child.kill()
        child.join()
    assert [line for log in logs for line in said(log) if line.startswith("error")] == []
    gone = set()
    with opened(db) as memory:
        assert [check for check in memory.doctor().checks if not check.ok] == []
        ids = {p.id for p in memory.passages()}
        for log in logs:
            live, forgotten, unsure = child_tasks.outcome(log)
            gone |= forgotten - unsure
            assert live
            assert live.keys() <= ids
            for id_ in sorted(live)[:20]:
                assert id_ in {p.id for p in memory.recall(f"What of {live[id_][-1]}?", 9, deep=True).passages}
    assert gone
    assert traces(db, [form.encode() for word in gone for form in (word, word.lower())]) == []
