"""Files that go by a source of one's own: found, skipped and replaced by that, wherever they lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hippomem import File, InvalidInputError, Memory, NotFoundError


def test_a_file_is_known_by_the_source_that_it_is_given(fast: Callable[..., Memory], tmp_path: Path) -> None:
    memory = fast()
    for folder in ("one", "two", "three"):
        (tmp_path / folder).mkdir()
    (tmp_path / "one" / "bees.md").write_text("Bea Lind keeps bees in Bergen.")
    report = memory.ingest(File(tmp_path / "one" / "bees.md", "uploads/bees"))
    assert (report.documents, memory.sources()) == (1, ("uploads/bees",))
    assert memory.passages(source="uploads/bees")[0].title == "bees"
    (tmp_path / "two" / "bees.md").write_text("Bea Lind keeps bees in Bergen.")
    again = memory.ingest([File(tmp_path / "two" / "bees.md", "uploads/bees")])
    assert (again.documents, again.skipped) == (0, 1)
    (tmp_path / "three" / "bees.md").write_text("Bea Lind sold her bees.")
    assert memory.ingest([File(tmp_path / "three" / "bees.md", "uploads/bees")]).removed == 1
    assert [passage.text for passage in memory.passages()] == ["Bea Lind sold her bees."]


def test_its_records_are_read_and_what_cannot_be_is_told_by_its_source(
    fast: Callable[..., Memory], tmp_path: Path
) -> None:
    (tmp_path / "notes.jsonl").write_text('{"text": "Ada lives in Bergen."}\n{"text": 7}\n')
    (tmp_path / "pipe").mkdir()
    files = [File(tmp_path / "notes.jsonl", "notes"), File(tmp_path / "pipe", "a folder")]
    report = fast().ingest(files)
    assert report.passages == 1
    assert {failure.source for failure in report.failed} == {"notes#1", "a folder"}
    assert str(tmp_path) not in str(report)


@pytest.mark.parametrize("source", ["", " ", "a\0b", "\ud800", 7])
def test_a_source_that_cannot_be_is_refused(fast: Callable[..., Memory], tmp_path: Path, source: str) -> None:
    (tmp_path / "a.txt").write_text("Ada lives in Bergen.")
    with pytest.raises(InvalidInputError, match="source of a File"):
        fast().ingest(File(tmp_path / "a.txt", source))


def test_a_file_that_is_not_there_is_told(fast: Callable[..., Memory], tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no file"):
        fast().ingest(File(tmp_path / "none.txt", "a"))


def test_two_files_of_one_source_are_refused_before_any_is_read(fast: Callable[..., Memory], tmp_path: Path) -> None:
    memory = fast()
    one, two, link = tmp_path / "one.txt", tmp_path / "two.txt", tmp_path / "link.txt"
    one.write_text("Ada lives in Bergen.")
    two.write_text("Bea lives in Oslo.")
    link.symlink_to(one)
    for files in ([File(one, "notes"), File(two, "notes")], [one, File(two, str(one))]):
        with pytest.raises(InvalidInputError, match="have the same source"):
            memory.ingest(files)
    assert memory.sources() == ()
    assert memory.ingest([File(one, "notes"), File(link, "notes")]).documents == 1
