"""What differs on Windows and macOS, as far as Linux can be made to be like them."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path

import as_windows
import numpy as np
import pytest
from child_tasks import opened, records
from sqlalchemy import text
from traces import traces

from hippomem import InvalidInputError, Memory, NotFoundError, StoreFullError
from hippomem.hippocampus.lists import InvertedLists
from hippomem.hippocampus.snapshot import Snapshots
from hippomem.storage.files import moved, written_whole

pytestmark = [
    pytest.mark.sqlite,
    pytest.mark.skipif(sys.platform != "linux", reason="shows on Linux how others are"),
]


@pytest.fixture
def windows(children: ForkServerContext, tmp_path: Path) -> Callable[[Callable[[Path], None]], None]:
    """Does something with a folder of its own in a process that is as on Windows."""

    def done(task: Callable[[Path], None]) -> None:
        child = children.Process(target=_as_windows, args=(task, tmp_path))
        child.start()
        child.join()
        assert child.exitcode == 0

    return done


def _as_windows(task: Callable[[Path], None], folder: Path) -> None:
    as_windows.begin()
    task(folder)


def snapshots(db: Path) -> list[Path]:
    return sorted(db.parent.glob(f"{db.name}.views/*/*"))


def test_a_view_is_saved_replaced_and_let_go_of(windows: Callable[..., None]) -> None:
    windows(_live)


def _live(folder: Path) -> None:
    db = folder / "m.db"
    with opened(db) as memory:
        memory.ingest(records(200))
    (first,) = snapshots(db)
    with opened(db) as memory, opened(db) as other:
        for one in (memory, other):
            assert len(one.recall("ferry", 500).passages) == 200
            assert not any(file.startswith(str(first)) for file in as_windows.in_use())
        memory.ingest(records(200, 200))
        (second,) = snapshots(db)
        assert second != first
        gone = next(p for p in other.recall("entry 17", 500).passages if "entry 17," in p.text)
        other.forget(gone.id)
        assert len(memory.recall("ferry", 500).passages) == 399
        assert traces(db, [b"In entry 17,"]) == []
        memory.ingest(records(200, 400))
        assert [check for check in memory.doctor().checks if not check.ok] == []
        for _ in range(2):  # the second one replaces the first
            memory.export(folder / "export.jsonl")
    with opened(db) as memory:
        assert len(memory.recall("ferry", 700).passages) == 599
        assert len(snapshots(db)) == 1
    shutil.rmtree(folder)  # nothing is held any more


def test_a_load_that_fails_leaves_no_database(windows: Callable[..., None]) -> None:
    windows(_load_in_vain)


def _load_in_vain(folder: Path) -> None:
    with opened(folder / "m.db") as memory:
        memory.ingest(records(40))
        memory.export(folder / "export.jsonl")

        settings = memory.settings

    def full(*_args: object) -> None:
        raise StoreFullError("no space")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hippomem.transfer.load", full)
        with pytest.raises(StoreFullError):
            Memory.load(folder / "export.jsonl", folder / "new.db", settings=settings)
    assert list(folder.glob("new.db*")) == []


def test_lists_of_vectors_are_read_where_names_are_beyond_ascii(windows: Callable[..., None]) -> None:
    windows(_read_lists)


def _read_lists(folder: Path) -> None:
    vectors, path = np.eye(64, dtype=np.float32), folder / "Vardø.lists"
    made = InvertedLists.build(lambda rows: vectors[rows], np.arange(64), 64)
    made.save(path)
    found = InvertedLists.load(path)
    assert str(path) not in as_windows.in_use()
    alive = np.ones(64, np.bool_)
    assert set(found.search(vectors[7], 3, alive)) == set(made.search(vectors[7], 3, alive))
    path.unlink()


@contextmanager
def _being_read(file: Path, seconds: float) -> Iterator[None]:
    """By another thread, for so long."""
    begun = threading.Event()

    def read() -> None:
        with file.open("rb"):
            begun.set()
            time.sleep(seconds)

    reader = threading.Thread(target=read)
    reader.start()
    begun.wait()
    yield
    reader.join()


def test_what_somebody_reads_just_now_is_replaced_and_removed_a_moment_later(windows: Callable[..., None]) -> None:
    windows(_replace_what_is_read)


def _replace_what_is_read(folder: Path) -> None:
    file = folder / "export"
    file.write_bytes(b"old")
    with _being_read(file, 0.3), written_whole(file) as new:
        new.write(b"new")
    assert file.read_bytes() == b"new"
    assert [one.name for one in folder.iterdir()] == ["export"]

    made = folder / "made"
    made.mkdir()
    (made / "a").touch()
    with _being_read(made / "a", 0.3):
        moved(made, folder / "named")
    assert (folder / "named" / "a").exists()

    views = Snapshots(folder, "default", "store", 1)
    (views.folder / "saved").mkdir(parents=True)
    (views.folder / "saved" / "vectors.npy").touch()
    with _being_read(views.folder / "saved" / "vectors.npy", 0.3):
        views.drop()
    assert list(views.folder.iterdir()) == []


def test_a_commit_is_on_the_disk_also_on_macos(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db") as memory, memory._store.read() as connection:
        assert connection.execute(text("PRAGMA fullfsync")).scalar() == 1


@pytest.mark.parametrize(
    "name", ["\\\\stranger\\share\\notes", "//stranger/share", "/\\stranger\\share", "\\\\?\\UNC\\stranger"]
)
def test_what_is_to_be_forgotten_has_windows_log_in_nowhere(
    fast: Callable[..., Memory], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    memory = fast()
    memory.add("Ada Thorne lives in Vardø.")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        patch.setattr(os.path, "realpath", pytest.fail)  # it looks whether there are links
        with pytest.raises(NotFoundError):
            memory.forget(name)


@pytest.mark.parametrize("ending", ["", "-wal", "-shm"])
def test_a_database_that_is_open_is_known_by_another_name_too(
    fast: Callable[..., Memory], tmp_path: Path, ending: str
) -> None:
    """As where capitals make no difference: whoever closes one of its files gives up its locks."""
    memory = fast(tmp_path / "memory.sqlite")
    memory.add("Ada Thorne lives in Vardø.")
    (tmp_path / "notes").mkdir()
    other = tmp_path / "notes" / "MEMORY"
    other.hardlink_to(tmp_path / f"memory.sqlite{ending}")
    (failure,) = memory.ingest(other).failed
    assert failure.reason == "is a database that is open"
    assert memory.ingest(tmp_path / "notes").failed == ()
    with pytest.raises(InvalidInputError, match="is a database, or a part of one"):
        memory.export(other)
