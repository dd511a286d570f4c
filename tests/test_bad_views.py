"""Views that are missing, damaged, foreign or cannot be written: rebuilt from the database, in silence and right."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import child_tasks
import numpy as np
import pytest
from child_tasks import opened, records, said
from traces import traces

from hippomem import EncoderMismatchError, ForeignStoreError, Memory, SimulatedClock, viewing
from hippomem.hippocampus import snapshot as snapshots
from hippomem.hippocampus.lexical import LexicalIndex
from hippomem.hippocampus.view import View
from hippomem.storage.files import lock
from hippomem.testing import HashEncoder

pytestmark = pytest.mark.sqlite

WALKED = ("starts", "entities", "entity_starts", "rows", "title_starts", "title_rows")  # arrays of edges
QUESTIONS = ("Whom did Ada Thorne meet at Gannet Point?", "What of Visitor17?", "ferry")


def answers(memory: Memory) -> list[Any]:
    return [{p.id: pytest.approx(p.score, abs=1e-4) for p in memory.recall(q, 500).passages} for q in QUESTIONS]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A closed database with a snapshot of 100 passages and 10 that came later."""
    with opened(tmp_path / "m.db") as memory:
        memory.ingest(records(100))
        for record in records(10, 100):
            memory.add(**record)
    return tmp_path / "m.db"


@pytest.fixture
def snapshot(db: Path) -> Path:
    (manifest,) = db.parent.rglob("manifest.json")
    return manifest.parent


@pytest.fixture
def is_right(db: Path, snapshot: Path) -> Callable[[], None]:
    """Checks that the memory answers as one without any view does, and that all is well; then puts the views back."""
    views, pristine, bare = db.with_name("m.db.views"), db.with_name("pristine"), db.with_name("bare.db")
    shutil.copytree(views, pristine)
    shutil.copy(db, bare)
    with opened(bare) as memory:
        expected = answers(memory)
        assert len(expected[0]) == 110

    def check() -> None:
        with opened(db) as memory:
            assert answers(memory) == expected
            assert memory.doctor().ok
        shutil.rmtree(views)
        shutil.copytree(pristine, views)

    return check


def test_a_snapshot_is_used_where_it_is_whole(db: Path, snapshot: Path, is_right: Callable[[], None]) -> None:
    is_right()
    with opened(db) as memory:
        memory.recall("ferry")
        assert memory._view is not None
        assert memory._view.saved_rows == 100
        files = [file for file in db.with_name("m.db.views").rglob("*") if file.is_file()]
        assert memory.stats()["bytes"]["views"] == sum(file.stat().st_size for file in files)
    assert list(snapshot.parent.iterdir()) == [snapshot]  # too little has changed for another one


def test_what_process_after_process_replays_is_saved(
    db: Path, snapshot: Path, is_right: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten passages that came later are too few to write a hundred and ten for; that they are read again and again is
    not, once that takes as long.
    """
    monkeypatch.setattr(snapshots, "SMALLEST", 4)
    monkeypatch.setattr(snapshots, "PRICE", 4)

    def saved_rows() -> int:
        with opened(db) as memory:
            memory.recall("ferry")
            assert memory._view is not None
            return memory._view.saved_rows

    assert [saved_rows() for _ in range(5)] == [100, 100, 100, 110, 110]  # at the end of the third: 3 * 10 * 4 > 100
    assert not snapshot.exists()
    is_right()
    for written in (b"", b"1\n\xff", b"1\nx", b"9" * 5000):
        (snapshot / snapshots.REPLAYED).write_bytes(written)
        is_right()


@pytest.mark.parametrize(
    ("harm", "step"),
    [
        ("cut", 4),
        *(pytest.param(harm, 1, marks=pytest.mark.slow) for harm in ("cut", "remove", "empty", "grow", "folder")),
    ],
)
def test_each_file_in_turn_is_harmed(snapshot: Path, is_right: Callable[[], None], harm: str, step: int) -> None:
    for file in sorted(snapshot.iterdir())[::step]:
        data = file.read_bytes()
        if harm in ("remove", "folder"):
            file.unlink()
            if harm == "folder":
                file.mkdir()
        else:
            file.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "grow": data + b"\x00"}[harm])
        is_right()


@pytest.mark.slow
def test_bytes_of_the_manifest_are_harmed(snapshot: Path, is_right: Callable[[], None]) -> None:
    manifest = snapshot / "manifest.json"
    data = manifest.read_bytes()
    start = data.index(b'"applied"')
    places = {*range(start, start + 15), *range(0, data.index(b'"sums"'), 60)}  # the doctor goes by those
    for place in sorted(places):
        harmed = bytearray(data)
        harmed[place] ^= 1
        manifest.write_bytes(harmed)
        is_right()


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"5", b'"x"', b"{", b"{}", b'{"files": 5}', b"[" * 99_999, b"\xff\xfe", b"\x00" * 99],
)
def test_a_manifest_that_is_none(snapshot: Path, is_right: Callable[[], None], content: bytes) -> None:
    (snapshot / "manifest.json").write_bytes(content)
    is_right()


@pytest.mark.parametrize(
    "change",
    [
        {"applied": None}, {"applied": "100"}, {"applied": -1}, {"applied": 10**30}, {"applied": 99}, {"applied": 110},
        {"mark": None}, {"mark": ""}, {"mark": "add 0"}, {"format": 0}, {"store": "another"}, {"encoder": 2},
        {"files": {}}, {"files": None}, {"files": {"../x": 1}},
    ],
    ids=repr,
)  # fmt: skip
def test_a_manifest_that_says_something_else(
    snapshot: Path, is_right: Callable[[], None], change: dict[str, Any]
) -> None:
    manifest = snapshot / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    is_right()


@pytest.mark.parametrize("change", [{"format": 0}, {"store": "another"}, {"encoder": 2}], ids=repr)
def test_a_snapshot_that_nothing_reads_any_more_goes(tmp_path: Path, change: dict[str, Any]) -> None:
    """As after an upgrade; also in a memory that is too small to save another in its place."""
    with opened(tmp_path / "m.db") as memory:
        memory.ingest(records(30))
        for passage in memory.passages():
            memory.update(memory.update(passage.id, f"{passage.text} And?").id, f"{passage.text} And then?")
        expected = answers(memory)
    (manifest,) = tmp_path.rglob("manifest.json")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    with opened(tmp_path / "m.db") as memory:
        assert answers(memory) == expected
    assert not manifest.parent.exists()


def test_a_snapshot_that_another_version_is_writing_is_left_to_it(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db") as memory:
        memory.ingest(records(100))
    (manifest,) = tmp_path.rglob("manifest.json")
    begun = manifest.parent.rename(manifest.parent.with_name(f"tmp-{manifest.parent.name}"))
    written = begun / "manifest.json"
    written.write_text(json.dumps(json.loads(written.read_text()) | {"format": 0}))
    held = lock(begun)
    assert held is not None
    with opened(tmp_path / "m.db") as memory:
        answers(memory)
    assert written.exists()
    os.close(held)


@pytest.mark.parametrize("name", ["numbers", "vectors"])
@pytest.mark.parametrize("kind", ["objects", "pickle"])
def test_arrays_of_another_kind(
    tmp_path: Path, snapshot: Path, is_right: Callable[[], None], name: str, kind: str
) -> None:
    """As long as before, but with objects inside: what would be unpickled is not read."""

    class Unpickled:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (trace,)

    trace = tmp_path / "trace"
    file = snapshot / f"{name}.npy"
    np.save(file, np.array([Unpickled()], dtype=object), allow_pickle=True)
    if kind == "pickle":
        file.write_bytes(pickle.dumps(Unpickled()))
    manifest = json.loads((snapshot / "manifest.json").read_text())
    manifest["files"][file.name] = file.stat().st_size
    (snapshot / "manifest.json").write_text(json.dumps(manifest))
    is_right()
    assert not trace.exists()


def test_bits_that_fell_over_in_an_array_are_found_by_the_doctor(db: Path, snapshot: Path) -> None:
    """Reading all of it on each opening to find them would be to rebuild it; a check is there for that. It uses no
    view that is harmed: of some of these it said that they equal their rebuild, of others nothing, as it failed.
    """
    with opened(db) as memory:
        memory.feedback(memory.recall("ferry"), useful=[memory.recall("ferry").passages[1].id])
        assert memory.doctor().ok
    for file in sorted({*snapshot.glob("*.npy")} - {snapshot / f"edges.{name}.npy" for name in WALKED}):
        data = bytearray(file.read_bytes())
        data[-1 - len(data[128:]) // 2] ^= 64
        file.write_bytes(data)
        with opened(db) as memory:
            wrong = {check.name: check.detail for check in memory.doctor().checks if not check.ok}
        data[-1 - len(data[128:]) // 2] ^= 64
        file.write_bytes(data)
        advice = f"; close this memory and remove {db}.views: it is made anew"
        assert wrong.pop("views") == f"{file} does not hold what was written there{advice}"
        assert [*wrong] == ["neural memory"]


def drawn(memory: Memory) -> object:
    return memory.graph()


@pytest.mark.parametrize(("name", "read"), [("sentences.starts", answers), ("words.rows", answers), ("numbers", drawn)])
def test_a_recall_that_fails_of_a_harmed_view_says_so_and_the_next_one_is_right(
    db: Path, snapshot: Path, is_right: Callable[[], None], name: str, read: Callable[[Memory], object]
) -> None:
    file = snapshot / f"{name}.npy"
    data = bytearray(file.read_bytes())
    for at in range(128 + 2, len(data), 32):
        data[at] ^= 64
    file.write_bytes(data)
    with opened(db) as memory:
        with pytest.raises(ForeignStoreError, match=rf"{name}.npy did not hold what was written there.*: repeat this"):
            read(memory)
        assert not snapshot.exists()
        memory.recall("ferry")
    is_right()


@pytest.mark.parametrize("name", WALKED)
@pytest.mark.parametrize("wrong", ["negative", "next", "huge"])
def test_edges_that_lead_nowhere_are_not_followed(
    snapshot: Path, is_right: Callable[[], None], name: str, wrong: str
) -> None:
    """What walks along them does not look where it steps: the process was ended by a signal."""
    array = np.load(snapshot / f"edges.{name}.npy", mmap_mode="r+")
    if name.endswith("starts"):
        place, next_ = -3, array[-2] + 1
    else:
        place, next_ = -1, len(np.load(snapshot / f"edges.{'entity_' * (name == 'entities')}starts.npy")) - 1
    array[place] = {"negative": -1, "next": next_, "huge": 2**22}[wrong]
    array.flush()
    is_right()


def test_sums_of_other_nodes_than_there_are(snapshot: Path, is_right: Callable[[], None]) -> None:
    for name in ("passage_weight", "entity_weight", "namings"):
        file = snapshot / f"sums.{name}.npy"
        data = file.read_bytes()
        size = len(np.load(file))
        file.write_bytes(data.replace(b"(%d,)" % size, b"(%d,)" % (size - 8), 1))  # as a bit that fell over makes it
        is_right()


def test_other_things_in_the_folder(db: Path, snapshot: Path, is_right: Callable[[], None]) -> None:
    folder = snapshot.parent
    (folder / "notes.txt").write_text("what is this?")
    (folder / "zzz").mkdir()
    (folder / "999999999999999-ffffffffffff").mkdir()
    (folder / "tmp-0123").mkdir()
    (folder / "link").symlink_to(folder)
    with opened(db) as memory:
        assert memory.doctor().ok
        assert len(memory.recall("ferry", 500).passages) == 110
        memory.forget(memory.recall("What of Visitor17?", 1).passages[0])
        assert sorted(path.name for path in folder.iterdir()) == ["link", "notes.txt"]


def test_the_remains_of_a_killed_save_are_cleared_away(db: Path, snapshot: Path) -> None:
    others, left, old = (snapshot.with_name(f"tmp-{name}") for name in ("others", "left", "old"))
    for folder in (others, left, old):
        folder.mkdir()
        (folder / "keys.text.npy").write_bytes(b"ada thorne")
    os.utime(old, (0, 0))
    held = [lock(others), lock(old)]  # as by another process that is at it
    with opened(db) as memory:
        memory.ingest(records(300))
    assert others.exists()
    assert not left.exists()
    assert not old.exists()
    assert not snapshot.exists()
    for number in held:
        assert number is not None
        os.close(number)


def test_saves_that_are_killed_one_after_the_other_leave_no_more_than_one(
    db: Path, snapshot: Path, children: ForkServerContext
) -> None:
    for _ in range(3):
        victim = children.Process(target=child_tasks.killed_as_it_saves, args=(db,))
        victim.start()
        victim.join()
        assert victim.exitcode == -signal.SIGKILL
        assert len(list(snapshot.parent.glob("tmp-*"))) == 1
    with opened(db) as memory:
        memory.ingest(records(300))
        assert memory.doctor().ok
    assert not list(snapshot.parent.glob("tmp-*"))


def test_slow_maps_whose_saving_is_killed_leave_no_more_than_one(
    db: Path, snapshot: Path, children: ForkServerContext
) -> None:
    for _ in range(3):
        victim = children.Process(target=child_tasks.killed_as_it_saves_the_slow_map, args=(db,))
        victim.start()
        victim.join()
        assert victim.exitcode == -signal.SIGKILL
        assert len(list((snapshot.parent / "neural").iterdir())) == 1
    with opened(db) as memory:
        memory._learning.rehearse(memory._learning.draw(1, seed=2))
        assert memory.doctor().ok
    assert [file.name for file in (snapshot.parent / "neural").iterdir()] == ["map.npz"]


@pytest.mark.parametrize("place", ["m.db.views", "m.db.views/folder"])
def test_where_views_cannot_be_made(tmp_path: Path, place: str) -> None:
    """As for lack of rights, which root never lacks: there is a file in the place of the folder."""
    if "/" in place:
        with opened(tmp_path / "m.db") as memory:
            memory.ingest(records(100))
        (folder,) = (tmp_path / "m.db.views").iterdir()
        shutil.rmtree(folder)
        folder.write_text("in the way")
    else:
        (tmp_path / "m.db.views").write_text("in the way")
    for _ in range(2):
        with opened(tmp_path / "m.db") as memory:
            memory.ingest(records(100))
            event = memory.add("Ada met Bea.")
            assert event.id in {p.id for p in memory.recall("Ada", 500).passages}
            assert memory.stats()["bytes"]["views"] == 0
            assert memory.doctor().ok
            memory.forget(event.id)


@pytest.mark.skipif(os.name != "posix", reason="others have no modes")
@pytest.mark.parametrize(("mode", "folder"), [(0o600, 0o700), (0o640, 0o750), (0o660, 0o770), (0o644, 0o755)])
@pytest.mark.parametrize("is_there", [True, False])
def test_who_may_not_read_the_database_may_not_read_its_views(
    tmp_path: Path, mode: int, folder: int, is_there: bool
) -> None:
    file, views = tmp_path / "m.db", tmp_path / "m.db.views"
    before = os.umask(0o002)
    try:
        file.touch()
        file.chmod(0o666)
        if is_there:
            with opened(file) as memory:
                memory.ingest(records(100))
            assert views.stat().st_mode & 0o777 == 0o775
        file.chmod(mode)
        with opened(file) as memory:
            if is_there:  # before anything new is saved
                assert views.stat().st_mode & 0o077 & ~folder == 0
            memory.ingest(records(200))
        assert views.stat().st_mode & 0o777 == folder
        shutil.rmtree(views)
        with opened(file) as memory:
            event = memory.add("Ada met Bea.")
            memory.feedback("Whom did Ada meet?", [event.id])
            memory.consolidate()
        assert list(views.rglob("map.npz"))
        assert views.stat().st_mode & 0o777 == folder
    finally:
        os.umask(before)


def test_a_memory_that_stays_open_saves_its_view_and_lets_go_of_what_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewing, "IN_USE", 8)
    monkeypatch.setattr(snapshots, "SMALLEST", 8)
    with opened(tmp_path / "m.db") as memory:
        ids = [memory.add(**record).id for record in records(12)]
        for n in range(24):
            ids[n % 12] = memory.update(ids[n % 12], f"Ada Thorne met Bob{n} at Gannet Point.").id
            assert memory.recall(f"Whom did Ada Thorne meet, Bob{n}?", 1).passages[0].id == ids[n % 12]
            assert memory._saver is None or memory._saver.join() is None  # else it comes a few changes later
        assert memory._view is not None
        assert memory._saver is not None
        assert memory._view.graph.rows <= 12 + 9
        assert memory.doctor().ok
        killed = next((tmp_path / "m.db.views").glob("*/[0-9]*"))  # what a process finds that was killed here
        assert json.loads((killed / "manifest.json").read_text())["applied"] > 30

        tried = []
        monkeypatch.setattr(snapshots.Snapshots, "save", lambda *_: tried.append(1) or _full_disk())
        for n in range(24):
            ids[n % 12] = memory.update(ids[n % 12], f"Ada Thorne met Eve{n} at Gannet Point.").id
            assert memory.recall(f"Whom did Ada Thorne meet, Eve{n}?", 1).passages[0].id == ids[n % 12]
            memory._saver.join()
        assert 1 < len(tried) < 6  # not with every recall


def test_a_large_ingest_saves_the_view_as_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all of it were in memory at its end, and a process that is killed left it all to be read again."""
    monkeypatch.setattr(viewing, "UNSAVED", 100)
    monkeypatch.setattr(snapshots, "SMALLEST", 8)
    monkeypatch.setattr(viewing, "IN_USE", 8)  # which does not count meanwhile
    db = tmp_path / "m.db"
    seen: list[tuple[int, int]] = []

    with opened(db, batch=8) as memory:

        def look(_read: int, _total: int | None, passages: int) -> None:
            view = memory._view
            assert view is not None
            assert view.graph.rows == passages  # it keeps up
            seen.append((passages, view.saved_rows))
            assert view.changed <= max(100, view.saved_rows // 4) + 64

        memory.ingest(records(1000), progress=look)
        saved = sorted({rows for _, rows in seen})
        assert saved[0] == 0
        assert 3 <= len(saved) <= 9
        assert all(later - earlier >= 100 for earlier, later in pairwise(saved))
        assert [check for check in memory.doctor().checks if not check.ok] == []
    assert all(rows >= passages - 200 for passages, rows in seen if passages < 500)  # what a kill leaves


def _full_disk() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("writer", ["write_array", "write_columns"])
def test_where_views_have_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(snapshots, writer, full)
    with opened(tmp_path / "m.db") as memory:
        assert memory.ingest(records(100)).passages == 100
        assert len(memory.recall("ferry", 500).passages) == 100
    assert [path for path in (tmp_path / "m.db.views").rglob("*") if path.is_file()] == []


def test_a_disk_that_fills_up_while_a_view_is_saved(children: ForkServerContext, tmp_path: Path) -> None:
    folder, log = tmp_path / "disk", tmp_path / "log"
    folder.mkdir()
    child = children.Process(target=child_tasks.fill_views, args=(folder, log))
    child.start()
    child.join()
    if said(log) == ["cannot"]:
        pytest.skip("no right to mount a small disk")
    assert child.exitcode == 0
    assert said(log) == ["closed", "went on"]


@pytest.fixture
def earlier(db: Path, snapshot: Path) -> bytes:
    """The database as it was; by now it has other memories, and a view of them."""
    before = db.read_bytes()
    with opened(db) as memory:
        memory.ingest(records(200, 500))
    return before


def saved(db: Path) -> list[int]:
    return [int(manifest.parent.name[:15]) for manifest in db.parent.glob("m.db.views/*/*/manifest.json")]


def test_a_database_that_was_put_back_beside_newer_views(
    db: Path, is_right: Callable[[], None], earlier: bytes
) -> None:
    db.write_bytes(earlier)
    is_right()


@pytest.mark.parametrize("number", [150, 200, 300])
def test_a_database_that_was_put_back_and_went_another_way(
    tmp_path: Path, db: Path, earlier: bytes, number: int
) -> None:
    """With fewer, as many, or more changes since then than the view has followed."""
    db.write_bytes(earlier)
    views, aside = tmp_path / "m.db.views", tmp_path / "aside"
    views.rename(aside)
    with opened(db) as memory:
        memory.ingest(records(number, 1000))
        expected = answers(memory)
    shutil.rmtree(views)
    aside.rename(views)
    assert saved(db) == [310]
    with opened(db) as memory:
        assert answers(memory) == expected
        assert memory.doctor().ok
    assert saved(db) == [110 + number]  # and not the other, which would be read in vain each time


@pytest.mark.parametrize("is_open", [False, True])
def test_a_database_that_was_put_back_and_encoded_with_something_else(tmp_path: Path, is_open: bool) -> None:
    """The log is the same, and how often it was encoded anew. A memory that is open has the other encoder's view."""
    db, backup = tmp_path / "m.db", tmp_path / "backup.db"
    expected = [f"Thing{n} of Owner{n} is in Place{n}." for n in range(100)]
    with opened(db) as memory:
        for text in expected:
            memory.add(text)
    shutil.copy(db, backup)
    Memory.reencode(db, encoder=HashEncoder(96))
    with closing(opened(db, encoder=HashEncoder(96))) as memory:
        assert memory.recall(expected[7], 1).passages[0].text == expected[7]
        if not is_open:
            memory.close()
        with closing(sqlite3.connect(backup)) as source, closing(sqlite3.connect(db)) as target:
            source.backup(target)
        Memory.reencode(db, encoder=Backwards(96))
        if is_open:
            with pytest.raises(EncoderMismatchError):
                memory.recall(expected[7], 1)
    with opened(db, encoder=Backwards(96)) as memory:
        assert [memory.recall(text, 1, method="dense").passages[0].text for text in expected] == expected
        assert memory.doctor().ok


class Backwards(HashEncoder):
    """Other vectors of as many numbers."""

    @property
    def identity(self) -> str:
        return "backwards"

    def _vector(self, text: str) -> Any:
        return super()._vector(" ".join(word[::-1] for word in text.split()))


@pytest.mark.parametrize("number", [0, 200, 300])
def test_a_database_that_is_put_back_under_an_open_memory(
    tmp_path: Path, db: Path, earlier: bytes, number: int
) -> None:
    (tmp_path / "earlier.db").write_bytes(earlier)
    with opened(tmp_path / "earlier.db") as memory:
        memory.ingest(records(number, 1000))
        expected = answers(memory)
    with opened(db) as memory, opened(db, namespace="another") as other:
        other.add("Ada met Bea.")
        assert answers(memory) != expected
        with closing(sqlite3.connect(tmp_path / "earlier.db")) as source, closing(sqlite3.connect(db)) as target:
            source.backup(target)
        assert answers(memory) == expected
        assert memory.doctor().ok
        assert memory.ingest(records(200, 500)).passages == 200
        assert memory.doctor().ok
        assert other.recall("Ada").passages == ()
        assert other.add("Ada met Cid.").created
        assert [p.text for p in other.recall("Ada").passages] == ["Ada met Cid."]
        assert other.doctor().ok


@pytest.mark.parametrize("has_later", [True, False])
@pytest.mark.parametrize("prefix", ["", "tmp-"])
def test_a_view_from_before_a_forget_whose_saving_was_killed_is_cleared_away(
    db: Path, snapshot: Path, tmp_path: Path, prefix: str, has_later: bool
) -> None:
    shutil.copytree(snapshot, tmp_path / "saved")
    with opened(db) as memory:
        memory.forget(memory.recall("What of Visitor17?", 1).passages[0])
    (later,) = (file.parent for file in db.parent.rglob("m.db.views/*/*/manifest.json"))
    if not has_later:
        shutil.rmtree(later)
    (tmp_path / "saved").rename(snapshot.with_name(prefix + snapshot.name))
    needles = [b"Visitor17", b"visitor17"]
    assert traces(db, needles)
    for _ in range(2):
        with opened(db) as memory:
            assert len(memory.recall("ferry", 500).passages) == 109
        assert traces(db, needles) == []
        assert len(list(snapshot.parent.iterdir())) == 1  # which the next process need not make anew


def test_a_view_of_another_process_that_forgot_is_saved_anew(tmp_path: Path) -> None:
    with opened(tmp_path / "m.db") as memory:
        memory.ingest(records(100))
        with opened(tmp_path / "m.db") as other:
            other.forget(other.passages(limit=1)[0].id)
            other._view = None  # as where it is killed
        assert not list(tmp_path.rglob("manifest.json"))
        memory.recall("ferry")
    assert list(tmp_path.rglob("manifest.json"))


def test_an_update_while_a_view_is_saved_costs_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = snapshots.Snapshots._write
    with opened(tmp_path / "m.db") as memory, opened(tmp_path / "m.db") as other:

        def interrupted(*args: Any) -> None:
            write(*args)
            monkeypatch.undo()
            other.update(other.passages(limit=1)[0].id, "Ada went home.")

        monkeypatch.setattr(snapshots.Snapshots, "_write", interrupted)
        memory.ingest(records(100))
        assert list(tmp_path.rglob("manifest.json"))
        assert memory.doctor().ok


def test_a_snapshot_that_is_replaced_while_it_is_read(
    db: Path, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = snapshots.Snapshots._read

    def replaced(self: snapshots.Snapshots, folder: Path) -> View:
        monkeypatch.undo()
        folder.rename(folder.with_name(f"{folder.name[:-1]}x"))
        return read(self, folder)

    monkeypatch.setattr(snapshots.Snapshots, "_read", replaced)
    with opened(db) as memory:
        memory.recall("ferry")
        assert memory._view is not None
        assert memory._view.saved_rows == 100  # it was read, not rebuilt


def test_no_failure_to_save_a_view_is_one_of_the_recall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(viewing, "IN_USE", 8)
    monkeypatch.setattr(snapshots.Snapshots, "_write", failing)
    with opened(tmp_path / "m.db") as memory:
        memory.ingest(records(100))
        assert len(memory.recall("ferry", 500).passages) == 100


@pytest.mark.parametrize("as_of", [None, SimulatedClock().now()])
def test_a_recall_that_is_interrupted_while_it_reads_the_log_can_be_repeated(
    db: Path, monkeypatch: pytest.MonkeyPatch, as_of: datetime | None
) -> None:
    """As by Ctrl-C in a notebook, whose memory stays open."""
    clock = SimulatedClock()
    again = partial(Memory.open, db, encoder=HashEncoder(64), pipeline=child_tasks.PIPELINE, clock=clock)
    with again() as memory, again() as other:
        assert len(memory.recall("ferry", 500, as_of=as_of).passages) == 110
        clock.advance(timedelta(days=1))
        for number, passage in enumerate(memory.passages(limit=5)):
            other.update(passage.id, f"Ada met Eve{number} in Oslo.")
        append, steps = LexicalIndex.append, iter(range(1 if as_of else 3))

        def interrupted(*args: Any) -> Any:
            if next(steps, None) is None:
                raise KeyboardInterrupt
            return append(*args)

        monkeypatch.setattr(LexicalIndex, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            memory.recall("ferry", 500, as_of=as_of)
        monkeypatch.undo()
        with again() as fresh:
            for moment in (None, as_of):
                found, expected = (m.recall("ferry", 500, as_of=moment).passages for m in (memory, fresh))
                assert {p.text for p in found} == {p.text for p in expected}
        assert memory.doctor().ok
