"""Everything that is read back: passages for people, rows for the views, the log, the counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, Table, and_, bindparam, func, select

from hippomem.storage.chunks import chunks, rows_among
from hippomem.storage.edges import strengths_of
from hippomem.storage.places import TOLD, TOLD_AT
from hippomem.storage.rows import Analysis, ViewRow, checksum
from hippomem.storage.schema import (
    UTCDateTime,
    analyses,
    changes,
    documents,
    entities,
    facts,
    mentions,
    namespaces,
    passages,
    statuses,
)
from hippomem.storage.writes import is_session, is_source
from hippomem.types import Passage

VIEWED = 14  # columns that `view_row` takes


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One row of the log as a view follows it."""

    sequence: int
    action: str
    passage: int
    previous: int | None
    passage_id: str
    at: datetime

    @property
    def mark(self) -> str:
        """What no other change has, not even one of the same sequence after a backup was put back."""
        return f"{self.action} {self.passage_id} {self.at.isoformat()}"


def last_sequence(connection: Connection, namespace: int) -> int:
    """The newest change of a namespace, 0 where there is none."""
    return int(
        connection.execute(select(func.max(changes.c.sequence)).where(changes.c.namespace == namespace)).scalar() or 0
    )


# Statements that every recall runs are built once: building them takes longer than running them.
_LOG_FROM = (
    select(
        changes.c.sequence,
        changes.c.action,
        changes.c.passage,
        changes.c.previous,
        changes.c.passage_id,
        changes.c.at,
    )
    .where(changes.c.namespace == bindparam("namespace"), changes.c.sequence >= bindparam("first"))
    .order_by(changes.c.sequence)
    .limit(bindparam("most"))
)
EVERY = (1 << 63) - 1


def log_from(connection: Connection, namespace: int, sequence: int, most: int = EVERY) -> list[LogEntry]:
    """The changes from `sequence` on, oldest first, at most so many."""
    rows = connection.execute(_LOG_FROM, {"namespace": namespace, "first": sequence, "most": most})
    return [LogEntry(*row) for row in rows]


def forgotten_after(connection: Connection, namespace: int, sequence: int, action: str = "forget") -> int:
    """The last change after `sequence` that forgot something, or untaught it ("unlearn"); 0 where there is none."""
    query = select(func.max(changes.c.sequence)).where(
        changes.c.namespace == namespace, changes.c.sequence > sequence, changes.c.action == action
    )
    return int(connection.execute(query).scalar() or 0)


def view_rows(connection: Connection, namespace: int, encoder: int, numbers: Iterable[int]) -> Iterator[ViewRow]:
    """The given passages as the views take them, by number; those that are gone are left out."""
    for some in chunks(sorted(numbers)):
        named: dict[int, list[tuple[str, int, bool]]] = {}
        strengths = strengths_of(connection, namespace, some)
        rows = connection.execute(
            select(mentions.c.passage, entities.c.key, mentions.c.lines, mentions.c.titled)
            .join(entities, entities.c.number == mentions.c.entity)
            .where(mentions.c.namespace == namespace, mentions.c.passage.in_(some))
        )
        for passage, key, lines, titled in rows:
            named.setdefault(passage, []).append((key, lines, titled))
        query = viewed(passages, encoder).where(passages.c.namespace == namespace, passages.c.number.in_(some))
        for row in connection.execute(query.order_by(passages.c.number)):
            yield view_row(row, tuple(named.get(row.number, ())), strengths.get(row.number, {}))


def viewed(table: Table, encoder: int) -> Select[Any]:
    """What `view_row` takes of passages, or of what they were before: of those that this encoder has read."""
    t, a = table.c, analyses.c
    columns = t.number, t.id, t.title, t.text, t.source, t.session, t.occurred_at, t.start, t.end
    own = (a.namespace == t.namespace) & (a.content == t.content) & (a.encoder == encoder)
    vectors = a.vector, a.sentence_vectors, a.sentences
    return select(*columns, *vectors, TOLD.label("told"), TOLD_AT.label("told_at")).join_from(table, analyses, own)


def view_row(row: Any, mentions: tuple[tuple[str, int, bool], ...], strengths: Mapping[str, float]) -> ViewRow:
    """A row of what `viewed` selects, as the views take it."""
    number, id_, title, text, source, session, occurred, begin, end, *packed, told, told_at = row[:VIEWED]
    analysis = Analysis.unpacked(*packed)
    lines = (title, *(text[first:last] for first, last in analysis.sentences.tolist()))
    vectors = analysis.vector, analysis.sentence_vectors
    return ViewRow(
        number, id_, lines, *vectors, mentions, source, session, occurred, told, told_at, begin, end, strengths
    )


def numbers_where(
    connection: Connection,
    namespace: int,
    session: str | None = None,
    as_of: datetime | None = None,
    source: str | None = None,
) -> list[int]:
    """The numbers of all passages, or of one session, of a source, of those that had happened by `as_of`, ascending."""
    query = _where(select(passages.c.number), namespace, session, source)
    if as_of is not None:
        since = func.coalesce(statuses.c.valid_from, passages.c.occurred_at, passages.c.recorded_at)
        query = query.select_from(_WITH_STATUS).where(since <= as_of)
    return list(connection.execute(query.order_by(passages.c.number)).scalars())


def passages_where(
    connection: Connection,
    namespace: int,
    session: str | None,
    source: str | None,
    limit: int | None = None,
    offset: int = 0,
) -> list[Passage]:
    """Passages of a session or a source, oldest first: what was updated is as old as its first version."""
    if source and not source.endswith("/") and session is None and limit is None and not offset:
        return [_passage(row) for row in connection.execute(_OF_SOURCE, {"namespace": namespace, "source": source})]
    page = _where(select(passages.c.number), namespace, session, source).order_by(TOLD).limit(limit).offset(offset)
    query = _PASSAGES.where(passages.c.namespace == namespace, passages.c.number.in_(page)).order_by(TOLD)
    return [_passage(row) for row in connection.execute(query)]


def sources(connection: Connection, namespace: int, below: str) -> list[str]:
    """The names of all sources, in order of their code points; those `below` a name that ends with a slash."""
    query = _where(select(passages.c.source).distinct(), namespace, None, below or None)
    return sorted(connection.execute(query.where(passages.c.source != "")).scalars())


def _where(query: Select[Any], namespace: int, session: str | None, source: str | None) -> Select[Any]:
    query = query.where(passages.c.namespace == namespace)
    if session is not None:
        query = query.where(is_session(passages.c.session, session))
    if source is not None:
        query = query.where(is_source(passages.c.source, source))
    return query


def numbers_of_source(connection: Connection, namespace: int, source: str) -> dict[int, str]:
    """The passages of a source: number -> id."""
    query = select(passages.c.number, passages.c.id).where(
        passages.c.namespace == namespace, passages.c.source == source
    )
    return {row.number: row.id for row in connection.execute(query)}


def is_continued(connection: Connection, namespace: int, passage: Passage) -> bool:
    """Whether something of the same source and title begins after a passage has ended: it is part of a document."""
    query = select(passages.c.number).where(
        passages.c.namespace == namespace,
        passages.c.source == passage.source,
        passages.c.title == passage.title,
        passages.c.start >= max(passage.end, 1),
    )
    return connection.execute(query.limit(1)).first() is not None


_WITH_STATUS = passages.outerjoin(
    statuses, and_(statuses.c.namespace == passages.c.namespace, statuses.c.passage == passages.c.number)
)
_FIELDS = tuple(field.name for field in fields(Passage))
_PASSAGES = select(  # the number, then what a `Passage` has, in its order
    passages.c.number,
    passages.c.id,
    passages.c.text,
    passages.c.title,
    passages.c.source,
    passages.c.position,
    passages.c.start,
    passages.c.end,
    passages.c.session,
    passages.c.occurred_at,
    passages.c.recorded_at,
    func.coalesce(statuses.c.valid_from, passages.c.occurred_at, passages.c.recorded_at, type_=UTCDateTime),
    statuses.c.invalid_at,
    passages.c.metadata,
).select_from(_WITH_STATUS)
_OF_SOURCE = _PASSAGES.where(
    passages.c.namespace == bindparam("namespace"), passages.c.source == bindparam("source")
).order_by(TOLD)

_BY_NUMBER = _PASSAGES.where(
    passages.c.namespace == bindparam("namespace"), passages.c.number.in_(bindparam("numbers", expanding=True))
)


def by_number(connection: Connection, namespace: int, numbers: Sequence[int]) -> dict[int, Passage]:
    """Passages by their numbers."""
    found: dict[int, Passage] = {}
    for some in chunks(numbers):
        rows = connection.execute(_BY_NUMBER, {"namespace": namespace, "numbers": some}).all()
        found.update({row[0]: _passage(row) for row in rows})
    return found


def of_same_content(connection: Connection, namespace: int, number: int) -> set[int]:
    """The passages of the title and text of one, itself too."""
    content = select(passages.c.content).where(passages.c.namespace == namespace, passages.c.number == number)
    query = select(passages.c.number).where(
        passages.c.namespace == namespace, passages.c.content == content.scalar_subquery()
    )
    return set(connection.execute(query).scalars())


def by_id(connection: Connection, namespace: int, passage_id: str) -> tuple[int, Passage] | None:
    """A passage and its number, None where there is none by this id."""
    query = _PASSAGES.where(passages.c.namespace == namespace, passages.c.id == passage_id)
    row = connection.execute(query).first()
    return (row.number, _passage(row)) if row else None


def contents_of(connection: Connection, namespace: int, numbers: Iterable[int]) -> dict[int, str]:
    """The content hashes of passages."""
    query = select(passages.c.number, passages.c.content).where(passages.c.namespace == namespace)
    return {row.number: row.content for row in rows_among(connection, query, passages.c.number, numbers)}


def analysis_of(connection: Connection, namespace: int, encoder: int, contents: Iterable[str]) -> dict[str, Analysis]:
    """The vectors of contents. Raises ValueError where they cannot be those that were written."""
    found: dict[str, Analysis] = {}
    query = select(analyses).where(analyses.c.namespace == namespace, analyses.c.encoder == encoder)
    for row in rows_among(connection, query, analyses.c.content, contents):
        parts = row.vector, row.sentence_vectors, row.sentences
        if row.checksum not in (None, checksum(*parts)):
            raise ValueError(f"the vectors of {row.content} are not those that were written")
        found[row.content] = Analysis.unpacked(*parts)
    return found


def fingerprints(connection: Connection, namespace: int, sources: Iterable[str]) -> dict[str, tuple[str, int]]:
    """For sources that are in: the fingerprint of the file, or of what failed of it, and how many documents it held."""
    query = select(documents).where(documents.c.namespace == namespace)
    rows = rows_among(connection, query, documents.c.source, sources)
    return {row.source: (row.fingerprint, row.documents) for row in rows}


def all_documents(connection: Connection, namespace: int) -> list[dict[str, Any]]:
    """Every ingested source, with its fingerprint and how many documents it held, as plain dictionaries."""
    query = (
        select(documents.c.source, documents.c.fingerprint, documents.c.documents)
        .where(documents.c.namespace == namespace)
        .order_by(documents.c.source)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def ingested_sources(connection: Connection, namespace: int) -> set[str]:
    """The sources of documents, whose passages have no moment but the one they are dated with."""
    return set(connection.execute(select(documents.c.source).where(documents.c.namespace == namespace)).scalars())


def counts(connection: Connection, namespace: int) -> dict[str, int]:
    """How many there are of each thing."""
    tables = {"passages": passages, "entities": entities, "facts": facts}
    counted = {
        name: int(
            connection.execute(select(func.count()).select_from(t).where(t.c.namespace == namespace)).scalar_one()
        )
        for name, t in tables.items()
    }
    named = select(func.count(passages.c.source.distinct())).where(
        passages.c.namespace == namespace, passages.c.source != ""
    )
    held = select(func.sum(documents.c.documents)).where(documents.c.namespace == namespace)
    names, ingested = (connection.execute(query).scalar() for query in (named, held))
    return {**counted, "sources": int(names or 0), "documents": int(ingested or 0)}


def last_sequences(connection: Connection) -> dict[str, int]:
    """All namespaces of the store, each with its last change, 0 before the first."""
    last = select(func.max(changes.c.sequence)).where(changes.c.namespace == namespaces.c.number).scalar_subquery()
    rows = connection.execute(select(namespaces.c.name, func.coalesce(last, 0)).order_by(namespaces.c.number))
    return {name: int(sequence) for name, sequence in rows}


def _passage(row: Sequence[Any]) -> Passage:
    return Passage(**dict(zip(_FIELDS, row[1:], strict=True)))
