"""CSV and TSV with a header row, streamed."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from collections.abc import Iterator

from hippomem.errors import SourceError
from hippomem.ingest.decode import BYTE_ORDER_MARKS, encoding_of
from hippomem.ingest.fields import document_of, text_key
from hippomem.ingest.sources import Source
from hippomem.ingest.streams import in_units, open_capped
from hippomem.types import Document, Failure

MAX_FIELD_CHARS = 2**20
_MAX_LINE_CHARS = 16 * 2**20
_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 100
_BLOCK_BYTES = 2**20


def read_table(source: Source, max_bytes: int, *, tabs: bool) -> Iterator[Document | Failure]:
    """One Document for each row; a Failure for each without text. Empty rows are skipped.

    The text column is the one with a name in TEXT_KEYS, or else the one with most characters in the first 100 rows.
    `tabs` is True where the delimiter is known to be the tab; otherwise the header tells. Raises SourceError where
    the rest of the file cannot be read, for example past a field of over 1 MB (mostly a quote that is never closed).
    """
    # The limit belongs to the process; it is never lowered, others may have raised it.
    csv.field_size_limit(max(MAX_FIELD_CHARS, csv.field_size_limit()))
    encoding = _encoding(source, max_bytes)
    with io.TextIOWrapper(open_capped(source.path, max_bytes), encoding, errors="replace", newline="") as stream:
        lines = _lines(stream)
        first = next((line for line in lines if line.strip()), None)
        if first is None:
            return
        rows = _rows(itertools.chain([first], lines), "\t" if tabs else _delimiter(first))
        header = _header(next(rows, []))
        if not header:
            return
        sample = list(itertools.islice(rows, _SAMPLE_ROWS))
        text = text_key(dict.fromkeys(header)) or _longest(header, sample)
        for index, row in enumerate(itertools.chain(sample, rows)):
            record = {name: value for name, value in zip(header, row, strict=False) if value.strip() or name == text}
            yield document_of({text: "", **record}, source.name, index, text=text)


def _encoding(source: Source, max_bytes: int) -> str:
    """The encoding of the whole file, found before its first row is used: rows cannot be taken back."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_capped(source.path, max_bytes) as stream:
        block = stream.read(_BLOCK_BYTES)
        # A stray NUL spoils one row; this many are UTF-16, or no table at all.
        if block.count(0) * 20 > len(block) or block.startswith(BYTE_ORDER_MARKS):
            return encoding_of(block, source.name)
        try:
            while block:
                decoder.decode(block)
                block = stream.read(_BLOCK_BYTES)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            # Whole lines around the offending byte, so that no character of several bytes is cut in half.
            start, end = block.rfind(b"\n", 0, error.start) + 1, block.rfind(b"\n", error.end)
            return encoding_of(block[start : end if end > 0 else None], source.name)
    return "utf-8"


def _lines(stream: io.TextIOWrapper) -> Iterator[str]:
    while line := stream.readline(_MAX_LINE_CHARS):
        if len(line) == _MAX_LINE_CHARS:
            raise SourceError(f"has a line of more than {in_units(_MAX_LINE_CHARS)}: is it a table?")
        yield line


def _rows(lines: Iterator[str], delimiter: str) -> Iterator[list[str]]:
    try:
        for row in csv.reader(lines, delimiter=delimiter):
            if any(map(str.strip, row)):
                yield row
    except csv.Error as error:
        raise SourceError(f"is not a valid table from here on: {error}") from None


def _delimiter(header: str) -> str:
    """The delimiter that cuts the header into most columns; the comma where none does."""
    return max(_DELIMITERS, key=lambda delimiter: len(next(csv.reader([header[:10_000]], delimiter=delimiter))))


def _header(row: list[str]) -> list[str]:
    """Names of the columns, all different and none empty."""
    names: list[str] = []
    for number, name in enumerate(map(str.strip, row), start=1):
        names.append(name if name and name not in names else f"{name or 'column'}_{number}")
    return names


def _longest(header: list[str], rows: list[list[str]]) -> str:
    lengths = dict.fromkeys(header, 0)
    for row in rows:
        for name, value in zip(header, row, strict=False):
            lengths[name] += len(value)
    return max(header, key=lambda name: lengths[name])
