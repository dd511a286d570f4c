"""CSV and TSV as people really write them."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippomem.errors import SourceError
from hippomem.ingest.records import read_records
from hippomem.ingest.sources import Source
from hippomem.types import Document, Failure


def read(path: Path, data: bytes | str) -> list[Document | Failure]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read_records(Source(name="src", path=path, size=1)))


def documents(path: Path, data: bytes | str) -> list[Document]:
    items = read(path, data)
    assert all(isinstance(item, Document) for item in items), items
    return [item for item in items if isinstance(item, Document)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    rows = [["id", "Title", "Text"], ["1", "A", "One, two; three"], ["2", "B", 'Said "so",\nand left.']]
    path = tmp_path / "c.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows(rows)
    assert documents(path, path.read_bytes()) == [
        Document(text="One, two; three", title="A", source="src", metadata={"id": "1"}, whole=True),
        Document(text='Said "so",\nand left.', title="B", source="src", metadata={"id": "2"}, whole=True),
    ]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;\r", "\n\nsep=;"])
def test_the_line_that_tells_excel_the_delimiter(tmp_path: Path, first: str) -> None:
    (found,) = documents(tmp_path / "c.csv", f"{first}\ntext;a,b,c\nAda came.;1\n")
    assert (found.text, found.metadata) == ("Ada came.", {"a,b,c": "1"})
    (found,) = documents(tmp_path / "c.csv", "sep=\nAda\n")  # a column of that name
    assert found.text == "Ada"


def test_tsv_has_tabs_whatever_its_header_holds(tmp_path: Path) -> None:
    (found,) = documents(tmp_path / "c.tsv", "id, of row\ttext\n1\tOne.\n")
    assert (found.text, found.metadata) == ("One.", {"id, of row": "1"})


def test_the_row_is_the_text_where_no_column_is_named_so(tmp_path: Path) -> None:
    rows = 'sku,Name,colour,session,description\nK-1,Kettle,red,s1,"Boils water,\nfast."\nK-2,Kettle,,,\n'
    assert documents(tmp_path / "c.csv", rows) == [
        Document(
            text="sku: K-1\nName: Kettle\ncolour: red\ndescription: Boils water,\nfast.",
            title="Kettle",
            source="src",
            session="s1",
            metadata={"sku": "K-1", "Name": "Kettle", "colour": "red", "description": "Boils water,\nfast."},
            whole=True,
        ),
        Document(
            text="sku: K-2\nName: Kettle",
            title="Kettle",
            source="src",
            metadata={"sku": "K-2", "Name": "Kettle"},
            whole=True,
        ),
    ]
    (found,) = documents(tmp_path / "c.csv", "query,answer\nshort,a much longer one\n")
    assert (found.text, found.title) == ("query: short\nanswer: a much longer one", "")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("Title,Name,price\nT,N,1\n,N,2\n", [("T", "Title: T\nName: N\nprice: 1"), ("N", "Name: N\nprice: 2")]),
        ("title,abstract\nT,Long.\nU,\n", [("T", "Long."), ("U", "title: U")]),
        ("session,note\ns1,Long.\n", [("", "Long.")]),
        ("title\nT\n", [("T", "T")]),
    ],
)
def test_titles_of_rows_and_a_column_that_is_alone(tmp_path: Path, data: str, expected: list[tuple[str, str]]) -> None:
    assert [(item.title, item.text) for item in documents(tmp_path / "c.csv", data)] == expected


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8-sig", "Café — 猫"),
        ("utf-16", "Café — 猫"),
        ("cp1252", "Le café est fermé à Noël – “déjà”"),
        ("cp1251", "Вчера я пошёл в магазин и купил хлеб."),
    ],
)
def test_encodings(tmp_path: Path, encoding: str, text: str) -> None:
    (found,) = documents(tmp_path / "c.csv", f"text\n{text}\n".encode(encoding))
    assert found.text == text


def test_the_odd_byte_may_come_late(tmp_path: Path) -> None:
    plain = "Nothing but plain English.\n" * 60_000
    *_, last = documents(tmp_path / "c.csv", f"text\n{plain}Le café est fermé à Noël".encode("cp1252"))
    assert last.text == "Le café est fermé à Noël"


def test_ragged_rows_and_odd_headers(tmp_path: Path) -> None:
    told, *found = read(tmp_path / "c.csv", "\n\ntext,x,x,\na,1,2,3,4,,6\n\n , ,\nb\nc,1,2,3,4\nd,1,2,3,,\n")
    assert isinstance(told, Failure)
    assert told.source == "src#0"
    assert told.reason.startswith("has 7 cells for 4 columns")
    assert [(item.text, item.metadata) for item in found if isinstance(item, Document)] == [
        ("a", {"x": "1", "x_3": "2", "column_4": "3", "column_5": "4", "column_7": "6"}),
        ("b", {}),
        ("c", {"x": "1", "x_3": "2", "column_4": "3", "column_5": "4"}),
        ("d", {"x": "1", "x_3": "2", "column_4": "3"}),
    ]
    (item,) = documents(tmp_path / "c.csv", "text,x,x_4,x,column_6,\na,1,2,3,4,5\n")
    assert list(item.metadata.values()) == ["1", "2", "3", "4", "5"]
    told, item = read(tmp_path / "c.csv", "note,title\nAda came, and left,T\n")
    assert isinstance(told, Failure)
    assert isinstance(item, Document)
    assert (item.text, item.metadata) == ("Ada came", {"column_3": "T"})
    (item,) = documents(tmp_path / "c.csv", "sku,price\nK-1,2,red\n")
    assert item.text == "sku: K-1\nprice: 2\ncolumn_3: red"


def test_a_text_at_the_end_of_the_row_is_whole_without_quotes_too(tmp_path: Path) -> None:
    rows = 'id;text\n1;Ada came; Bea left; "so" it was.\n2;"a;b";c\n3;alone;;\n'
    assert [item.text for item in documents(tmp_path / "c.csv", rows)] == [
        'Ada came; Bea left; "so" it was.',
        "a;b;c",
        "alone",
    ]
    assert [item.text for item in documents(tmp_path / "c.csv", "note\nAda came, and Bea left.\n")] == [
        "Ada came, and Bea left."
    ]


def test_a_row_without_text_fails_alone(tmp_path: Path) -> None:
    items = read(tmp_path / "c.csv", "title,text,occurred_at\nA,,\nB,ok,2026-01-01\nC,ok,2026-01-01T00:00Z\nD,a\0b,\n")
    assert [item.reason if isinstance(item, Failure) else item.title for item in items] == [
        "text is empty",
        "occurred_at has no time zone: '2026-01-01' (write for example 2026-01-31T12:00:00+00:00)",
        "C",
        "'text' holds NUL characters or lone surrogates",
    ]
    assert [item.source for item in items] == ["src#0", "src#1", "src", "src#3"]


def test_fields_up_to_a_megabyte(tmp_path: Path) -> None:
    (found,) = documents(tmp_path / "c.csv", "text\n" + "x" * 1_000_000 + "\n")
    assert len(found.text) == 1_000_000
    with pytest.raises(SourceError, match="is not a valid table from line 2 on: field larger than field limit"):
        read(tmp_path / "c.csv", 'text\n"' + "never closed\n" * 100_000)


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippomem.ingest.tables._MAX_LINE_CHARS", 1000)
    with pytest.raises(SourceError, match="has a line of more than"):
        read(tmp_path / "c.csv", "text\n" + "x" * 5000)


def test_a_quote_that_is_never_closed_ends_with_its_line(tmp_path: Path) -> None:
    rows = 'id,text\n1,One.\n2,"Two, too.\n3,Three.\n4,"Four, and\nfour."\n5,"Five."\n'
    found = read(tmp_path / "c.csv", rows)
    assert [item.text for item in found if isinstance(item, Document)] == [
        *("One.", "Two, too.", "Three.", "Four, and\nfour.", "Five.")
    ]
    (failure,) = [item for item in found if isinstance(item, Failure)]
    assert (failure.source, failure.reason) == ("src#1", "line 3 opens a quote that is not closed: it ends there")


@pytest.mark.parametrize(
    ("data", "texts", "lines"),
    [
        ('text\nOne.\n"Two.\nThree.\nFour.', ["One.", "Two.", "Three.", "Four."], [3]),
        ('\ntext\nOne.\n"Two.', ["One.", "Two."], [4]),
        ('text,id\n"One,1\nTwo,2\n', ["One", "Two"], [2]),
        ('"text\nOne.\nTwo.\n', ["One.", "Two."], [1]),
        ('text\n"One\n"Two\nThree\n', ["One", "Two", "Three"], [2, 3]),
        ('text\n"Ada" met Bea.\nTwo\n', ["Ada met Bea.", "Two"], []),
    ],
)
def test_unclosed_quotes_wherever_they_are(tmp_path: Path, data: str, texts: list[str], lines: list[int]) -> None:
    found = read(tmp_path / "c.csv", data)
    assert [item.text.lstrip('"') for item in found if isinstance(item, Document)] == texts
    assert [int(item.reason.split()[1]) for item in found if isinstance(item, Failure)] == lines


def test_a_quoted_word_at_the_beginning_of_a_tsv_cell(tmp_path: Path) -> None:
    found = read(tmp_path / "c.tsv", 'id\ttext\tby\n1\t"Hello, she said.\tAda\n2\tTwo.\tBea\n')
    assert [(item.text, item.metadata) for item in found if isinstance(item, Document)] == [
        ('"Hello, she said.', {"id": "1", "by": "Ada"}),
        ("Two.", {"id": "2", "by": "Bea"}),
    ]


def test_rows_that_are_not_utf8_among_others_that_are(tmp_path: Path) -> None:
    rows = ["Málaga row one".encode(), "Señor row two".encode("latin-1"), b"Plain row three"]
    for mark in (b"", b"\xef\xbb\xbf"):
        found = read(tmp_path / "c.csv", mark + b"\n".join([b"text", *rows]))
        assert [item.text for item in found if isinstance(item, Document)] == [
            *("Málaga row one", "Señor row two", "Plain row three")
        ]
        (failure,) = [item for item in found if isinstance(item, Failure)]
        assert (failure.source, failure.reason[:28]) == ("src#1", "line 3 is not valid UTF-8: i")


@pytest.mark.parametrize("data", ["text\n", "\n\n", '""\n', "text,title\n , \n"])
def test_no_rows(tmp_path: Path, data: str) -> None:
    with pytest.raises(SourceError, match="holds no records"):
        read(tmp_path / "c.csv", data)


def test_binary_data(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="looks like binary data"):
        read(tmp_path / "c.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")


@given(st.text(st.characters(codec="utf-8") | st.sampled_from(',;\t|"\n\r'), max_size=200))
@settings(deadline=None)
def test_no_table_crashes_the_reader(tmp_path_factory: pytest.TempPathFactory, data: str) -> None:
    try:
        items = read(tmp_path_factory.getbasetemp() / "c.csv", data)
    except SourceError:
        return
    assert items


def test_real_table(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "hotpotqa_train/hotpotqa_train_queries.named_entity_output.tsv.gz"
    items = documents(tmp_path / "c.tsv", gzip.decompress(path.read_bytes()))
    assert len(items) == 100
