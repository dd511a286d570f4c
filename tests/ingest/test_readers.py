"""Any file to Documents: which way it is read, its title, its limits."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from ingest_documents import pdf, write_docx

from hippomem.errors import MissingDependencyError, SourceError
from hippomem.ingest.convert import Converter
from hippomem.ingest.readers import read, title_of
from hippomem.ingest.sources import Source, find_sources
from hippomem.types import Document, Failure

LIMIT = 20 * 2**20
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.fixture(scope="module")
def converter() -> Iterator[Converter]:
    with Converter() as shared:
        yield shared


class NoConverter(Converter):
    """For files that have no business in the child process."""

    def convert(self, path: Path, *, kind: str = "", max_unpacked_bytes: int = 0) -> tuple[str, str]:
        raise AssertionError(f"{path} was converted as {kind}")


def read_all(
    path: Path, data: bytes | str, converter: Converter | None = None, limit: int = LIMIT
) -> list[Document | Failure]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    source = Source(name=path.as_posix(), path=path, size=path.stat().st_size)
    return list(read(source, converter or NoConverter(), max_document_bytes=limit))


def read_one(path: Path, data: bytes | str, converter: Converter | None = None, limit: int = LIMIT) -> Document:
    (document,) = read_all(path, data, converter, limit)
    assert isinstance(document, Document)
    return document


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("the_file.txt", "text/plain"),
        ("the_file.MD", "text/markdown"),
        ("the_file.rst", "text/x-rst"),
        ("the_file.py", "text/plain"),
        ("the_file", "text/plain"),
        ("the_file.unknown", "text/plain"),
        ("the_file.txt.gz", "text/plain"),
        ("the_file.md.gz", "text/markdown"),
    ],
)
def test_text(tmp_path: Path, name: str, media_type: str) -> None:
    data = "Käse.\r\nBrot.\n".encode()
    path = tmp_path / name
    assert read_one(path, gzip.compress(data) if name.endswith(".gz") else data) == Document(
        text="Käse.\nBrot.\n", title="the file", source=path.as_posix(), metadata={"media_type": media_type}
    )


@pytest.mark.parametrize(
    ("text", "name", "title"),
    [
        ("# Cheese\n\n# Bread", "a.md", "Cheese"),
        ("Lead.\n\n## Second\n# First of *all* `things` #\n", "a.md", "First of all things"),
        ("# [Cheese](http://x) and ![a picture](y)", "a.md", "Cheese and a picture"),
        ("# snake_case stays", "a.md", "snake_case stays"),
        ("```sh\n# a comment\n```\n# A heading", "a.md", "A heading"),
        ("#hashtag\n#\n", "my_notes.md", "my notes"),
        ("Lead.\n\nOf *all* cheese\n===\n\n# Second", "a.md", "Of all cheese"),
        ('---\nlayout: post\ntitle: "Käse: a diary" \n---\n\n# Monday', "2021-03-05.md", "Käse: a diary"),
        ("+++\ndate = 2021-03-05\ntitle = 'Cheese'\n+++\nText", "a.md", "Cheese"),
        ("---\n# what the site needs\nlayout: post\ntitle: >-\n  Long\n---\n# Cheese", "a.md", "Cheese"),
        ("---\n\n# Cheese\n\n---\n\n# Bread", "a.md", "Cheese"),
        ("---\nlayout: post\n", "a_draft.md", "a draft"),
        ("# " + "x" * 500, "a.md", "x" * 200),
        ("no heading", "a__b_.tar.md", "a b .tar"),
        ("no heading", "___", "___"),
    ],
)
def test_titles_of_markdown(text: str, name: str, title: str) -> None:
    assert title_of(text, name, is_markdown=True) == title


def test_stray_bytes_are_told_beside_the_text(tmp_path: Path) -> None:
    for name, data in (("a.txt", b"%s"), ("a.json", b'["%s"]'), ("b.json", b'{"theme": "%s"}')):
        document, failure = read_all(tmp_path / name, data % ("Málaga, España, ".encode() + b"Se\xf1or"))
        assert isinstance(document, Document)
        assert "Málaga, España, Señor" in document.text
        assert isinstance(failure, Failure)
        assert (Path(failure.source).name, failure.reason[:26]) == (name, "line 1 is not valid UTF-8:")


def test_a_comment_is_no_title(tmp_path: Path) -> None:
    assert read_one(tmp_path / "tool.py", "# type: ignore\nx = 1").title == "tool"


def test_converted_documents(tmp_path: Path, converter: Converter) -> None:
    page = read_one(tmp_path / "a.html", "<title>On cheese</title><h1>Cheese</h1>", converter)
    assert (page.text, page.title, page.metadata) == ("# Cheese", "On cheese", {"media_type": "text/html"})
    untitled = read_one(tmp_path / "a.htm", "<h1>Cheese</h1><p>Brie.", converter)
    assert (untitled.text, untitled.title) == ("# Cheese\n\nBrie.", "Cheese")
    page = read_one(tmp_path / "b_c.pdf", pdf("# no heading"), converter)
    assert (page.text, page.title, page.metadata) == ("# no heading", "b c", {"media_type": "application/pdf"})
    word = read_one(tmp_path / "a.docx", write_docx(tmp_path / "x", "Käse", "Brie.").read_bytes(), converter)
    assert (word.text, word.title, word.metadata) == ("# Käse\n\nBrie.", "Käse", {"media_type": DOCX})
    packed = read_one(tmp_path / "a.html.gz", gzip.compress(b"<h1>Cheese</h1>"), converter)
    assert (packed.text, packed.title) == ("# Cheese", "Cheese")


def test_without_an_ending_the_first_bytes_tell(tmp_path: Path, converter: Converter) -> None:
    word = write_docx(tmp_path / "x", "Käse").read_bytes()
    assert read_one(tmp_path / "a", word, converter).metadata == {"media_type": DOCX}
    assert read_one(tmp_path / "a.bin", pdf("Hello."), converter).text == "Hello."
    assert read_one(tmp_path / "a", "\ufeff \n<!DOCTYPE HTML><p>Hello.", converter).text == "Hello."
    assert read_one(tmp_path / "a", '<?xml version="1.0"?>\n<HTML><p>Hello.', converter).text == "Hello."
    assert read_one(tmp_path / "a", "Not <html> at all.").text == "Not <html> at all."
    assert read_one(tmp_path / "a.txt", "<html>as it is</html>").text == "<html>as it is</html>"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.txt", "", "^is empty$"),
        ("a.txt", " \n\t\n", "^holds no text$"),
        ("a.md", "🎉 🎉\n\n---\n", "^holds no text$"),
        ("a.json", "  ", "is not valid JSON"),
        ("a.png", b"\x89PNG\r\n\x1a\n\0\0", r"^a\.png looks like binary data, not text$"),
        ("a", b"PK\x03\x04 holiday pictures", "^is a zip archive: unpack it first$"),
        ("a.txt.gz", b"not gzip", "damaged or truncated gzip"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, data: bytes | str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        read_all(tmp_path / name, data)


def test_documents_without_text(tmp_path: Path, converter: Converter) -> None:
    with pytest.raises(SourceError, match=r"holds no text .are its pages pictures"):
        read_all(tmp_path / "scan.pdf", pdf(""), converter)
    with pytest.raises(SourceError, match=r"^holds no text$"):
        read_all(tmp_path / "a.html", "<img src='x.png'>", converter)


@pytest.mark.parametrize(
    ("link", "target", "data", "texts", "title"),
    [
        ("corpus.jsonl", "c0ffee02", b'{"text": "One."}\n"Two."', ["One.", "Two."], ""),
        ("corpus.jsonl.gz", "c0ffee02", gzip.compress(b'"One."', mtime=0), ["One."], ""),
        ("my_notes.md", "c0ffee02.txt", b"One.", ["One."], "my notes"),
        ("page.html.gz", "c0ffee02", gzip.compress(b"<h1>One", mtime=0), ["# One"], "One"),
        ("notes", "c0ffee02", b"One.", ["One."], "notes"),
        ("latest", "corpus.jsonl", b'"One."', ["One."], ""),
        ("v1.2", "corpus.md", b"# One", ["# One"], "One"),
    ],
)
def test_a_link_is_read_by_its_own_name(
    tmp_path: Path, converter: Converter, link: str, target: str, data: bytes, texts: list[str], title: str
) -> None:
    blob = tmp_path / "blobs" / target
    blob.parent.mkdir()
    blob.write_bytes(data)
    (tmp_path / "snap").mkdir()
    (tmp_path / "snap" / link).symlink_to(blob)
    for path in (tmp_path / "snap", tmp_path / "snap" / link):
        (source,) = find_sources(path)
        assert isinstance(source, Source)
        found = [item for item in read(source, converter, max_document_bytes=LIMIT) if isinstance(item, Document)]
        assert [document.text for document in found] == texts
        assert {(document.title, document.source) for document in found} == {(title, blob.resolve().as_posix())}


@pytest.mark.parametrize("name", ["a.txt", "a.md.gz", "a", "a.json", "a.html", "a.html.gz"])
def test_the_limit_names_the_setting_that_raises_it(tmp_path: Path, converter: Converter, name: str) -> None:
    fits, over = "12345678", "123456789"
    if name.endswith(".gz"):
        assert read_one(tmp_path / name, gzip.compress(fits.encode()), converter, limit=8).text == fits
        data = gzip.compress(over.encode())
    else:
        assert read_one(tmp_path / name, fits, converter, limit=8).text == fits
        data = over.encode()
    with pytest.raises(SourceError, match=r"limit.* 8 bytes.*HIPPOMEM_MAX_DOCUMENT_BYTES"):
        read_all(tmp_path / name, data, converter, limit=8)


def test_the_limit_is_in_bytes(tmp_path: Path, converter: Converter) -> None:
    with pytest.raises(SourceError, match="holds 9 bytes of text, limit 8 bytes"):
        read_all(tmp_path / "a.html", "猫猫猫", converter, limit=8)


def test_a_text_bomb_is_not_expanded(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds more than the limit of 1 MiB"):
        read_all(tmp_path / "bomb.txt.gz", gzip.compress(bytes(50 * 2**20)), limit=2**20)


def test_records_are_not_bound_by_the_limit(tmp_path: Path) -> None:
    items = read_all(tmp_path / "a.jsonl", '{"title": "T", "text": "a long text"}\n{}\n', limit=5)
    assert isinstance(items[0], Document)
    assert isinstance(items[1], Failure)
    assert (items[0].title, items[0].metadata, items[0].whole) == ("T", {}, True)


def test_json_without_records_is_a_titled_text(tmp_path: Path) -> None:
    document = read_one(tmp_path / "my_settings.json", '{"theme": "dark"}')
    assert (document.title, document.whole) == ("my settings", False)
    assert document.metadata == {"media_type": "application/json"}


def test_a_missing_converter_is_said(tmp_path: Path) -> None:
    lacking = Mock(spec=Converter)
    lacking.convert.side_effect = MissingDependencyError("markitdown", "documents")
    with pytest.raises(MissingDependencyError):
        read_all(tmp_path / "a.pdf", b"%PDF-", lacking)
    assert read_one(tmp_path / "a.txt", "text", lacking).text == "text"


def test_a_file_that_went_away(tmp_path: Path) -> None:
    for name in ("a", "a.txt"):
        with pytest.raises(SourceError, match="cannot be read: No such file"):
            list(read(Source(name=name, path=tmp_path / name, size=1), NoConverter(), max_document_bytes=LIMIT))


def test_real_documents(shared_data: Path, converter: Converter) -> None:
    titles = {}
    for source in find_sources(shared_data / "docs"):
        assert isinstance(source, Source)
        (document,) = read(source, converter, max_document_bytes=LIMIT)
        assert isinstance(document, Document)
        assert len(document.text) > 500
        titles[source.path.name] = document.title
        if source.path.suffix == ".pdf":
            # Words stay apart, which not every reader of PDF manages for this one.
            assert "Jonathan Carter was elected in April 2020" in document.text
    assert len(titles) == 43
    assert titles["John_King_of_England.md"] == "John, King of England"
    assert titles["leaders.en.html"] == "Chapter 2. Leadership"
    assert titles["a_christmas_carol.txt"] == "a christmas carol"


def test_nothing_is_unpacked_onto_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed would leave it there."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    word = write_docx(tmp_path / "x", "Käse", "Brie.").read_bytes()
    with Converter() as converter:
        assert read_one(tmp_path / "a.pdf.gz", gzip.compress(pdf("Ada")), converter).text == "Ada"
        assert read_one(tmp_path / "a.docx.gz", gzip.compress(word), converter).text == "# Käse\n\nBrie."
        with pytest.raises(SourceError, match="is a damaged or truncated gzip file"):
            read_all(tmp_path / "b.pdf.gz", gzip.compress(pdf("Ada"))[:-20], converter)
