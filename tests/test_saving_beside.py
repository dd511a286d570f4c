"""A view that is saved while others recall, write and forget: nobody waits for it, and it holds what it should."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from child_tasks import opened, records
from traces import traces

from hippomem import Memory, viewing
from hippomem.hippocampus import snapshot
from hippomem.hippocampus.snapshot import Snapshots

pytestmark = pytest.mark.sqlite


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewing, "IN_USE", 48)
    monkeypatch.setattr(snapshot, "SMALLEST", 16)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A closed database with a snapshot of 100 passages."""
    with opened(tmp_path / "m.db") as memory:
        memory.ingest(records(100))
    return tmp_path / "m.db"


def grow(memory: Memory, first: int = 100, number: int = 60) -> list[str]:
    """Add so many passages that the view is saved with the next recall."""
    return [memory.add(**record).id for record in records(number, first)]


def settle(memory: Memory) -> None:
    """Wait until the view is saved."""
    assert memory._saver is not None
    memory._saver.join()


def found(memory: Memory) -> set[str]:
    return {p.id for p in memory.recall("Whom did Ada Thorne meet?", 1000).passages}


@contextmanager
def held_up(monkeypatch: pytest.MonkeyPatch, memory: Memory) -> Iterator[None]:
    """Have the view's saving wait, once its folder is there and before anything is written."""
    begun, go_on = threading.Event(), threading.Event()
    write = Snapshots._write

    def waiting(*args: Any) -> None:
        begun.set()
        assert go_on.wait(30)
        write(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Snapshots, "_write", waiting)
        found(memory)
        assert begun.wait(30)
        try:
            yield
        finally:
            go_on.set()
            settle(memory)


def test_recalls_and_writes_go_on_while_the_view_is_saved(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(db) as memory:
        ids = found(memory) | set(grow(memory))
        with held_up(monkeypatch, memory):
            before = memory._view
            assert found(memory) == ids
            ids |= set(grow(memory, 160, 20))
            gone = sorted(ids)[0]
            ids.remove(gone)
            ids.add(memory.update(gone, "Ada Thorne met Eve at Gannet Point.").id)
            assert found(memory) == ids
            assert memory._view is before
            assert len(list(db.with_name("m.db.views").glob("*/[0-9]*"))) == 1  # the earlier one is of use meanwhile
        assert memory._view is not before
        assert memory._view is not None
        assert memory._view.saved_rows == 160
        assert found(memory) == ids
        assert [check for check in memory.doctor().checks if not check.ok] == []


def test_what_is_forgotten_while_the_view_is_saved_is_on_no_disk(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(db) as memory:
        ids = found(memory) | set(grow(memory))
        gone = next(p for p in memory.passages(limit=200) if "Visitor117 " in p.text)
        with held_up(monkeypatch, memory):
            memory.forget(gone.id)
            assert not list(db.parent.rglob("*.npy"))
        assert not list(db.parent.rglob("*.npy"))
        assert traces(db, [b"Visitor117", b"visitor117"]) == []
        assert found(memory) == ids - {gone.id}
        assert memory.doctor().ok


def test_closing_waits_for_the_view_to_be_saved(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = opened(db)
    grow(memory)
    with held_up(monkeypatch, memory):
        closing = threading.Thread(target=memory.close)
        closing.start()
        closing.join(0.2)
        assert closing.is_alive()
    closing.join(30)
    assert not closing.is_alive()
    (saved,) = db.with_name("m.db.views").glob("*/[0-9]*")
    with opened(db) as memory:
        assert len(found(memory)) == 160
        assert memory._view is not None
        assert memory._view.saved_rows == 160
    assert saved.exists()  # it was of use


def test_a_memory_that_is_closed_amid_a_recall_waits_for_no_thread_that_waits_for_it(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hippomem.memory.SAVING_SECONDS", 0.2)
    memory = opened(db)
    grow(memory)
    with memory._lock:  # as where a signal is handled while the thread recalls
        found(memory)
        assert memory._saver is not None
        assert memory._saver.is_alive()
        memory.close()
    settle(memory)
    with opened(db) as memory:
        assert len(found(memory)) == 160


def test_an_ingest_saves_the_view_beside_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewing, "UNSAVED", 100)
    write, sizes = Snapshots._write, []

    with opened(tmp_path / "m.db", batch=16) as memory:

        def asked(*args: Any) -> None:
            recalling = threading.Thread(target=lambda: sizes.append(len(found(memory))))
            recalling.start()
            recalling.join(30)
            assert not recalling.is_alive(), "the recall waits"
            write(*args)

        with monkeypatch.context() as patch:
            patch.setattr(Snapshots, "_write", asked)
            memory.ingest(records(400))
        assert memory._saver is None  # the ingest did it itself
    assert len(sizes) >= 3
    assert sizes == sorted(sizes)
    assert 100 < sizes[0] <= 132


def test_recalls_have_the_view_saved_where_an_ingest_has_brought_nothing_for_long(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(viewing, "IN_USE", 40)

    def trickling() -> Iterator[dict[str, Any]]:
        yield from records(60, 100)
        waiting.set()
        assert go_on.wait(30)

    with opened(db, batch=16) as memory:
        found(memory)
        ingesting = threading.Thread(target=memory.ingest, args=(trickling(),))
        ingesting.start()
        try:
            assert waiting.wait(30)
            assert len(found(memory)) >= 148
            assert memory._saver is None  # the ingest does it
            monkeypatch.setattr(viewing, "LULL_SECONDS", 0.0)
            found(memory)
            settle(memory)
            assert memory._view is not None
            assert memory._view.saved_rows >= 148
        finally:
            go_on.set()
            ingesting.join(30)
        assert len(found(memory)) == 160


def test_where_no_thread_can_be_started_nothing_is_lost(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with opened(db) as memory:
        grow(memory)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refusing)
            assert len(found(memory)) == 160
            assert memory._view is not None
            assert memory._view.saved_rows == 100
        assert len(found(memory)) == 160
        settle(memory)
        assert memory._view.saved_rows == 160


def arrays(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix == ".npy"}


@pytest.mark.parametrize("seed", range(3))
def test_a_frozen_view_is_saved_as_it_was_whatever_comes(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    with opened(tmp_path / "m.db") as memory:
        memory.ingest(records(100))
    with opened(tmp_path / "m.db") as memory:
        ids = list(found(memory))

        def change(times: int) -> None:
            for _ in range(times):
                place, number = rng.randrange(len(ids)), rng.randrange(10**6)
                deed: Callable[[], Any] = rng.choice(
                    [
                        lambda number=number: ids.append(memory.add(f"Ada Thorne asked Bob{number}: who met Eve?").id),
                        lambda place=place: memory.forget(ids.pop(place)),
                        lambda place=place, number=number: ids.append(
                            memory.update(ids.pop(place), f"Dana Vale met Bob{number} at Gannet Point.").id
                        ),
                    ]
                )
                deed()

        memory._snapshots, snapshots = None, memory._snapshots  # which are made here
        change(30)
        found(memory)
        view = memory._view
        assert view is not None
        assert snapshots is not None
        frozen = view.frozen()
        for folder in ("then", "later"):
            (tmp_path / folder).mkdir()
        snapshots._write(view, tmp_path / "then")
        change(30)
        assert found(memory) == set(ids)
        assert memory._view is view
        snapshots._write(frozen, tmp_path / "later")
        assert arrays(tmp_path / "later") == arrays(tmp_path / "then")
        assert len(arrays(tmp_path / "then")) > 20
