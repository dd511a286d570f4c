"""Corpora: every shape that is read, and every record that is not, with its reason."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippomem.errors import SourceError
from hippomem.ingest.fields import document_of
from hippomem.ingest.records import read_records
from hippomem.ingest.sources import Source
from hippomem.types import Document, Failure, Triple


def source(path: Path, data: bytes | str) -> Source:
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return Source(name="src", path=path, size=path.stat().st_size)


def read(path: Path, data: bytes | str, **options: int) -> list[Document | Failure]:
    return list(read_records(source(path, data), **options))


def pairs(items: list[Document | Failure]) -> list[tuple[str, str]]:
    """(title, text) of each Document, (place, reason) of each Failure."""
    return [(i.title, i.text) if isinstance(i, Document) else (i.source, i.reason) for i in items]


@pytest.mark.parametrize("name", ["c.json", "c.json.gz", "C.JSON.GZ"])
@pytest.mark.parametrize("key", ["text", "content", "body", "passage", "page_content", "paragraph_text", "Text"])
def test_a_list_of_records(tmp_path: Path, name: str, key: str) -> None:
    data = json.dumps([{"title": "A", key: "One.", "idx": 7, "tags": ["x"]}, {key: "Two."}])
    path = tmp_path / name
    if name.endswith("GZ"):
        path.write_bytes(gzip.compress(data.encode()))
        items = list(read_records(Source(name="src", path=path, size=1)))
    else:
        items = read(path, data)
    assert items == [
        Document(text="One.", title="A", source="src", metadata={"idx": 7, "tags": ["x"]}, whole=True),
        Document(text="Two.", source="src", whole=True),
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (["Plain one.", "Plain two."], [("", "Plain one."), ("", "Plain two.")]),
        ({"title": "A", "text": "One record."}, [("A", "One record.")]),
        ({"A": ["One is here.", " Two."], "B": [" Three."]}, [("A", "One is here. Two."), ("B", " Three.")]),
        ({"Dice": "A game with many dice.", "B": ""}, [("Dice", "A game with many dice."), ("src#1", "text is empty")]),
        ({"猫": "吾輩は猫である。名前はまだ無い。"}, [("猫", "吾輩は猫である。名前はまだ無い。")]),
        ({"Name": "Ada", "bio": "Ada runs the labs."}, [("Ada", "Name: Ada\nbio: Ada runs the labs.")]),
        ({"title": "Ada", "bio": "Ada runs the labs."}, [("Ada", "Ada runs the labs.")]),
        ({"A": "One is here now.", "Name": "A name is a word. " * 20}, [
            ("A", "One is here now."), ("Name", "A name is a word. " * 20)
        ]),
        ({"docs": [{"title": "A", "text": "T.", "passage": "A\nT."}], "avg": 1}, [("A", "T.")]),
        ({"docs": [{"idx": "c-1", "passage": "P."}]}, [("", "P.")]),
        ([{"role": "user", "content": "Hi."}, {}], [("", "Hi."), ("src#1", "text is empty")]),
        ([{"question": "Who?", "answer": "She."}], [("", "question: Who?\nanswer: She.")]),
        ({"docs": [{"sku": "K-1", "price": 2.5}]}, [("", "sku: K-1\nprice: 2.5")]),
    ],
)  # fmt: skip
def test_other_shapes_of_json(tmp_path: Path, data: Any, expected: list[tuple[str, str]]) -> None:
    items = read(tmp_path / "c.json", json.dumps(data, ensure_ascii=False))
    assert pairs(items) == expected
    assert all(item.whole for item in items if isinstance(item, Document))


@pytest.mark.parametrize(
    "data",
    [
        '{"theme": "dark", "language": "en"}',
        '{"include": ["src/a.ts", "src/b.ts"], "exclude": []}',
        '{"text": {"size": 12}, "colour": "red"}',
        '[{"text": 5}, {"text": 6}]',
        '{"docs": [], "note": "none yet"}',
        '{"docs": "see the wiki"}',
        "[1, 2, 3]",
        '"just a string"',
        "null",
    ],
)
def test_json_without_records_is_one_text(tmp_path: Path, data: str) -> None:
    assert read(tmp_path / "c.json", data) == [Document(text=data, source="src", whole=False)]


def test_the_text_is_stored_once(tmp_path: Path) -> None:
    (item,) = read(tmp_path / "c.json", '[{"text": "T.", "passage": "A\\nT.", "body": "Another."}]')
    assert isinstance(item, Document)
    assert (item.text, item.metadata) == ("T.", {"body": "Another."})


def test_a_record_without_a_text_is_its_text_whole(tmp_path: Path) -> None:
    record = {
        "sku": "K-1",
        "Name": "Kettle",
        "price": 24.5,
        "sold": True,
        "maker": {"town": "Vardø", "people": [{"name": "Ada"}, {"name": "Bea"}]},
        "colours": ["red", "blue"],
        "note": None,
        "session": 3,
        "occurred_at": "2026-01-31T12:00:00+02:00",
        "triples": [["Ada", "works in", "Vardø"]],
    }
    (item,) = read(tmp_path / "c.jsonl", json.dumps(record))
    assert item == Document(
        text="sku: K-1\nName: Kettle\nprice: 24.5\nsold: true\nmaker.town: Vardø\nmaker.people.name: Ada\n"
        "maker.people.name: Bea\ncolours: red\ncolours: blue",
        title="Kettle",
        source="src",
        session="3",
        occurred_at=datetime(2026, 1, 31, 10, tzinfo=UTC),
        metadata={key: record[key] for key in ("sku", "Name", "price", "sold", "maker", "colours")},
        whole=True,
        triples=(Triple("Ada", "works in", "Vardø", extractor="user"),),
    )


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"title": "T", "note": "Long.", "session": "s"}, ("T", "Long.")),
        ({"note": "Long.", "triples": []}, ("", "Long.")),
        ({"title": "T", "note": None}, ("T", "title: T")),
        ({"title": None, "name": "N"}, ("", "N")),
        ({"title": "", "name": "N", "x": 0}, ("N", "name: N\nx: 0")),
        ({"name": {"first": "Ada"}, "subject": "S"}, ("S", "name.first: Ada\nsubject: S")),
        ({"tags": ["a", "b"]}, ("", "tags: a\ntags: b")),
    ],
)
def test_titles_of_records_and_a_key_that_is_alone(
    tmp_path: Path, record: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert pairs(read(tmp_path / "c.jsonl", json.dumps(record))) == [expected]


def test_a_long_record_has_no_more_metadata_than_it_can_carry(tmp_path: Path) -> None:
    record = {"id": 7, "log": "word " * 4000, **{f"k{n}": "word " * 200 for n in range(20)}, "last": "x"}
    (item,) = read(tmp_path / "c.jsonl", json.dumps(record))
    assert isinstance(item, Document)
    assert item.text.count("word") == 8000
    assert list(item.metadata) == ["id", *(f"k{n}" for n in range(7)), "last"]


@pytest.mark.parametrize(
    "record",
    [
        {"text": "Ada.", "title": "A", "occurred_at": "2024-01-01T00:00Z", "session": "s", "content": "Ada."},
        {"note": "Ada sails.", "title": "A", "occurred_at": "2024-01-01T00:00Z", "session": "s"},
        {"title": "Ada sails."},
        {"name": "Ada", "town": "Oslo", "session": "s", "triples": [["Ada", "sails to", "Oslo"]]},
        {"headline": "Ada", "subject": "Bea", "name": "Cid", "triples": None},
    ],
)
def test_keys_are_known_in_any_case_and_with_blanks_around(record: dict[str, Any]) -> None:
    def told(spelled: Callable[[str], str]) -> tuple[Any, ...]:
        item = document_of({spelled(key): value for key, value in record.items()}, "src", 0)
        assert isinstance(item, Document)
        metadata = {key.strip().lower(): value for key, value in item.metadata.items()}
        text = [": ".join(map(str.strip, line.lower().split(":"))) for line in item.text.splitlines()]
        return item.title, text, item.session, item.occurred_at, item.triples, metadata

    assert told(str.upper) == told(str.title) == told(" {} ".format) == told(str)


def test_an_empty_text_gives_way_to_the_next_key(tmp_path: Path) -> None:
    assert pairs(read(tmp_path / "c.jsonl", '{"text": "", "content": "Here."}')) == [("", "Here.")]


def test_session_time_and_metadata(tmp_path: Path) -> None:
    line = {
        "text": "T.",
        "session": 3,
        "occurred_at": "2026-01-31T12:00:00+02:00",
        "source": "diary",
        "id": "x1",
        "title": 1984,
    }
    (item,) = read(tmp_path / "c.jsonl", json.dumps(line))
    assert item == Document(
        text="T.",
        title="1984",
        source="src",
        session="3",
        occurred_at=datetime(2026, 1, 31, 10, tzinfo=UTC),
        metadata={"source": "diary", "id": "x1"},
        whole=True,
    )


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ('{"text": "  \\n"}', "text is empty"),
        ('{"text": null}', "text is not a string but null"),
        ('{"text": 5}', "text is not a string but a number"),
        ('{"text": ["a"]}', "text is not a string but a list"),
        ('{"session": "s", "x": [{"y": null}, " "]}', "text is empty"),
        ('{"x": [[' + "[" * 40 + "]" * 40 + "]]}", "'x' is nested more than 32 deep"),
        ("[]", "is neither an object nor a string but a list"),
        ('""', "text is empty"),
        ('{"text": "a\\u0000b"}', "'text' holds NUL characters or lone surrogates"),
        ('{"text": "a\\ud800b"}', "'text' holds NUL characters or lone surrogates"),
        ('{"text": "a", "title": "\\udc00"}', "'title' holds NUL"),
        ('{"text": "a", "title": {"en": "b"}}', "title is not a string but an object"),
        ('{"text": "a", "session": true}', "session is not a string but a boolean"),
        ('{"text": "a", "tags": ["ok", "\\udc00"]}', "'tags' holds NUL"),
        ('{"text": "a", "x": {"\\udc00": 1}}', "'x' holds NUL"),
        ('{"text": "a", "\\udc00": 1}', "'a key' holds NUL"),
        ('{"text": "a", "x": NaN}', "'x' holds the number nan"),
        ('{"text": "a", "x": [1e999]}', "'x' holds the number inf"),
        ('{"text": "a", "x": ' + "1" * 5000 + "}", "line 1 is not usable: Exceeds the limit"),
        ('{"text": "a", "x": ' + "[" * 40 + "]" * 40 + "}", "'x' is nested more than 32 deep"),
        ('{"text": ' + "[" * 100_000, "line 1 is nested too deeply"),
        ('{"text": "a", "occurred_at": "2026-01-31T12:00:00"}', "occurred_at has no time zone: '2026-01-31T12:00:00'"),
        ('{"text": "a", "occurred_at": "2026-01-31"}', "occurred_at has no time zone"),
        ('{"text": "a", "occurred_at": "yesterday"}', "occurred_at is not a time in ISO 8601: 'yesterday'"),
        ('{"text": "a", "occurred_at": 1700000000}', "occurred_at is not a time in ISO 8601: '1700000000'"),
        ('{"text": "a", "occurred_at": "0001-01-01T00:00:00+14:00"}', "occurred_at is not a time"),
        ('{"text": "a"', "line 1 is not valid JSON: Expecting ',' delimiter at column 13"),
        ("nonsense", "line 1 is not valid JSON"),
    ],
)
def test_an_unusable_record_fails_alone(tmp_path: Path, record: str, reason: str) -> None:
    first, second = read(tmp_path / "c.jsonl", record + '\n{"text": "fine"}\n')
    assert isinstance(first, Failure)
    assert first.source == "src#0"
    assert first.reason.startswith(reason)
    assert first.reason.encode()  # can be printed and stored itself
    assert second == Document(text="fine", source="src", whole=True)


def test_a_line_in_another_encoding_fails_alone(tmp_path: Path) -> None:
    items = read(tmp_path / "c.jsonl", b'\xef\xbb\xbf{"text": "a"}\r\n\n{"text": "caf\xe9"}\n{"text": "b"}')
    assert pairs(items) == [("", "a"), ("src#1", "line 3 is not valid UTF-8"), ("", "b")]


def test_lines_in_utf16(tmp_path: Path) -> None:
    assert pairs(read(tmp_path / "c.ndjson", '{"text": "é"}\r\n{"text": "猫"}'.encode("utf-16"))) == [
        ("", "é"),
        ("", "猫"),
    ]


def test_a_line_that_is_too_long_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippomem.ingest.records._MAX_LINE_CHARS", 50)
    items = read(tmp_path / "c.jsonl", '{"text": "a"}\n{"text": "' + "b" * 200 + '"}\n{"text": "c"}')
    assert pairs(items) == [("", "a"), ("src#1", "line 2 is not usable: is longer than 50 characters"), ("", "c")]


def test_json_lines_that_are_called_json(tmp_path: Path) -> None:
    assert pairs(read(tmp_path / "c.json", '{"text": "a"}\n{"text": "b"}\n')) == [("", "a"), ("", "b")]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("c.json", "[]", "holds no records"),
        ("c.json", "{}", "holds no records"),
        ("c.jsonl", "\n \n", "holds no records"),
        ("c.json", '[{"text": "a"}', "is not valid JSON"),
        ("c.json", "{} trailing", "is not valid JSON"),
        ("c.json", "[" * 100_000, "nested too deeply"),
        ("c.json", "[" + "1" * 5000 + "]", "is not usable JSON: Exceeds the limit"),
        ("c.json", b"\0\1\2", "looks like binary data"),
    ],
)
def test_an_unusable_file(tmp_path: Path, name: str, data: bytes | str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        read(tmp_path / name, data)


def test_a_truncated_gzip_file_keeps_what_came_before(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": f"Line {n} {hash(str(n))}"}) + "\n" for n in range(30_000))
    src = source(tmp_path / "c.jsonl.gz", lines)
    src.path.write_bytes(src.path.read_bytes()[: src.size // 2])
    items = read_records(src)
    first = next(items)
    assert isinstance(first, Document)
    assert first.text.startswith("Line 0")
    with pytest.raises(SourceError, match="damaged or truncated gzip"):
        list(items)


@pytest.mark.parametrize("data", [b"no gzip at all", gzip.compress(b"[1]" * 1000, mtime=0)[:-40] + b"x" * 40])
def test_damaged_gzip(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "c.json.gz"
    path.write_bytes(data)
    with pytest.raises(SourceError, match="damaged or truncated gzip"):
        list(read_records(Source(name="src", path=path, size=len(data))))


@pytest.mark.parametrize("name", ["c.json.gz", "c.jsonl.gz", "c.csv.gz"])
def test_a_gzip_bomb_stops_at_the_limit(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=r"holds more than the limit of 100 KiB"):
        read(tmp_path / name, b"text\n" + b" \n" * 5_000_000, max_bytes=100 * 1024)


def test_a_file_that_went_away(tmp_path: Path) -> None:
    for name in ("c.json", "c.jsonl", "c.csv"):
        with pytest.raises(SourceError, match="cannot be read: No such file"):
            list(read_records(Source(name="src", path=tmp_path / name, size=1)))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(exclude_categories=[])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["text", "title", "docs", "occurred_at", "session", "x", ""]), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@given(JSON, st.sampled_from(["c.json", "c.jsonl"]))
@settings(deadline=None)
def test_no_json_crashes_the_reader(tmp_path_factory: pytest.TempPathFactory, data: Any, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / name
    try:
        items = read(path, json.dumps(data))
    except SourceError:
        return
    assert items
    for item in items:
        assert item.source.startswith("src")
        # What a store has to hold can be held.
        assert str(item).encode() is not None
        if isinstance(item, Document):
            assert item.text.strip()
            json.dumps(dict(item.metadata), allow_nan=False)


def test_real_corpora(shared_data: Path) -> None:
    counts = {
        "2wikimultihopqa/2wikimultihopqa_corpus.json.gz": 6119,
        "hotpotqa_train/hotpotqa_train_corpus.json.gz": 994,
        "musique/musique_corpus_pool.json.gz": 7706,
        "musique_train/openie_musique_train_results_ner_gpt-3.5-turbo-1106_1890.json.gz": 1890,
    }
    for name, count in counts.items():
        path = shared_data / name
        items = list(read_records(Source(name=name, path=path, size=path.stat().st_size)))
        assert len(items) == count
        assert all(isinstance(item, Document) and item.title and item.whole for item in items)
