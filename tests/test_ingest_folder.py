"""A folder of real files: all in, nothing twice, a touched file replaces its own passages and no others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hippomem import Document, Memory, NotFoundError
from hippomem.testing import HashEncoder, capitals


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory.open(tmp_path / "m.db", encoder=HashEncoder(), pipeline=capitals())


def _ids(memory: Memory, source: Path) -> set[str]:
    graph = memory.graph()
    return {n for n, data in graph.nodes(data=True) if data.get("source") == str(source)}


@pytest.mark.sqlite
def test_the_database_itself_is_no_source_whatever_it_is_called(tmp_path: Path) -> None:
    def opened() -> Memory:
        return Memory.open(tmp_path / "memory.sqlite", encoder=HashEncoder(), pipeline=capitals())

    with opened() as memory:
        memory.ingest([{"text": f"Ada saw whale {number}."} for number in range(70)])
    assert list(tmp_path.rglob("manifest.json"))
    (tmp_path / "note.txt").write_text("Ada met Bea.")
    with opened() as memory:
        report = memory.ingest(tmp_path)
        assert (report.passages, report.failed) == (1, ())


@pytest.mark.slow
def test_a_folder_of_real_files(memory: Memory, shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    shutil.copytree(shared_data / "docs", folder)
    files = [f for f in folder.rglob("*") if f.is_file()]
    report = memory.ingest(folder)
    assert (report.documents, report.failed, report.skipped) == (len(files), (), 0)
    before = {f: _ids(memory, f) for f in files}
    assert all(before.values())
    again = memory.ingest(folder)
    assert (again.documents, again.passages, again.skipped, again.failed) == (0, 0, len(files), ())

    touched = folder / "gutenberg" / "a_christmas_carol.txt"
    text = touched.read_text(encoding="utf-8")
    assert "Bob Cratchit" in text
    touched.write_text(text.replace("Bob Cratchit", "Bob Crotchet", 1), encoding="utf-8")
    changed = memory.ingest(folder)
    assert (changed.documents, changed.skipped, changed.failed) == (1, len(files) - 1, ())
    assert 0 < changed.passages < len(before[touched]) / 4
    assert changed.removed == changed.passages
    after = {f: _ids(memory, f) for f in files}
    assert {f for f in files if before[f] != after[f]} == {touched}
    assert memory.doctor().ok


def test_passages_tell_where_they_come_from(memory: Memory, tmp_path: Path) -> None:
    note = tmp_path / "harbour.md"
    note.write_text("# The Harbour\n\n" + "Ada met Bea at the pier. " * 100, encoding="utf-8")
    memory.ingest(note)
    passages = sorted((memory.get(i) for i in _ids(memory, note)), key=lambda p: p.position)
    text = note.read_text(encoding="utf-8")
    assert len(passages) > 1
    assert [p.position for p in passages] == list(range(len(passages)))
    for passage in passages:
        assert passage.title == "The Harbour"
        assert text[passage.start : passage.end] == passage.text


def test_a_file_that_lost_a_part_loses_its_passages(memory: Memory, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.json"
    records = [{"title": f"Note {n}", "text": f"Captain{n} sails Vessel{n}."} for n in range(10)]
    corpus.write_text(json.dumps(records), encoding="utf-8")
    assert memory.ingest(corpus).passages == 10
    corpus.write_text(json.dumps([*records[:7], {"title": "New", "text": "Mate sails Boat."}]), encoding="utf-8")
    report = memory.ingest(corpus)
    assert (report.passages, report.removed) == (1, 3)
    assert memory.stats()["passages"] == 8


def test_streams_of_records_do_not_replace_each_other(memory: Memory) -> None:
    memory.ingest({"text": f"Captain{n} sails.", "source": "log"} for n in range(3))
    memory.ingest({"text": f"Mate{n} swabs.", "source": "log"} for n in range(3))
    assert memory.stats()["passages"] == 6
    assert memory.forget("log").passages == 6


def test_a_document_replaces_what_its_source_held(memory: Memory) -> None:
    memory.ingest(Document(text="Ada met Bea.", source="page"))
    memory.ingest(Document(text="Ada met Cid.", source="page"))
    assert [p.text for p in memory.recall("Ada", 5).passages] == ["Ada met Cid."]


def test_paths_documents_and_records_in_one_list(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ada met Bea.", encoding="utf-8")
    report = memory.ingest([tmp_path / "a.txt", Document(text="Cid met Dora."), {"text": "Eve met Finn."}])
    assert (report.documents, report.passages) == (3, 3)


def test_a_missing_path_stops_before_anything_is_read(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ada met Bea.", encoding="utf-8")
    with pytest.raises(NotFoundError, match="nowhere"):
        memory.ingest([tmp_path / "a.txt", tmp_path / "nowhere"])
    assert memory.stats()["passages"] == 0


def test_the_same_file_named_twice_is_read_once(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("Ada met Bea.", encoding="utf-8")
    assert memory.ingest([tmp_path / "in", tmp_path / "in" / "a.txt"]).documents == 1
