"""Files that hold many documents: JSON, JSON lines, CSV, and each of them compressed with gzip."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hippomem.errors import SourceError
from hippomem.ingest.decode import decode_mixed
from hippomem.ingest.fields import bad_record, document_of, text_key
from hippomem.ingest.sources import EmptySourceError, Source
from hippomem.ingest.streams import open_capped
from hippomem.ingest.tables import read_table
from hippomem.ingest.unmarked import is_named
from hippomem.types import Document, Failure

JSON_ENDINGS = frozenset({".json"})
LINES_ENDINGS = frozenset({".jsonl", ".ndjson"})
TABLE_ENDINGS = frozenset({".csv", ".tsv"})
RECORD_ENDINGS = JSON_ENDINGS | LINES_ENDINGS | TABLE_ENDINGS
MAX_JSON_BYTES = 512 * 2**20
MAX_STREAM_BYTES = 2 * 2**30
_MAX_LINE_CHARS = 64 * 2**20
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_records(source: Source, *, max_bytes: int | None = None) -> Iterator[Document | Failure]:
    """One Document for each record of the file, in order, with `whole=True`; a Failure for each that is unusable.

    A record is a mapping with a text (one of TEXT_KEYS) or a plain string; a mapping without one, in a list or a line
    of its own, or where texts are all that it holds and one is its title, is its text whole. JSON may hold a list of
    records, one record, {"docs": [records]}, or {title: text} and {title: [sentences]}; any other JSON, such as
    settings, is one Document of the raw text, with `whole=False`. JSON lines and tables are streamed, JSON is read
    whole. At most `max_bytes` bytes are read after expansion (by default 512 MiB of JSON, 2 GiB of the others).

    Raises SourceError where the file as a whole cannot be read: damaged gzip, malformed JSON, over the limit; and
    EmptySourceError where it holds no record. Documents before that point have been yielded.
    """
    ending = record_ending(source.path)
    limit = max_bytes or (MAX_JSON_BYTES if ending in JSON_ENDINGS else MAX_STREAM_BYTES)
    items: Iterable[Document | Failure]
    if ending in JSON_ENDINGS:
        items = _read_json(source, limit)
    elif ending in LINES_ENDINGS:
        items = _read_lines(source, limit)
    else:
        items = read_table(source, limit, tabs=ending == ".tsv")
    is_empty = True
    for item in items:
        is_empty = False
        yield item
    if is_empty:
        raise EmptySourceError("holds no records")


def record_ending(path: Path) -> str:
    """The ending that tells the format, without `.gz`: ".json" for `corpus.JSON.gz`."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def _read_json(source: Source, max_bytes: int) -> Iterator[Document | Failure]:
    with open_capped(source.path, max_bytes) as stream:
        text, stray = decode_mixed(stream.read(), source.name)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and error.lineno > 1:  # JSON lines under the name of JSON
            yield from _read_lines(source, max_bytes)
            return
        raise SourceError(f"is not valid JSON: {error}") from None
    except RecursionError:
        raise SourceError("is not usable JSON: nested too deeply") from None
    except ValueError as error:  # a number with thousands of digits
        raise SourceError(f"is not usable JSON: {error}") from None
    if data == [] or data == {}:
        return
    records = _records_in(data)
    if records is None:
        yield Document(text=text, source=source.name)
    else:
        del text, data
        for index, record in enumerate(records):
            yield document_of(record, source.name, index)
    if stray:
        yield Failure(source.name, stray)


def _records_in(data: object) -> Iterable[object] | None:
    """The records of a parsed JSON file, or None where it is of another shape."""
    if isinstance(data, list):
        return data if _are_records(data) else None
    if not isinstance(data, dict):
        return None
    if _is_record(data):
        return [data]
    docs = data.get("docs")
    if isinstance(docs, list) and docs and _are_records(docs):
        return docs
    if _is_titles_to_texts(data):
        if is_named(data):
            return [data]
        return ({"title": title, "text": _joined(sentences)} for title, sentences in data.items())
    return None


def _are_records(items: Iterable[object]) -> bool:
    """Whether some are records with a text, or all are objects that do without one."""
    return any(map(_is_record, items)) or all(isinstance(item, dict) and text_key(item) is None for item in items)


def _is_record(item: object) -> bool:
    return isinstance(item, str) or (isinstance(item, dict) and isinstance(item.get(text_key(item)), str))


def _joined(sentences: str | list[str]) -> str:
    """One text. HotpotQA's sentences carry their leading spaces, most of the time; 2WikiMultihopQA's do not."""
    if isinstance(sentences, str):
        return sentences
    text = ""
    for sentence in sentences:
        touching = text and not text[-1].isspace() and sentence and not sentence[0].isspace()
        text += f" {sentence}" if touching else sentence
    return text


def _is_titles_to_texts(data: Mapping[str, Any]) -> bool:
    """Whether all values are texts or lists of sentences, and most read as prose: settings files look alike else."""
    values = list(data.values())
    if not all(isinstance(v, str) or (isinstance(v, list) and all(isinstance(s, str) for s in v)) for v in values):
        return False
    texts = ["".join(value) for value in values]
    # Four words, or a text in a script that is written without spaces.
    prose = sum(len(text.split(maxsplit=4)) >= 4 or (len(text) >= 12 and not text.isascii()) for text in texts)
    return prose * 2 >= len(texts)


def _read_lines(source: Source, max_bytes: int) -> Iterator[Document | Failure]:
    index = -1
    with open_capped(source.path, max_bytes) as stream:
        is_utf16 = stream.peek(2)[:2] in _UTF16_MARKS  # what PowerShell writes
        encoding, errors = ("utf-16", "replace") if is_utf16 else ("utf-8-sig", "surrogateescape")
        lines = io.TextIOWrapper(stream, encoding, errors, newline="\n")
        for number in itertools.count(1):
            line = lines.readline(_MAX_LINE_CHARS)
            if not line:
                return
            is_cut = len(line) == _MAX_LINE_CHARS
            rest = line
            while is_cut and rest and not rest.endswith("\n"):
                rest = lines.readline(_MAX_LINE_CHARS)
            if line.strip():
                index += 1
                yield _parse_line(line, is_cut, number, source.name, index)


def _parse_line(line: str, is_cut: bool, number: int, name: str, index: int) -> Document | Failure:
    try:
        if is_cut:
            raise ValueError(f"is longer than {_MAX_LINE_CHARS} characters")
        line.encode()
        return document_of(json.loads(line.rstrip("\r\n")), name, index)
    except UnicodeEncodeError:
        reason = "is not valid UTF-8"
    except json.JSONDecodeError as error:
        reason = f"is not valid JSON: {error.msg} at column {error.colno}"
    except RecursionError:
        reason = "is nested too deeply"
    except ValueError as error:
        reason = f"is not usable: {error}"
    return bad_record(f"{name}#{index}", f"line {number} {reason}", line)
