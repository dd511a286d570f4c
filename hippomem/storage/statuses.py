"""What became of passages: archived, merged, flagged, invalid. Nothing here deletes.

Every change that counts for people is a row of the log (`changes`) with a `detail` that says why and holds what it
takes to undo it. A detail holds no text of another passage, so that forgetting leaves none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from hippomem.storage.chunks import rows_among
from hippomem.storage.schema import (
    PASSAGE_ACTIONS,
    changes,
    facts,
    passages,
    reviews,
    semantic_facts,
    statuses,
    strengths,
    validities,
    versions,
)
from hippomem.storage.semantic import is_promoted


@dataclass(frozen=True, slots=True)
class Status:
    """What became of a passage."""

    archived_at: datetime | None = None
    merged_into: str | None = None
    invalid_at: datetime | None = None
    flag: str | None = None
    valid_from: datetime | None = None


def log_change(
    connection: Connection, namespace: int, action: str, number: int, id_: str, at: datetime, detail: Mapping[str, Any]
) -> int:
    """A line of the log. Returns its sequence."""
    row = insert(changes).values(
        namespace=namespace, action=action, passage=number, passage_id=id_, at=at, detail=dict(detail)
    )
    return int(connection.execute(row.returning(changes.c.sequence)).scalar_one())


def change(connection: Connection, namespace: int, sequence: int) -> Any:
    """A row of the log, None where there is none."""
    if sequence >> 63:  # past what a database counts to
        return None
    query = select(changes).where(changes.c.namespace == namespace, changes.c.sequence == sequence)
    return connection.execute(query).first()


def status_of(connection: Connection, namespace: int, numbers: Iterable[int]) -> dict[int, Status]:
    """The status of those passages that have one."""
    query = select(statuses).where(statuses.c.namespace == namespace)
    rows = rows_among(connection, query, statuses.c.passage, numbers)
    return {r.passage: Status(r.archived_at, r.merged_into, r.invalid_at, r.flag, r.valid_from) for r in rows}


def set_status(connection: Connection, namespace: int, number: int, **values: Any) -> None:
    """Change some of a passage's status."""
    where = (statuses.c.namespace == namespace, statuses.c.passage == number)
    if not connection.execute(update(statuses).where(*where).values(**values)).rowcount:
        connection.execute(insert(statuses).values(namespace=namespace, passage=number, **values))


def forgive(connection: Connection, namespace: int, number: int) -> None:
    """Count the failures of a passage from 0 again."""
    connection.execute(
        update(reviews).where(reviews.c.namespace == namespace, reviews.c.passage == number).values(failures=0)
    )


def is_logged(connection: Connection, namespace: int, action: str, id_: str, why: str) -> bool:
    """Whether the log has a line of this kind about a passage that says just this."""
    return any(detail.get("why") == why for detail in _details(connection, namespace, action, id_))


def is_kept(connection: Connection, namespace: int, id_: str) -> bool:
    """Whether an undo brought this passage back, once and for all."""
    return any("undone" in detail for detail in _details(connection, namespace, "restore", id_))


def is_refused(connection: Connection, namespace: int, id_: str, fact: str, by: str) -> bool:
    """Whether an undo refused that this fact of a passage ends where another passage contradicts it."""
    found = _details(connection, namespace, "revalidate", id_)
    return any((detail.get("fact"), detail.get("by")) == (fact, by) for detail in found)


def _details(connection: Connection, namespace: int, action: str, id_: str) -> Iterator[dict[str, Any]]:
    """What the lines of one kind say about a passage."""
    query = select(changes.c.detail).where(
        changes.c.namespace == namespace, changes.c.passage_id == id_, changes.c.action == action
    )
    return (detail or {} for detail in connection.execute(query).scalars())


def hiding(connection: Connection, namespace: int) -> list[tuple[int, datetime | None, bool, datetime | None]]:
    """The passages that are archived or invalid at some moment: since when archived, whether merged into another one,
    since when invalid."""
    query = select(statuses.c.passage, statuses.c.archived_at, statuses.c.merged_into, statuses.c.invalid_at).where(
        statuses.c.namespace == namespace, statuses.c.archived_at.is_not(None) | statuses.c.invalid_at.is_not(None)
    )
    rows = connection.execute(query)
    return [(row.passage, row.archived_at, row.merged_into is not None, row.invalid_at) for row in rows]


def id_of(connection: Connection, namespace: int, number: int) -> str | None:
    """The id of a passage, None where it is gone."""
    query = select(passages.c.id).where(passages.c.namespace == namespace, passages.c.number == number)
    return connection.execute(query).scalar()


def changed_after(connection: Connection, namespace: int, sequence: int, limit: int) -> list[tuple[int, int]]:
    """(sequence, passage) of what was added, linked anew, taken out or stands again after a change, oldest first."""
    query = (
        select(changes.c.sequence, changes.c.passage)
        .where(
            changes.c.namespace == namespace,
            changes.c.sequence > sequence,
            changes.c.action.in_((*PASSAGE_ACTIONS, "restore", "revalidate")),
        )
        .order_by(changes.c.sequence)
        .limit(limit)
    )
    return [(row.sequence, row.passage) for row in connection.execute(query)]


def status_counts(connection: Connection, namespace: int) -> dict[str, int]:
    """How many are archived, merged, superseded, flagged; how many facts are contradicted and how many promoted."""
    own = statuses.c.namespace == namespace
    counted = {
        "archived": (statuses, own & statuses.c.archived_at.is_not(None)),
        "merged": (statuses, own & statuses.c.merged_into.is_not(None) & statuses.c.archived_at.is_not(None)),
        "superseded": (statuses, own & statuses.c.invalid_at.is_not(None)),
        "flagged": (statuses, own & (statuses.c.flag != "")),
        "contradicted": (validities, (validities.c.namespace == namespace) & validities.c.invalid_at.is_not(None)),
        "ended_by_users": (facts, (facts.c.namespace == namespace) & facts.c.invalid_at.is_not(None)),
        "semantic_facts": (semantic_facts, (semantic_facts.c.namespace == namespace) & is_promoted()),
        "earlier_versions": (versions, versions.c.namespace == namespace),
        "strengthened": (strengths, (strengths.c.namespace == namespace) & (strengths.c.strength != 1.0)),
    }
    return {
        name: int(connection.execute(select(func.count()).select_from(table).where(where)).scalar_one())
        for name, (table, where) in counted.items()
    }
