"""Exports that are none, cut, changed, newer or of another encoder, and places that cannot be written."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from child_tasks import PIPELINE, opened, records
from unchanged import state, unchanged

from hippomem import (
    EncoderMismatchError,
    InvalidInputError,
    Memory,
    NotFoundError,
    Settings,
    SourceError,
    StoreAccessError,
    StoreFullError,
    Triple,
)
from hippomem.cli_graph import write_graph
from hippomem.storage import writes
from hippomem.storage.files import written_whole
from hippomem.testing import HashEncoder

Lines = list[dict[str, Any]]


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    with opened(tmp_path / "source.db") as memory:
        memory.ingest(records(20))
        (tmp_path / "note.txt").write_text("Ada met Bea at the Lantern Foundry.")
        memory.ingest(tmp_path / "note.txt")
        memory.export(tmp_path / "dump.jsonl")
    return tmp_path / "dump.jsonl"


def load(dump: Path, db: Path, dimension: int = 64, **options: Any) -> Memory:
    return Memory.load(dump, db, settings=Settings(encoder=HashEncoder(dimension), pipeline=PIPELINE), **options)


def lines_of(dump: Path) -> Lines:
    return [json.loads(line) for line in dump.read_text().splitlines()]


def is_refused(dump: Path, error: type[Exception] = SourceError, match: str | None = None) -> None:
    """Neither a new store nor one that has something takes it in."""
    with pytest.raises(error, match=match):
        load(dump, dump.with_name("new.db"))
    assert list(dump.parent.glob("new.db*")) == []
    with opened(dump.with_name("other.db")) as memory:
        memory.add("Cid owns the Grey Heron.")
        with unchanged(memory), pytest.raises(error, match=match):
            load(dump, dump.with_name("other.db"))


def test_what_is_whole_is_taken(dump: Path, tmp_path: Path) -> None:
    with load(dump, tmp_path / "new.db") as memory, opened(tmp_path / "source.db") as source:
        assert state(memory)[1] == state(source)[1]
        assert memory.doctor().ok
    load(dump, tmp_path / "new.db").close()
    with opened(tmp_path / "new.db") as memory:
        assert memory.stats()["passages"] == 21  # twice is once
        assert memory.ingest(tmp_path / "note.txt").skipped == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"{}", b"[]", b"null", b"5", b"Ada met Bea.", b"\xff\xfe\x00", b'{"type": "hippomem"}', bytes(5000),
     b'{"type": "hippomem", "namespace": 5}', b'{"type": "hippomem", "namespace": null, "format": 1}', b"[" * 50_000],
)  # fmt: skip
def test_what_is_no_export(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dump.jsonl").write_bytes(content)
    is_refused(tmp_path / "dump.jsonl", match="is not an export of hippomem")


def test_what_is_no_file(tmp_path: Path) -> None:
    is_refused(tmp_path / "nothing", NotFoundError, "there is no file")
    (tmp_path / "folder").mkdir()
    is_refused(tmp_path / "folder", match="cannot be read: Is a directory")


def test_a_newer_format(dump: Path) -> None:
    dump.write_text(dump.read_text().replace('"format": 1', '"format": 2', 1))
    is_refused(dump, match="format 2, this version reads 1")


def test_another_encoder(dump: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderMismatchError, match=r"made by 'hash-64'.*'hash-32'.*HIPPOMEM_ENCODER"):
        load(dump, tmp_path / "new.db", dimension=32)
    assert list(tmp_path.glob("new.db*")) == []
    with opened(tmp_path / "other.db", dimension=32) as memory, unchanged(memory), pytest.raises(EncoderMismatchError):
        load(dump, tmp_path / "other.db", dimension=32)


def test_every_way_to_cut_it_short(dump: Path) -> None:
    whole = dump.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in (b"".join(lines[:-1]), b"".join(lines[:5]), lines[0], whole[:-2], whole[: len(whole) // 2]):
        dump.write_bytes(cut)
        is_refused(dump, match="dump.jsonl")
    dump.write_bytes(whole + b"\n" + lines[1])
    is_refused(dump)


CHANGES: dict[str, Callable[[Lines], object]] = {
    "a line is gone": lambda lines: lines.pop(3),
    "a line is twice": lambda lines: lines.insert(3, lines[3]),
    "two lines are swapped": lambda lines: lines.insert(3, lines.pop(4)),
    "the text": lambda lines: lines[3].update(text="Ada met nobody."),
    "no text": lambda lines: lines[3].pop("text"),
    "a text that is none": lambda lines: lines[3].update(text=5),
    "a NUL": lambda lines: lines[3].update(title="\x00"),
    "a surrogate": lambda lines: lines[3].update(source="\ud800"),
    "a type": lambda lines: lines[3].update(type="song"),
    "no type": lambda lines: lines[3].pop("type"),
    "a list": lambda lines: lines.insert(3, []),  # type: ignore[arg-type]
    "a name": lambda lines: lines[3]["mentions"][0].__setitem__(0, "Somebody Else"),
    "a vector that is none": lambda lines: lines[3].update(vector="no base64!"),
    "a vector of another length": lambda lines: lines[3].update(vector=lines[3]["vector"][:128]),
    "a vector that is not finite": lambda lines: lines[3].update(vector="AADAfw==" * 64),
    "sentences": lambda lines: lines[3].update(sentences=[[0, 1]] * 9),
    "a sentence without end": lambda lines: lines[3]["sentences"].__setitem__(0, [0, 10**30]),
    "a position without end": lambda lines: lines[3].update(position=10**30),
    "a position that is none": lambda lines: lines[3].update(start=-1),
    "a time": lambda lines: lines[3].update(occurred_at="yesterday"),
    "a time without zone": lambda lines: lines[3].update(recorded_at="2026-01-01T00:00:00"),
    "metadata": lambda lines: lines[3].update(metadata=[1]),
    "a fact": lambda lines: lines[3].update(facts=[["Ada"]]),
    "a count": lambda lines: lines[-1].update(passages=20),
    "the checksum": lambda lines: lines[-1].update(sha256="0" * 64),
    "no checksum": lambda lines: lines[-1].pop("sha256"),
    "the namespace": lambda lines: lines[0].update(namespace="another"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_is_refused(dump: Path, what: str) -> None:
    lines = lines_of(dump)
    CHANGES[what](lines)
    dump.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), errors="surrogatepass")
    is_refused(dump, match="dump.jsonl")


def of_type(lines: Lines, type_: str) -> dict[str, Any]:
    return next(line for line in lines if line["type"] == type_)


NO_STORE_HOLDS = {
    what: CHANGES[what] for what in CHANGES if re.match("no te|a (text|NUL|surr|type|vec|sen|pos|ti|fact)", what)
}
NO_STORE_HOLDS |= {what: CHANGES[what] for what in ("no type", "a list", "metadata")}
NO_STORE_HOLDS |= {
    "a fact that is a word": lambda lines: lines[3].update(facts=["Adam"]),
    "a fact with a time that is none": lambda lines: lines[3].update(
        facts=[["Ada", "met", "Bea", "user", "now", None]]
    ),
    "a fact of a number": lambda lines: lines[3].update(facts=[["Ada", 5, "Bea", "user"]]),
    "a session": lambda lines: lines[3].update(session=5),
    "a count that is true": lambda lines: lines[3].update(position=True),
    "no vector": lambda lines: lines[3].update(vector=""),
    "documents": lambda lines: of_type(lines, "document").update(documents=-1),
    "a version of nothing": lambda lines: of_type(lines, "version").update(of="0" * 32),
    "a version from no time": lambda lines: of_type(lines, "version").update(valid_from=None),
    "a version to no time": lambda lines: of_type(lines, "version").update(superseded_at=None),
    "the standing of nothing": lambda lines: of_type(lines, "standing").update(passage="0" * 32),
    "a strength": lambda lines: of_type(lines, "standing").update(strengths=[["ada", 0.5]]),
    "a strength without end": lambda lines: of_type(lines, "standing").update(strengths=[["ada", 1e30]]),
    "a learning event's id": lambda lines: of_type(lines, "learning").update(id="x"),
    "a learning event of nothing": lambda lines: of_type(lines, "learning").update(useful=[]),
    "a learning event without a time": lambda lines: of_type(lines, "learning").update(at=None),
    "its confidence": lambda lines: of_type(lines, "learning").update(confidence=2),
    "its vector": lambda lines: of_type(lines, "learning").update(vector=lines[3]["vector"][:128]),
    "its evidence": lambda lines: of_type(lines, "learning").update(evidence="AAA="),
}


@pytest.mark.parametrize("what", NO_STORE_HOLDS)
def test_what_no_store_can_hold_is_refused_whatever_its_checksum(dump: Path, what: str) -> None:
    with opened(dump.with_name("source.db")) as memory:
        first, last = memory.passages(source="")[:: len(memory.passages(source="")) - 1]
        memory.feedback("Where was Ada?", [last.id])
        memory.update(first.id, "Ada met Cid.")
        let = Triple("Ada", "rents", "Mill Street", invalid_at=datetime(2020, 1, 1, tzinfo=UTC))
        memory.add("Ada rents a flat.", triples=[let])
        memory.export(dump)

    def signed(lines: Lines) -> None:
        told = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines[:-1])
        lines[-1]["sha256"] = hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()
        dump.write_text(told + json.dumps(lines[-1]) + "\n", errors="surrogatepass")

    signed(lines_of(dump))
    load(dump, dump.with_name("whole.db")).close()
    lines = lines_of(dump)
    NO_STORE_HOLDS[what](lines)
    signed(lines)
    is_refused(dump, match="dump.jsonl")


def test_each_line_has_a_byte_changed(dump: Path) -> None:
    whole = dump.read_bytes().splitlines(keepends=True)
    for number in range(1, len(whole)):
        changed = bytearray(whole[number])
        changed[len(changed) // 3] ^= 1
        dump.write_bytes(b"".join([*whole[:number], bytes(changed), *whole[number + 1 :]]))
        with pytest.raises(SourceError):
            load(dump, dump.with_name("new.db"))
    assert list(dump.parent.glob("new.db*")) == []


@pytest.mark.parametrize("namespace", ["a\nb", "x" * 256, " "])
def test_a_namespace_that_cannot_be(dump: Path, tmp_path: Path, namespace: str) -> None:
    with pytest.raises(InvalidInputError, match="namespace"):
        load(dump, tmp_path / "new.db", namespace=namespace)
    assert list(tmp_path.glob("new.db*")) == []


@pytest.mark.sqlite
@pytest.mark.parametrize("db", ["x" * 300, "missing/new.db", "folder"])
def test_a_place_where_no_database_can_be(dump: Path, tmp_path: Path, db: str) -> None:
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreAccessError):
        load(dump, tmp_path / db)
    assert sorted(tmp_path.rglob("*")) == before


def broken_off(monkeypatch: pytest.MonkeyPatch, at: int, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Has the disk be full at a batch of a load; before that, others do something."""
    monkeypatch.setattr("hippomem.transfer.BATCH", 8)
    add, calls = writes.add_passages, iter(range(at))

    def full(*args: Any) -> Any:
        if next(calls, None) is not None:
            return add(*args)
        meanwhile()
        raise StoreFullError("full")

    monkeypatch.setattr(writes, "add_passages", full)


@pytest.mark.sqlite
@pytest.mark.parametrize("batches", [0, 2])
def test_a_new_database_that_cannot_be_filled_is_removed(
    dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    (tmp_path / "other.db").write_bytes((tmp_path / "source.db").read_bytes())
    broken_off(monkeypatch, batches)
    for namespace in ("here", None):
        with pytest.raises(StoreFullError):
            load(dump, tmp_path / "new.db", namespace=namespace)
        assert list(tmp_path.glob("new.db*")) == []
    with pytest.raises(StoreFullError):
        load(dump, tmp_path / "other.db", namespace="here")
    monkeypatch.undo()
    with opened(tmp_path / "other.db") as memory:  # was there before
        assert memory.stats()["passages"] == 21
    with load(dump, tmp_path / "new.db") as memory:
        assert memory.stats()["passages"] == 21


def test_a_new_database_that_others_use_is_not_removed(
    dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[Memory] = []
    broken_off(monkeypatch, 1, lambda: others.append(opened(tmp_path / "new.db", namespace="theirs")))
    with pytest.raises(StoreFullError):
        load(dump, tmp_path / "new.db")
    monkeypatch.undo()
    (other,) = others
    with other:
        other.add("Cid owns the Grey Heron.")
    with opened(tmp_path / "new.db", namespace="theirs") as memory:
        assert memory.stats()["passages"] == 1


@pytest.mark.parametrize(
    "place", [".", "", "missing/dump", "dump.jsonl/x", "x" * 300, "a\x00b", "/proc/dump", "/dev/full/x"]
)
def test_places_that_cannot_be_written(dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    with (
        opened(tmp_path / "source.db") as memory,
        unchanged(memory),
        pytest.raises((StoreAccessError, InvalidInputError), match=r"cannot write|give a path"),
    ):
        memory.export(place)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.sqlite
def test_no_export_replaces_a_database(dump: Path, tmp_path: Path) -> None:
    own, other = tmp_path / "source.db", tmp_path / "other"
    with closing(sqlite3.connect(other)) as connection:  # of another program
        connection.execute("CREATE TABLE notes (text)")
    links = [tmp_path / name for name in ("link.json", "hard.json", "link-wal.json", "hard-wal.json")]
    with opened(own) as memory:
        text = memory.add("Cid owns the Grey Heron.").text
        for link, target in zip(links, (own, own, f"{own}-wal", f"{own}-wal"), strict=True):
            link.hardlink_to(target) if link.name.startswith("hard") else link.symlink_to(target)
        graph = memory.graph()
        before = sorted(tmp_path.iterdir())
        for place in (own, *(Path(f"{own}-{end}") for end in ("wal", "shm", "journal")), other, *links):
            with unchanged(memory), pytest.raises(InvalidInputError, match="is a database, or a part of one"):
                memory.export(place)
            if place in links:
                with unchanged(memory), pytest.raises(InvalidInputError, match="is a database, or a part of one"):
                    write_graph(graph, place)
        assert sorted(tmp_path.iterdir()) == before
        assert memory.export(tmp_path / "notes-wal") == 22  # beside no database
    with opened(own) as memory:
        assert memory.recall("Who owns the Grey Heron?", 1).passages[0].text == text
        assert memory.doctor().ok


def test_an_export_replaces_what_a_link_leads_to_and_no_pipe_or_device(dump: Path, tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe.json", tmp_path / "latest.json"
    os.mkfifo(pipe)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link.symlink_to(elsewhere / "dump.json")
    (tmp_path / "to-pipe.json").symlink_to(pipe)
    with opened(tmp_path / "source.db") as memory:
        for place in (pipe, tmp_path / "to-pipe.json"):
            with pytest.raises(InvalidInputError, match="is a device or a pipe"):
                memory.export(place)
            with pytest.raises(InvalidInputError, match="is a device or a pipe"):
                write_graph(memory.graph(), place)
        write_graph(memory.graph(), link)
        assert memory.export(link) == 21
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert (elsewhere / "dump.json").read_bytes() == dump.read_bytes()


def test_an_export_removes_what_killed_ones_have_left_and_nothing_else(dump: Path, tmp_path: Path) -> None:
    left = tmp_path / ".dump.jsonl.0123abcd.part"
    kept = [tmp_path / f".{name}" for name in ("dump.jsonl.20240101", "dump.jsonl.part", "other.jsonl.0123abcd.part")]
    for file in (left, *kept):
        file.write_text("text")
    with opened(tmp_path / "source.db") as memory:
        with written_whole(dump) as under_way:
            memory.export(dump)
            under_way.write(b"the one that ends last")
        memory.export(tmp_path / ("ö" * 120))
    assert dump.read_bytes() == b"the one that ends last"
    assert sorted(tmp_path.glob(".*")) == sorted(kept)


def test_an_export_that_fails_leaves_the_earlier_one(
    dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    before = dump.read_bytes()
    monkeypatch.setattr("hippomem.storage.files.os.fsync", full)
    with opened(tmp_path / "source.db") as memory, pytest.raises(StoreAccessError, match="No space left"):
        memory.export(dump)
    assert dump.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
