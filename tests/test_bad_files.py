"""What cannot be ingested is told with its reason; the rest is ingested, and no text is stored that is none."""

from __future__ import annotations

import gzip
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from unchanged import unchanged

from hippomem import Document, InvalidInputError, Memory, NotFoundError, Settings
from hippomem.testing import HashEncoder, capitals

Opened = Callable[..., Memory]
WESTERN = "Zoë Müller öffnete das Café am Hafen. Später kam Jürgen Großmann dazu und blieb für immer."


@pytest.fixture
def memory(fast: Opened) -> Memory:
    memory = fast()
    memory.add("Ada met Bea in Oslo.")
    return memory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


def texts(memory: Memory) -> set[str]:
    return {text for _, text in memory.graph().nodes(data="text") if text is not None}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("noise.txt", bytes(range(256)) * 40, "binary"),
        ("zeros.txt", bytes(4096), "binary"),
        ("image.md", b"\x89PNG\r\n\x1a\n" + random.Random(5).randbytes(2000), "binary"),  # noqa: S311
        ("program", b"\x7fELF\x02\x01\x01\x00" + bytes(500), "binary"),
        ("empty.txt", b"", "is empty"),
        ("blank.txt", b" \n\t\r\n", "holds no text"),
        ("wrong.json", b'{"text": "Ada"', "not valid JSON"),
        ("deep.json", b"[" * 100_000, "JSON"),
        ("none.json", b"[]", "holds no records"),
        ("textless.jsonl", b'{"a": null}\n', "text is empty"),
        ("cut.txt.gz", gzip.compress(b"Ada met Bea. " * 999, mtime=0)[:-20], "gzip"),
        ("no.txt.gz", b"not gzip at all", "gzip"),
        ("archive.zip", b"PK\x03\x04" + bytes(100), "zip"),
        ("field.csv", b'a,b\n"' + b"x" * 2_000_000, "table"),
    ],
)
def test_files_that_are_no_text(memory: Memory, folder: Path, name: str, content: bytes, reason: str) -> None:
    (folder / name).write_bytes(content)
    for target in (folder, folder / name):
        with unchanged(memory):
            report = memory.ingest(target)
            (failure,) = report.failed
            assert reason in failure.reason
            assert failure.source.startswith(str(folder / name))
            assert (report.documents, report.passages) == (0, 0)


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff"), ("utf-16-le", b""), ("utf-16-be", b""), ("latin-1", b""),
     ("utf-8", b"\xef\xbb\xbf"), ("cp1252", b"")],
)  # fmt: skip
def test_encodings_are_understood(memory: Memory, folder: Path, encoding: str, mark: bytes) -> None:
    (folder / "notes.txt").write_bytes(mark + WESTERN.encode(encoding))
    assert memory.ingest(folder).failed == ()
    assert texts(memory) == {"Ada met Bea in Oslo.", WESTERN}


def test_documents_that_are_broken_or_bombs(memory: Memory, folder: Path) -> None:
    (folder / "broken.pdf").write_bytes(
        b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n\xff\xff trailer"
    )
    (folder / "broken.docx").write_bytes(b"PK\x03\x04 and no more")
    with zipfile.ZipFile(folder / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("[Content_Types].xml", "<Types/>")
        bomb.writestr("word/document.xml", "<w:document>" + " " * 300_000_000)
    (folder / "good.txt").write_text("Cid owns the Grey Heron.")
    report = memory.ingest(folder)
    reasons = {Path(failure.source).name: failure.reason for failure in report.failed}
    assert reasons.keys() == {"broken.pdf", "broken.docx", "bomb.docx"}
    assert "MiB" in reasons["bomb.docx"]
    assert report.documents == 1
    assert texts(memory) == {"Ada met Bea in Oslo.", "Cid owns the Grey Heron."}


@pytest.mark.parametrize("word", ["word ", "x"])
def test_fifty_megabytes_of_one_word(memory: Memory, folder: Path, word: str) -> None:
    (folder / "huge.txt").write_text(word * (50_000_000 // len(word)))
    with unchanged(memory):
        (failure,) = memory.ingest(folder).failed
    assert "HIPPOMEM_MAX_DOCUMENT_BYTES" in failure.reason


@pytest.mark.parametrize("word", ["word ", "x", "日", "a\u0300", "\n", "Ada"])
def test_three_megabytes_of_one_word_within_the_limit(memory: Memory, folder: Path, word: str) -> None:
    (folder / "large.txt").write_text("Begin. " + word * (3_000_000 // len(word)), encoding="utf-8")
    assert memory.ingest(folder).failed == ()
    assert max(map(len, texts(memory))) <= 1000
    assert memory.recall(word * 20 + "?", 3).passages
    assert memory.doctor().ok


def test_paths_that_are_not_there(memory: Memory, folder: Path) -> None:
    (folder / "good.txt").write_text("Cid owns the Grey Heron.")
    with unchanged(memory):
        for target in (
            folder / "nothing",
            [folder, folder / "nothing"],
            folder / "good.txt" / "x",
            "a\x00b",
        ):
            with pytest.raises(NotFoundError):
                memory.ingest(target)
        assert memory.ingest([]).documents == 0
        assert "too long" in memory.ingest("x" * 999).failed[0].reason
        empty = folder.with_name("empty")
        empty.mkdir()
        assert (memory.ingest(empty).documents, memory.ingest(empty).failed) == (0, ())


def test_entries_of_a_folder_that_cannot_be_read(memory: Memory, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "good.txt").write_text("Cid owns the Grey Heron.")
    (folder / "secret.txt").write_text("Nobody may read this.")
    (folder / "dead.txt").symlink_to(folder / "nothing")
    (folder / "around").symlink_to(folder)
    (folder / "itself.txt").symlink_to(folder / "itself.txt")
    os.mkfifo(folder / "pipe.txt")
    access = os.access
    # chmod does not stop root
    monkeypatch.setattr(os, "access", lambda path, *rest: "secret" not in str(path) and access(path, *rest))
    report = memory.ingest(folder)
    assert report.documents == 1
    reasons = {Path(failure.source).name: failure.reason for failure in report.failed}
    assert reasons.keys() == {"secret.txt", "dead.txt", "itself.txt", "pipe.txt"}
    assert "Permission" in reasons["secret.txt"]
    assert texts(memory) == {"Ada met Bea in Oslo.", "Cid owns the Grey Heron."}


def test_a_record_file_with_malformed_lines(memory: Memory, folder: Path) -> None:
    lines = [
        b'{"text": "Cid owns the Grey Heron.", "title": "Inns"}',
        b"{",
        b'"Dora met Ebba in Bergen."',
        *(b'{"text": ""}', b"\xff\xfe", b'{"text": "a\\u0000b"}', b'{"text": "\\ud800"}', b"[1]", b"null", b""),
        *(b'{"text": "x", "occurred_at": "yesterday"}', b'{"text": "Falk left.", "n": NaN}'),
        b'{"text": "Gro stays."}',
    ]
    file = folder / "records.jsonl"
    file.write_bytes(b"\n".join(lines))
    report = memory.ingest(folder)
    assert report.documents == 3
    assert [int(failure.source.rpartition("#")[2]) for failure in report.failed] == [1, 3, 4, 5, 6, 7, 8, 9, 10]
    assert texts(memory) == {
        "Ada met Bea in Oslo.", "Cid owns the Grey Heron.", "Dora met Ebba in Bergen.", "Gro stays."
    }  # fmt: skip
    assert memory.ingest(folder).passages == 0  # the good ones are known, the bad ones told again
    assert len(memory.ingest(folder).failed) == 9


class _Mute:
    def __repr__(self) -> str:
        raise RuntimeError("it says nothing")


RECORDS: list[Any] = [
    *({"text": _Mute()}, {"a": "x", "b": _Mute()}, {"text": "x", "title": 10**5000}, {"a": "x", "b": 10**5000}),
    *(5, None, ["x"], b"x", Path("x.txt"), "x.txt", object()),
    *({"a": None}, {"a": {1}, "b": 2}, {"a": "\x00", "b": 2}, {"text": 5}, {"text": ""}, {1: "x", "text": "x"}),
    *(
        {"text": "x", "more": more}
        for more in ({1}, datetime.now(UTC), float("nan"), {(1, 2): 3}, b"x", "\x00", ["\ud800"], [[{"a": {1}}]])
    ),
    *(
        Document(**{"text": "x"} | wrong)
        for wrong in (
            *({"text": ""}, {"text": "\x00"}, {"text": None}, {"title": "\ud800"}, {"title": 5}, {"title": None}),
            *({"source": 5}, {"source": "\x00"}, {"session": 5}, {"session": "\ud800"}, {"metadata": None}),
            *({"metadata": {"a": {1}}}, {"metadata": {"a": float("inf")}}, {"metadata": {"a": "\x00"}}),
            *({"occurred_at": "2026"}, {"occurred_at": datetime(2026, 1, 1)}),
            {"occurred_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))},
        )
    ),
]


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_records_that_cannot_be_stored(memory: Memory, record: Any) -> None:
    with unchanged(memory):
        (failure,) = memory.ingest(iter([record])).failed
        assert failure.reason
    report = memory.ingest(iter([{"text": "Before."}, record, MappingProxyType({"text": "After."})]))
    assert (report.documents, len(report.failed)) == (2, 1)
    assert texts(memory) == {"Ada met Bea in Oslo.", "Before.", "After."}


@pytest.mark.parametrize("inputs", [5, None, b"x", 1.5, object()])
def test_what_is_no_input(memory: Memory, inputs: Any) -> None:
    with unchanged(memory), pytest.raises(InvalidInputError, match="ingest takes"):
        memory.ingest(inputs)


@pytest.mark.parametrize("inputs", ["", " \n", [""], ["notes", " "], [{"text": "Before."}, ""]], ids=repr)
def test_an_empty_path_is_not_the_working_directory(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: Any
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("Cid met Dov.")
    monkeypatch.chdir(tmp_path)
    for call in (memory.ingest, memory.estimate):
        with unchanged(memory), pytest.raises(InvalidInputError, match=r"empty: '\.' stands for this folder"):
            call(inputs)
    monkeypatch.chdir(tmp_path / "notes")
    assert memory.ingest(".").documents == 1


@pytest.mark.parametrize("batch", [3, 256])
def test_what_a_generator_gave_before_it_broke_is_kept(tmp_path: Path, batch: int) -> None:
    class BreakError(Exception):
        pass

    def broken() -> Iterator[Any]:
        for i in range(10):
            yield Document(text=f"Visitor{i} came to Oslo.", source="ledger") if i % 2 else {"text": f"Note {i}."}
        raise BreakError

    settings = Settings(db=str(tmp_path / "m.db"), batch=batch, encoder=HashEncoder(), pipeline=capitals())
    with Memory.open(settings=settings) as memory:
        memory.add("Visitor99 came before.", source="ledger")
        with pytest.raises(BreakError):
            memory.ingest(broken())
        # Half a source replaces nothing of what it held before.
        assert len(texts(memory)) == 11
        assert memory.doctor().ok
        report = memory.ingest([Document(text=f"Visitor{i} came to Oslo.", source="ledger") for i in range(1, 10, 2)])
        assert (report.passages, report.removed) == (0, 1)
