"""CSV and TSV with a header row, streamed."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from hippomem.errors import SourceError
from hippomem.ingest.decode import (
    BYTE_ORDER_MARKS,
    NOT_UTF8,
    characters_beyond_ascii,
    encoding_of,
    is_mixed,
    mend,
)
from hippomem.ingest.fields import bad_record, document_of, text_key
from hippomem.ingest.sources import Source
from hippomem.ingest.streams import in_units, open_capped
from hippomem.ingest.unmarked import as_read, only_key
from hippomem.types import Document, Failure

MAX_FIELD_CHARS = 2**20
_MAX_LINE_CHARS = 16 * 2**20
_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 100
_BLOCK_BYTES = 2**20
_SEP = re.compile(r"\"?sep=([^\w\"\s]|\t)\"?\s*$", re.IGNORECASE)  # how Excel is told the delimiter
_SURPLUS = "has {} cells for {} columns, as later rows may, and those beyond are metadata: does its text need quotes?"


def read_table(source: Source, max_bytes: int, *, tabs: bool) -> Iterator[Document | Failure]:
    """One Document for each row; a Failure for each without text. Empty rows are skipped.

    The text is the column with a name in TEXT_KEYS, or else the only one beside a title, a session and an
    `occurred_at`. In any other table it is the whole row, a line for each cell ("colour: red"), the title is the
    cell of the first of _TITLE_KEYS, and all columns but `title`, `session` and `occurred_at` are metadata as well.
    Cells beyond the header belong to the text where that is the last column, cut at delimiters that no quotes enclose;
    else they are columns of their own ("column_7"), and a Failure tells of the first such row that has a text column.
    `tabs` is True where the delimiter is known to be the tab; otherwise a first line "sep=;", or the header, tells. A
    quote that is never closed ends with its line, and a byte that is not UTF-8 in a file that is, is read as
    Windows-1252; a Failure tells of either. Raises SourceError where the rest of the file cannot be read, for example
    past a field of over 1 MB.
    """
    # The limit belongs to the process; it is never lowered, others may have raised it.
    csv.field_size_limit(max(MAX_FIELD_CHARS, csv.field_size_limit()))
    encoding = _encoding(source, max_bytes)
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    with io.TextIOWrapper(open_capped(source.path, max_bytes), encoding, errors, newline="") as stream:
        lines = _Lines(stream)
        first = next((line for line in lines if line.strip()), "")
        said = _SEP.match(first)
        if not said:
            lines.put_back([first])
        delimiter = said[1] if said else "\t" if tabs else _delimiter(first)
        rows = _rows(lines, delimiter)
        head = next(rows, _Row([]))
        yield from head.failures(source.name)
        header = _header(head.cells)
        if not header:
            return
        text = text_key(dict.fromkeys(header))
        only = None if text else only_key(header)
        own = text or only
        width, is_told = len(header), False
        for index, row in enumerate(rows):
            names, cells = header, row.cells
            if any(map(str.strip, cells[width:])):
                if header[-1] == own:
                    cells = [*cells[: width - 1], delimiter.join(cells[width - 1 :])]
                else:
                    names = _header([*head.cells, *[""] * (len(cells) - width)])
                    if own and not is_told:
                        yield Failure(f"{source.name}#{index}", _SURPLUS.format(len(cells), width))
                        is_told = True
            named = zip(names, cells, strict=False)
            record = {name: value for name, value in named if value.strip() or name == text}
            key = text or (only if only in record else None)
            record = {key: "", **record} if key else as_read(record)
            yield document_of(record, source.name, index, text=key or "text")
            yield from row.failures(f"{source.name}#{index}")


def _encoding(source: Source, max_bytes: int) -> str:
    """The encoding of the whole file, found before its first row is used: rows cannot be taken back."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    right = wrong = 0
    with open_capped(source.path, max_bytes) as stream:
        block = stream.read(_BLOCK_BYTES)
        # A stray NUL spoils one row; this many are UTF-16, or no table at all.
        if block.count(0) * 20 > len(block) or block.startswith(BYTE_ORDER_MARKS):
            return encoding_of(block, source.name)
        while block:
            text = decoder.decode(block)
            if not text.isascii():
                bad = text.count("\ufffd")
                right += characters_beyond_ascii(text) - bad
                wrong += bad - block.count(b"\xef\xbf\xbd")
            block = stream.read(_BLOCK_BYTES)
    return "utf-8" if right >= wrong else _older_encoding(source, max_bytes)


def _older_encoding(source: Source, max_bytes: int) -> str:
    """What the first of the lines that are not UTF-8 look like."""
    with open_capped(source.path, max_bytes) as stream:
        lines = iter(lambda: stream.readline(_MAX_LINE_CHARS), b"")
        odd = (line for line in lines if not _is_utf8(line))
        return encoding_of(b"".join(itertools.islice(odd, _SAMPLE_ROWS)), source.name)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Lines:
    """The lines of a table, which can be put back. `taken` are those since it was last emptied, `number` counts all."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream
        self._again: list[str] = []
        self.taken: list[str] = []
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else self._stream.readline(_MAX_LINE_CHARS)
        if not line:
            raise StopIteration
        if len(line) == _MAX_LINE_CHARS:
            raise SourceError(f"has a line of more than {in_units(_MAX_LINE_CHARS)}: is it a table?")
        self.number += 1
        self.taken.append(line)
        return line

    def put_back(self, lines: list[str]) -> None:
        """Give these, the last that were taken, again."""
        self._again += reversed(lines)
        self.number -= len(lines)
        self.taken = []


class _Row(NamedTuple):
    """A row, and the lines where it holds stray bytes and a quote that is not closed; 0 for none."""

    cells: list[str]
    stray: int = 0
    unclosed: int = 0

    def failures(self, name: str) -> Iterator[Failure]:
        if self.stray:
            yield Failure(name, f"line {self.stray} {NOT_UTF8}")
        if self.unclosed:
            yield bad_record(name, f"line {self.unclosed} opens a quote that is not closed: it ends there", self.cells)


def _rows(lines: _Lines, delimiter: str) -> Iterator[_Row]:
    """The rows that are not empty.

    Read strictly, a quote that is never closed shows where the next one closes it, or at the end of the file. Its line
    is then read by itself, and the lines behind it again.
    """
    width = 0
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.taken = []
        start, unclosed = lines.number + 1, 0
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            first, *others = lines.taken
            try:
                if others and sum(map(len, lines.taken)) > csv.field_size_limit():
                    raise error
                is_open = len(list(csv.reader([first, ""], delimiter=delimiter))) == 1  # else the second is another row
                cells, unclosed = _loosely(first, delimiter, width, is_open), start * is_open
            except csv.Error:
                raise SourceError(f"is not a valid table from line {start} on: {error}") from None
            lines.put_back(others)
            lines.taken = [first]
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
        width = width or len(cells)
        stray = next((number for number, line in enumerate(lines.taken, start) if is_mixed(line)), 0)
        if unclosed or any(map(str.strip, cells)):
            yield _Row(list(map(mend, cells)) if stray else cells, stray, unclosed)


def _loosely(line: str, delimiter: str, width: int, is_open: bool) -> list[str]:
    """The cells of a single line whose quotes are wrong. One that stays open is a character like others where that
    makes `width` cells, and else the last cell is what follows it."""
    if is_open:
        cells = next(csv.reader([line], delimiter=delimiter, quoting=csv.QUOTE_NONE))
        if len(cells) == width:
            return cells
    return [cell.rstrip("\r\n") for cell in next(csv.reader([line], delimiter=delimiter))]


def _delimiter(header: str) -> str:
    """The delimiter that cuts the header into most columns; the comma where none does."""
    return max(_DELIMITERS, key=lambda delimiter: len(next(csv.reader([header[:10_000]], delimiter=delimiter))))


def _header(row: list[str]) -> list[str]:
    """Names of the columns, all different and none empty."""
    names: list[str] = []
    for number, name in enumerate(map(str.strip, row), start=1):
        while not name or name in names:
            name = f"{name or 'column'}_{number}"
        names.append(name)
    return names
