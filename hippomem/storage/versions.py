"""What passages were before updates: their earlier texts, with all that tied them into the graph.

A version belongs to what its passage has become by now, and goes with it. It keeps the number that it had, which is
given to no other passage. No view of the present holds one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from hippomem.storage import links, reads
from hippomem.storage.chunks import rows_among
from hippomem.storage.rows import ViewRow
from hippomem.storage.schema import passages, versions
from hippomem.storage.statuses import status_of
from hippomem.storage.writes import is_session, is_source
from hippomem.types import Passage, Triple

COPIED = ("id", "source", "position", "title", "text", "start", "end", "session", "occurred_at", "recorded_at")


@dataclass(frozen=True, slots=True)
class Standing:
    """What stood at a moment in the place of passages that updates have changed since: the numbers of `versions`, and
    of what they have become, `replaced`."""

    versions: frozenset[int]
    replaced: frozenset[int]


def supersede(connection: Connection, namespace: int, old: int, new: int, at: datetime) -> None:
    """Keep a passage as a version of another one, which takes its place and its own versions."""
    own = (versions.c.namespace == namespace, versions.c.passage == old)
    connection.execute(update(versions).where(*own).values(passage=new))
    # Where the clock has gone back, what stood before this one had ended by now, too.
    connection.execute(
        update(versions)
        .where(versions.c.namespace == namespace, versions.c.passage == new, versions.c.superseded_at > at)
        .values(superseded_at=at)
    )
    row = connection.execute(select(passages).where(passages.c.namespace == namespace, passages.c.number == old)).one()
    status = status_of(connection, namespace, [old]).get(old)
    ends = [moment for moment in (status.archived_at, status.invalid_at) if moment] if status else []
    values = {name: getattr(row, name) for name in (*COPIED, "metadata", "content")}
    values |= {
        "valid_from": (status and status.valid_from) or row.occurred_at or row.recorded_at,
        "hidden_from": min(ends, default=None),
        "superseded_at": at,
        "mentions": [list(m.values()) for m in links.mention_rows(connection, namespace, [old]).get(old, ())],
        "facts": [_fact_line(fact) for fact in links.facts_of(connection, namespace, [old]).get(old, ())],
    }
    _keep(connection, namespace, old, new, values)


def take_over(connection: Connection, namespace: int, passage: int, values: Mapping[str, Any]) -> None:
    """Write a version of a passage, from elsewhere; the vectors of its content are there."""
    # A number that is a passage's for a moment is given to no other one.
    given = {name: values[name] for name in (*COPIED, "metadata", "content")} | {
        "id": f"version {uuid.uuid4().hex[:20]}"
    }
    row = connection.execute(insert(passages).values(namespace=namespace, **given).returning(passages.c.number))
    number = int(row.scalar_one())
    connection.execute(delete(passages).where(passages.c.namespace == namespace, passages.c.number == number))
    _keep(connection, namespace, number, passage, values)


def _keep(connection: Connection, namespace: int, number: int, passage: int, values: Mapping[str, Any]) -> None:
    connection.execute(insert(versions).values(namespace=namespace, number=number, passage=passage, **values))


def standing_at(connection: Connection, namespace: int, moment: datetime) -> Standing:
    """Which versions stood at a moment, or were the first to stand after it."""
    query = (
        select(versions.c.number, versions.c.passage)
        .where(versions.c.namespace == namespace, versions.c.superseded_at > moment)
        .order_by(versions.c.superseded_at, versions.c.number)
    )
    first: dict[int, int] = {}
    for number, passage in connection.execute(query):
        first.setdefault(passage, number)
    return Standing(frozenset(first.values()), frozenset(first))


def numbers_where(
    connection: Connection, namespace: int, as_of: datetime, session: str | None = None, source: str | None = None
) -> list[int]:
    """The versions that had happened and held at a moment, of a session, or of a source."""
    held = (versions.c.hidden_from.is_(None)) | (versions.c.hidden_from > as_of)
    where: list[ColumnElement[bool]] = [versions.c.superseded_at > as_of, versions.c.valid_from <= as_of, held]
    if session is not None:
        where.append(is_session(versions.c.session, session))
    if source is not None:
        where.append(is_source(versions.c.source, source))
    query = select(versions.c.number).where(versions.c.namespace == namespace, *where)
    return list(connection.execute(query).scalars())


def by_id(connection: Connection, namespace: int, ids: Iterable[str], moment: datetime) -> dict[str, int]:
    """The versions with these ids that stood at a moment: of several the one that was replaced first, as the others
    were told again later."""
    standing = standing_at(connection, namespace, moment).versions
    wanted = set(ids)
    if not standing or not wanted:
        return {}
    rows = _rows(connection, namespace, standing, select(versions.c.number, versions.c.id, versions.c.superseded_at))
    rows.sort(key=lambda row: row.superseded_at, reverse=True)
    return {row.id: row.number for row in rows if row.id in wanted}


def by_number(connection: Connection, namespace: int, numbers: Iterable[int]) -> dict[int, Passage]:
    """Versions as passages, by their numbers; they were invalid from when they were replaced."""
    found = {}
    for row in _rows(connection, namespace, numbers):
        own = {name: getattr(row, name) for name in (*COPIED, "metadata")}
        invalid_at = min(filter(None, (row.hidden_from, row.superseded_at)))
        found[row.number] = Passage(**own, valid_from=row.valid_from, invalid_at=invalid_at)
    return found


def facts_of(connection: Connection, namespace: int, numbers: Iterable[int]) -> dict[int, list[Triple]]:
    """The triples of versions, by their numbers."""
    query = select(versions.c.number, versions.c.occurred_at, versions.c.facts)
    return {
        row.number: [_fact(line, row.occurred_at) for line in row.facts]
        for row in _rows(connection, namespace, numbers, query)
    }


def view_rows(connection: Connection, namespace: int, encoder: int, numbers: Iterable[int]) -> Iterator[ViewRow]:
    """Versions as the views take passages, by number."""
    own = (passages.c.namespace == versions.c.namespace) & (passages.c.number == versions.c.passage)
    query = reads.viewed(versions, encoder).join(passages, own).add_columns(versions.c.mentions)
    for row in _rows(connection, namespace, numbers, query):
        yield reads.view_row(row, tuple((key, lines, titled) for key, _, lines, titled in row.mentions), {})


def all_versions(connection: Connection, namespace: int) -> list[Row[Any]]:
    """Every version, in the order in which they were replaced, with the id of what it has become (`of`). Numbers do not
    tell it: those of a passage that was loaded are above its own."""
    query = (
        select(versions, passages.c.id.label("of"))
        .join(passages, (passages.c.namespace == versions.c.namespace) & (passages.c.number == versions.c.passage))
        .where(versions.c.namespace == namespace)
    )
    return list(connection.execute(query.order_by(versions.c.superseded_at, versions.c.number)))


def is_kept(connection: Connection, namespace: int, passage: int, id_: str, superseded_at: datetime) -> bool:
    """Whether a passage has this version."""
    query = select(versions.c.number).where(
        versions.c.namespace == namespace,
        versions.c.passage == passage,
        versions.c.id == id_,
        versions.c.superseded_at == superseded_at,
    )
    return connection.execute(query).first() is not None


def _rows(connection: Connection, namespace: int, numbers: Iterable[int], query: Any = None) -> list[Any]:
    asked: Any = select(versions) if query is None else query
    ours = asked.where(versions.c.namespace == namespace).order_by(versions.c.number)
    return list(rows_among(connection, ours, versions.c.number, sorted(numbers)))


def _fact_line(fact: Triple) -> list[str | None]:
    times = (moment.isoformat() if moment else None for moment in (fact.valid_from, fact.invalid_at))
    return [fact.subject, fact.relation, fact.object, fact.extractor, *times]


def _fact(line: Sequence[Any], occurred_at: datetime | None) -> Triple:
    subject, relation, object_, extractor, *times = line
    start, end = (datetime.fromisoformat(time) if time else None for time in times)
    return Triple(subject, relation, object_, extractor, occurred_at, start, end)
