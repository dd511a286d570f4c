"""A source that is ingested again: what it no longer holds goes, but nothing that a failed record may stand for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hippomem import Document, Memory, Settings
from hippomem.ingest import pipeline
from hippomem.ingest.readers import read
from hippomem.ingest.sources import Source
from hippomem.storage import reads
from hippomem.types import Failure

Opened = Callable[..., Memory]
BAD = '{"text": "Cid sails'


@pytest.fixture
def memory(fast: Opened) -> Memory:
    return fast()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "r.jsonl"


def texts(memory: Memory) -> list[str]:
    return sorted(passage.text for passage in memory.passages())


def write(file: Path, *lines: str) -> None:
    """Lines as they are where they begin a record, otherwise as the text of one."""
    file.write_text("".join(f"{line if line.startswith('{') else json.dumps({'text': line})}\n" for line in lines))


def test_a_file_put_back_after_a_version_with_failures_is_as_it_was(memory: Memory, file: Path) -> None:
    write(file, "Ada.", "Bea.")
    memory.ingest(file)
    write(file, "Ada.", "Dora.", BAD)
    assert memory.ingest(file).kept == 1
    write(file, "Ada.", "Bea.")
    report = memory.ingest(file)
    assert (report.skipped, report.removed, report.failed) == (0, 1, ())
    assert texts(memory) == ["Ada.", "Bea."]
    assert memory.ingest(file).skipped == 2


def test_a_turn_that_is_corrected_in_its_file_stays_where_it_was_told(memory: Memory, file: Path) -> None:
    turns = ["Hello there.", "The zepelin lands at noon.", "I will be late.", "Bring sandwiches."]
    for at, changed in ((1, ["The zeppelin lands at noon."]), (2, ["So will I.", "I will be late."]), (9, [])):
        write(file, *(json.dumps({"text": turn, "session": "s"}) for turn in turns))
        memory.ingest(file)
        (first,) = memory.recall("Hello there.", 1, context=9).passages
        assert [p.text for p in (first, *first.after)] == turns
        turns[at : at + 1] = changed
    assert memory.doctor().ok
    turns[0] = "Hello here."
    write(file, *(json.dumps({"text": turn, "session": "s"}) for turn in turns))
    with memory._store.read() as connection:
        last = reads.last_sequence(connection, memory._number)
    memory.ingest(file)
    with memory._store.read() as connection:
        log = reads.log_from(connection, memory._number, last + 1)
    assert [entry.action for entry in log] == ["add", "replace", "link"]  # nothing else has moved
    (first,) = memory.recall("Hello here.", 1, context=9).passages
    assert [p.text for p in (first, *first.after)] == turns


def test_a_document_of_a_files_name_is_replaced_by_the_file_again(memory: Memory, tmp_path: Path) -> None:
    file = tmp_path / "note.txt"
    file.write_text("Ada met Bea.")
    memory.ingest(file)
    memory.ingest(Document(text="Ada met Cid.", source=str(file)))
    assert texts(memory) == ["Ada met Cid."]
    memory.ingest(file)
    assert texts(memory) == ["Ada met Bea."]


def test_records_that_always_fail_keep_nothing(memory: Memory, file: Path) -> None:
    write(file, "The office is in Bergen.", BAD)
    assert len(memory.ingest(file).failed) == 1
    write(file, BAD, "The office is in Oslo.", "Ada left.")  # wherever it stands, it is the same bad record
    report = memory.ingest(file)
    assert (len(report.failed), report.removed, report.kept) == (1, 1, 0)
    assert texts(memory) == ["Ada left.", "The office is in Oslo."]
    assert len(memory.ingest(file).failed) == 1  # told until it is repaired


def test_what_a_record_that_newly_fails_may_stand_for_is_kept_until_it_is_repaired(memory: Memory, file: Path) -> None:
    write(file, "Ada.", "Bea.", "Cid sails.")
    memory.ingest(file)
    write(file, "Ada.", "Dora.", BAD)
    for _ in range(2):  # that it failed before says nothing of what was kept then
        report = memory.ingest(file)
        assert (report.removed, report.kept) == (0, 2)
        assert texts(memory) == ["Ada.", "Bea.", "Cid sails.", "Dora."]
    write(file, "Ada.", "Dora.", "Cid swims.")
    assert memory.ingest(file).removed == 2
    assert texts(memory) == ["Ada.", "Cid swims.", "Dora."]


def test_another_bad_record_is_not_the_one_before(memory: Memory, file: Path) -> None:
    write(file, "Ada.", "Bea.", BAD)
    memory.ingest(file)
    write(file, "Ada.", '{"text": "Bea')
    assert memory.ingest(file).kept == 1
    write(file, "Ada.", BAD)  # the line is given up
    assert memory.ingest(file).removed == 1
    assert texts(memory) == ["Ada."]


def test_a_file_that_breaks_off_loses_nothing(memory: Memory, tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text('["Ada.", "Bea."]')
    memory.ingest(file)
    file.write_text('["Ada."')
    assert "not valid JSON" in memory.ingest(file).failed[0].reason
    assert texts(memory) == ["Ada.", "Bea."]


def test_a_file_of_which_all_records_fail_loses_nothing(memory: Memory, tmp_path: Path) -> None:
    """Such as a table that has got an empty column with a name that is preferred."""
    file = tmp_path / "t.csv"
    file.write_text("answer\nAda.\nBea.\n")
    memory.ingest(file)
    file.write_text("answer,text\nAda.,\nBea.,\n")
    assert [failure.reason for failure in memory.ingest(file).failed] == ["text is empty"] * 2
    assert texts(memory) == ["Ada.", "Bea."]


def test_an_empty_record_stands_for_nothing(memory: Memory, file: Path) -> None:
    write(file, "Ada.", "Bea.")
    memory.ingest(file)
    write(file, "Ada.", '{"text": ""}', '{"text": "👍"}')
    report = memory.ingest(file)
    assert [failure.reason for failure in report.failed] == ["text is empty", "text holds no letter or digit"]
    assert (report.removed, report.kept) == (1, 0)


@pytest.mark.parametrize(
    ("name", "before", "after", "reason"),
    [
        ("a.txt", "Ada.", "", "is empty"),
        ("a.txt", "Ada.", " \n", "holds no text"),
        ("a.md", "Ada.", "🎉🎉\n", "holds no text"),
        ("a.jsonl", '"Ada."\n', "\n", "holds no records"),
        ("a.json", '["Ada."]', "[]", "holds no records"),
        ("a.csv", "text\nAda.\n", "text\n", "holds no records"),
    ],
)
def test_a_file_that_has_become_empty_loses_all(
    memory: Memory, tmp_path: Path, name: str, before: str, after: str, reason: str
) -> None:
    file = tmp_path / name
    file.write_text(before)
    memory.ingest(file)
    file.write_text(after)
    for removed in (1, 0):  # told each time
        report = memory.ingest(file)
        assert (report.failed[0].reason, report.removed, report.skipped) == (reason, removed, 0)
    assert texts(memory) == []
    assert memory.stats()["sources"] == 0
    file.write_text(before)
    assert memory.ingest(file).passages == 1


def test_a_document_that_fails_keeps_what_its_source_held(memory: Memory) -> None:
    def day(month: int, **aware: object) -> datetime:
        return datetime(2026, month, 1, **aware)  # type: ignore[arg-type]

    good = [
        Document(text="Ada.", source="log"),
        Document(text="Bea.", source="log", occurred_at=day(1, tzinfo=UTC)),
        Document(text="Cid.", source="other"),
    ]
    memory.ingest(good)
    report = memory.ingest(
        [
            Document(text="Ada!", source="log"),
            Document(text="Bea.", source="log", occurred_at=day(1)),
            Document(text="Dora.", source="other"),
        ]
    )
    assert [failure.reason for failure in report.failed] == ["occurred_at has no time zone"]
    assert (report.kept, report.removed) == (2, 1)
    assert texts(memory) == ["Ada!", "Ada.", "Bea.", "Dora."]
    assert memory.ingest(good).removed == 2
    assert texts(memory) == ["Ada.", "Bea.", "Cid."]


def test_a_document_without_text_stands_for_nothing_unless_it_is_all_there_is(memory: Memory) -> None:
    memory.ingest([Document(text="Ada.", source="log"), Document(text="Bea.", source="log")])
    report = memory.ingest([Document(text="Ada.", source="log"), Document(text="👍", source="log")])
    assert ([failure.reason for failure in report.failed], report.removed) == (["text holds no letter or digit"], 1)
    assert memory.ingest(Document(text=" ", source="log")).removed == 0
    assert texts(memory) == ["Ada."]


def test_no_row_of_a_table_without_a_text_column_is_lost(memory: Memory, tmp_path: Path) -> None:
    table = tmp_path / "catalogue.csv"
    rows = [f"K-{n},Kettle {n},{'red' if n % 2 else 'blue'},Boils water." for n in range(20)]
    table.write_text("\n".join(["sku,name,colour,description", *rows]))
    report = memory.ingest(table)
    assert (report.documents, report.passages, report.duplicates, report.failed) == (20, 20, 0, ())
    assert {passage.metadata["sku"] for passage in memory.passages()} == {f"K-{n}" for n in range(20)}
    assert memory.recall("K-13", 1).passages[0].title == "Kettle 13"
    assert memory.ingest(table).skipped == 20
    table.write_text("\n".join(["sku,name,colour,description", *rows[1:], "K-0,Kettle 0,green,Boils water."]))
    report = memory.ingest(table)
    assert (report.passages, report.removed) == (1, 1)
    assert memory.doctor().ok


def test_records_that_repeat_an_earlier_one_are_told(memory: Memory, tmp_path: Path) -> None:
    records = [{"text": "Good.", "by": by} for by in ("Ada", "Bea", "Cid")] + [{"text": "Good.", "session": "s"}]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, records)))
    (tmp_path / "t.csv").write_text("text,by\nGood.,Ada\nGood.,Bea\nBad.,Cid\n")
    for name, duplicates in (("r.jsonl", 2), ("t.csv", 1)):
        report = memory.ingest(tmp_path / name)
        assert (report.duplicates, report.passages) == (duplicates, 2)
        again = memory.ingest(tmp_path / name)
        assert (again.duplicates, again.skipped) == (0, report.documents)
    for given in (records, [Document(text="Good.", metadata=r, source="d") for r in records[:3]]):
        assert memory.ingest(given).duplicates == 2
    by = {passage.source: passage.metadata.get("by") for passage in memory.passages() if not passage.session}
    assert (by[str(tmp_path / "r.jsonl")], by[""]) == ("Ada", "Ada")


def test_a_file_that_changes_while_it_is_read_is_read_again_though_it_is_put_back(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another branch is checked out for a moment."""
    file = tmp_path / "note.txt"

    def read_another(source: Source, *args: Any, **options: Any) -> Iterator[Document | Failure]:
        file.write_text("Ada met Bea in Oslo.")
        yield from read(source, *args, **options)

    file.write_text("Ada met Cid.")
    monkeypatch.setattr(pipeline, "read", read_another)
    (failure,) = memory.ingest(file).failed
    assert "changed while it was read" in failure.reason
    monkeypatch.undo()
    file.write_text("Ada met Cid.")
    assert memory.ingest(file).removed == 1
    assert texts(memory) == ["Ada met Cid."]


def test_a_file_that_is_being_written_anew_loses_nothing(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "note.txt"
    file.write_text("Ada met Cid.")
    memory.ingest(file)

    def read_while_empty(source: Source, *args: Any, **options: Any) -> Iterator[Document | Failure]:
        try:
            yield from read(source, *args, **options)
        finally:
            file.write_text("Ada met Bea.")

    file.write_text("")
    monkeypatch.setattr(pipeline, "read", read_while_empty)
    assert memory.ingest(file).removed == 0
    monkeypatch.undo()
    assert memory.ingest(file).removed == 1
    assert texts(memory) == ["Ada met Bea."]


def test_a_file_that_was_empty_when_it_was_found_is_read_as_it_is_now(memory: Memory, tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("Ada met Cid.")
    second.write_text("")

    def fill(_read: int, _total: int | None, _passages: int) -> None:
        second.write_text("Ada met Bea.")

    memory.ingest(first)
    assert memory.ingest(tmp_path, progress=fill).failed == ()
    assert texts(memory) == ["Ada met Bea.", "Ada met Cid."]


@pytest.mark.parametrize("is_forgotten", [True, False])
def test_a_file_of_which_others_took_out_what_came_first_is_not_skipped(
    fast: Opened, file: Path, is_forgotten: bool
) -> None:
    memory, other = fast(settings=Settings(batch=2)), fast()
    write(file, "Ada.", "Bea.", "Cid.", "Dora.")
    taken: list[str] = []

    def take(_read: int, _total: int | None, passages: int) -> None:
        if passages and not taken:
            taken.extend(texts(other))
            if is_forgotten:
                other.forget(str(file))
            else:  # an ingest of another version beside this one
                other.ingest(Document(text="Eve.", source=str(file)))

    memory.ingest(file, progress=take)
    assert taken
    assert memory.ingest(file).passages == len(taken)
    assert texts(memory) == ["Ada.", "Bea.", "Cid.", "Dora."]
    assert memory.ingest(file).skipped == 4
