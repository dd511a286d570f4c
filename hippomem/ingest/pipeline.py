"""Ingest: files and records to passages, in batches of one transaction each, resumable after any of them.

A batch crosses documents, so that many small ones cost no more than one large one. A file is entered in `documents`
with its fingerprint in the transaction that brings its last passage; the passages it no longer holds leave with the
same transaction. Until then, from the transaction that brings the first passage of a changed file, the file counts as
new, and what it brought already is found by its content hash and neither encoded nor written again.

A source that could not be read to its end, or was written to meanwhile, removes nothing. Where records of it failed, a
passage that it no longer holds may be what one of them stands for. It is kept, and counted in the report, unless the
same records had failed when the passage was read: so a file that always has its one bad line is still replaced.
`documents` then holds a fingerprint of the failed records instead of the file's. An empty text stands for nothing, be
it a file or a record.

A transaction of more passages writes fewer pages of the store for each, but is also what a kill may cost to do again.
So it grows up to eight batches while reading, analysing and writing them takes no more than seconds. Where workers
analyse batches ahead, those are read on while earlier ones are written, in the order in which they were read. What
comes of a slow stream of records is written without waiting for more, once a minute has passed since the last time.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Any, Protocol

from hippomem.errors import InvalidInputError, MissingDependencyError, SourceError
from hippomem.ingest.convert import Converter
from hippomem.ingest.fields import BadRecord, bad_record
from hippomem.ingest.inputs import Input, sorted_out, usable
from hippomem.ingest.readers import read
from hippomem.ingest.sources import EmptySourceError, Source, find_sources, fingerprint, named_source, state
from hippomem.ingest.split import Chunk, split
from hippomem.ingest.triples import read_triples, share_out
from hippomem.storage.rows import NewPassage, content_id, failed_print, passage_id
from hippomem.types import Document, Failure, File, IngestReport, Triple

MOST_BATCHES = 8  # in one transaction
SECONDS = 10.0  # that a transaction of more than one may take
HELD_SECONDS = 60.0  # after which records are not kept waiting for others: who gave them may not have them any more


@dataclass(slots=True)
class Reading:
    """A source that is read, and what it holds now as far as it has been read: whole where it `is_finished`.

    `fingerprint` is None where there is no file behind it. `has_failed` says that records failed which may stand for
    passages that are stored.
    """

    source: str
    fingerprint: str | None = None
    documents: int = 0
    ids: dict[str, None] = field(default_factory=dict)  # in their order
    is_finished: bool = False
    has_failed: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """What one transaction added, what it removed, what it kept as records of its source failed, and how many triples
    it dropped."""

    passages: int = 0
    entities: int = 0
    facts: int = 0
    removed: int = 0
    kept: int = 0
    dropped: int = 0

    def __add__(self, other: Stored) -> Stored:
        return Stored(*map(sum, zip(astuple(self), astuple(other), strict=True)))


class Sink(Protocol):
    """Where passages go."""

    def known(self, sources: list[str]) -> dict[str, tuple[str, int]]:
        """For sources that are in: fingerprint and number of documents."""

    def store(self, passages: list[NewPassage], readings: list[Reading]) -> Stored:
        """Analyse passages, and write them in one transaction, with what it means for the sources they are from."""


class Ahead(Protocol):
    """What analyses passages before the sink is to store them, beside the process that does so."""

    @property
    def count(self) -> int:
        """How many batches it analyses at a time."""

    def begin(self, passages: Sequence[NewPassage]) -> None:
        """Analyse these; the sink waits for it when it stores them."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What goes into one transaction, and how many bytes of the input it was."""

    passages: list[NewPassage]
    readings: dict[str, Reading]
    read: int


class Progress(Protocol):
    """What is told of how far an ingest has come; sizes in bytes."""

    def start(self, total: int | None) -> None: ...

    def advance(self, size: int, passages: int) -> None: ...


@dataclass(slots=True)
class Ingest:
    """One run. Raises only where nothing can go on (the store, the models); a bad source becomes a Failure."""

    sink: Sink
    namespace: str
    batch: int
    passage_chars: int
    max_document_bytes: int
    progress: Progress
    ahead: Ahead | None = None
    longest_name: int | None = None  # bytes of a source or a session that the sink takes, None: any number
    _waiting: list[NewPassage] = field(default_factory=list)
    _readings: dict[str, Reading] = field(default_factory=dict)  # of what waits, or finished since the last transaction
    _failed: list[Failure] = field(default_factory=list)
    _documents: int = 0
    _skipped: int = 0
    _duplicates: int = 0
    _read: int = 0  # bytes whose passages are not stored yet
    _stored: Stored = field(default_factory=Stored)
    _batches: int = 1  # in the next transaction
    _began: float = 0.0  # to read what waits
    _wrote: float = 0.0  # when something was stored last
    _parts: deque[_Part] = field(default_factory=deque)  # that are analysed ahead

    def run(self, inputs: Input | Iterable[Input]) -> IngestReport:
        """Ingest it all. Raises NotFoundError before anything is read where a path does not exist, InvalidInputError
        where it is empty, or two files have one source.
        """
        self._began = self._wrote = time.monotonic()
        paths, others = sorted_out(inputs)
        found = [
            item for path in paths for item in ((named_source(path),) if isinstance(path, File) else find_sources(path))
        ]
        files = _each_once(found)
        self.progress.start(sum(f.size for f in files if isinstance(f, Source)) if paths else None)
        known = self.sink.known([f.name for f in files if isinstance(f, Source)])
        with Converter() as converter:
            for item in files:
                if isinstance(item, Failure):
                    self._failed.append(item)
                else:
                    self._file(item, known.get(item.name), converter)
        self._records(others)
        self._flush(is_last=True)
        return IngestReport(
            self._documents,
            self._stored.passages,
            self._stored.entities,
            self._stored.facts,
            self._skipped,
            self._stored.removed,
            tuple(self._failed),
            kept=self._stored.kept,
            duplicates=self._duplicates,
            dropped=self._stored.dropped,
        )

    def _file(self, source: Source, known: tuple[str, int] | None, converter: Converter) -> None:
        failures: list[Failure] = []
        whole = Reading(source.name)
        left = source.size
        before = state(source)
        if before is not None:
            source = replace(source, size=before[0])  # it may be long ago that it was found
        try:
            print_ = fingerprint(source)
            if known and known[0] == print_:
                self._skipped += known[1]
                self.progress.advance(left, 0)
                return
            for index, item in enumerate(read(source, converter, max_document_bytes=self.max_document_bytes)):
                item = self._checked(item, f"{source.name}#{index}")
                if isinstance(item, Failure):
                    failures.append(item)
                else:
                    # Of a compressed file a third of the text is a fair guess at the bytes it came from.
                    size = min(left, len(item.text) // (3 if source.path.suffix == ".gz" else 1))
                    left -= size
                    self._read += size
                    self._document(item, whole)
            # Where all records fail, it is the file that is not understood.
            is_whole = whole.documents > 0 or not failures
        except EmptySourceError as error:
            failures.append(Failure(source.name, str(error)))
            is_whole = True
        except (SourceError, MissingDependencyError) as error:
            # What was read before the break is kept; the source stays unfinished and is read again next time.
            failures.append(Failure(source.name, str(error)))
            is_whole = False
        if is_whole and state(source) != before:  # what was read may be a part, or a mixture
            failures.append(Failure(source.name, "was changed while it was read: ingest it again"))
            is_whole = False
        self._read += left
        self._failed += [Failure(failure.source, failure.reason) for failure in failures]
        if is_whole:
            bad = [failure.digest for failure in failures if isinstance(failure, BadRecord)]
            # With failures not the file's own: what failed is tried, and told, again.
            if whole.documents:
                whole.fingerprint = failed_print(bad) if failures else print_
            whole.has_failed = bool(bad)
            self._finish(whole)

    def _records(self, records: Iterable[Document | Mapping[str, Any] | object]) -> None:
        wholes: dict[str, Reading] = {}
        streamed: dict[str, None] = {}
        for index, record in enumerate(self._kept(records)):
            item = self._checked(usable(record, index), f"records#{index}")
            # Documents that name their source replace what it held before.
            whole = Reading("", ids=streamed)
            if isinstance(record, Document) and isinstance(record.source, str) and record.source:
                whole = wholes.setdefault(record.source, Reading(record.source))
            # A stream of records may come in several calls: the next one does not replace this one.
            if isinstance(item, Failure):
                self._failed.append(Failure(item.source, item.reason))
                whole.has_failed |= isinstance(item, BadRecord)
            else:
                self._document(item, whole)
            if time.monotonic() - self._wrote > HELD_SECONDS:
                self._flush(is_late=True)
        for whole in wholes.values():
            if whole.documents:
                self._finish(whole)

    def _checked(self, item: Document | Failure, name: str) -> Document | Failure:
        """A BadRecord of this name in the place of a document that the sink cannot take."""
        if isinstance(item, Document) and self.longest_name is not None:
            for what, text in (("source", item.source), ("session", item.session or "")):
                if len(text.encode()) > self.longest_name:
                    reason = f"{what} has more than {self.longest_name:,} bytes, which no index of the database takes"
                    return bad_record(name, reason, item)
        return item

    def _finish(self, whole: Reading) -> None:
        whole.is_finished = True
        self._readings[whole.source] = whole

    def _kept(self, records: Iterable[object]) -> Iterator[object]:
        """The records. Where their source breaks, what it gave before is stored first."""
        stream = iter(records)
        while True:
            try:
                record = next(stream)
            except StopIteration:
                return
            except Exception:
                self._flush(is_last=True)
                raise
            yield record

    def _document(self, document: Document, whole: Reading) -> None:
        whole.documents += 1
        self._documents += 1
        before = len(whole.ids)
        chunks: Iterable[Chunk] = split(document, max_chars=self.passage_chars)
        triples: Iterable[tuple[Triple, ...] | None] = itertools.repeat(None)
        if document.triples is not None:
            chunks = list(chunks)
            triples = map(tuple, share_out(read_triples(document.triples), [chunk.text for chunk in chunks]))
        for chunk, own in zip(chunks, triples, strict=False):
            id_ = passage_id(
                self.namespace, document.source, chunk.title, chunk.text, document.session, document.occurred_at
            )
            is_there = id_ in whole.ids
            if is_there and not own:
                continue
            whole.ids[id_] = None
            if whole.source:
                self._readings[whole.source] = whole
            self._waiting.append(
                NewPassage(
                    id=id_,
                    text=chunk.text,
                    title=chunk.title,
                    source=document.source,
                    content=content_id(chunk.title, chunk.text),
                    position=whole.documents - 1 if document.whole else chunk.position,
                    start=chunk.start,
                    end=chunk.end,
                    session=document.session or None,
                    occurred_at=document.occurred_at,
                    metadata=document.metadata,
                    triples=own,
                    extends=is_there or not document.source,
                )
            )
            if len(self._waiting) >= self._batches * self.batch:
                self._flush()
        self._duplicates += len(whole.ids) == before

    def _flush(self, is_last: bool = False, is_late: bool = False) -> None:
        if self._waiting or self._readings:
            # What is read on while this waits must not be in it: a source is finished by its last passages.
            readings = {name: r if r.is_finished else Reading(name) for name, r in self._readings.items()}
            part = _Part(self._waiting, readings, self._read)
            self._read, self._waiting, self._readings = 0, [], {}
            if self.ahead is None or (is_last and not self._parts):  # for one batch alone no workers are started
                self._store(part)
                self._pace()
            else:
                self.ahead.begin(part.passages)
                self._parts.append(part)
        most = 2 * self.ahead.count if self.ahead and not (is_last or is_late) else 0
        while len(self._parts) > most:
            together = min(self.ahead.count if self.ahead else 1, MOST_BATCHES, len(self._parts))
            self._store(_joined([self._parts.popleft() for _ in range(together)]))

    def _store(self, part: _Part) -> None:
        self._stored += self.sink.store(part.passages, list(part.readings.values()))
        self.progress.advance(part.read, len(part.passages))
        self._wrote = time.monotonic()

    def _pace(self) -> None:
        now = time.monotonic()
        if now - self._began < SECONDS / 2:
            self._batches = min(2 * self._batches, MOST_BATCHES)
        elif now - self._began > SECONDS:
            self._batches = max(self._batches // 2, 1)
        self._began = now


def _each_once(found: Iterable[Source | Failure]) -> list[Source | Failure]:
    files: dict[str | Failure, Source | Failure] = {}
    for item in found:
        key = item.name if isinstance(item, Source) else item
        before = files.get(key)
        if isinstance(item, Source) and isinstance(before, Source) and before.path.resolve() != item.path.resolve():
            raise InvalidInputError(
                f"{before.path} and {item.path} have the same source {item.name!r}: the second would replace the first"
            )
        files[key] = item
    return list(files.values())


def _joined(parts: list[_Part]) -> _Part:
    readings = {name: reading for part in parts for name, reading in part.readings.items()}
    return _Part([p for part in parts for p in part.passages], readings, sum(part.read for part in parts))
