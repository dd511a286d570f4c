"""How far use has strengthened the edges of passages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from hippomem.storage.chunks import rows_among
from hippomem.storage.schema import entities, strengths


def strengths_of(connection: Connection, namespace: int, numbers: Sequence[int]) -> dict[int, dict[str, float]]:
    """passage → entity key → strength, where that is not 1."""
    found: dict[int, dict[str, float]] = {}
    query = (
        select(strengths.c.passage, entities.c.key, strengths.c.strength)
        .join(entities, entities.c.number == strengths.c.entity)
        .where(strengths.c.namespace == namespace, strengths.c.strength != 1.0)
    )
    for passage, key, strength in rows_among(connection, query, strengths.c.passage, numbers):
        found.setdefault(passage, {})[key] = strength
    return found


def strengthened_at(connection: Connection, namespace: int, numbers: Iterable[int]) -> dict[int, datetime]:
    """When the edges of passages were strengthened last, of those that have such."""
    query = select(strengths.c.passage, strengths.c.at).where(
        strengths.c.namespace == namespace, strengths.c.strength != 1.0
    )
    return {row.passage: row.at for row in rows_among(connection, query, strengths.c.passage, numbers)}


def all_strengths(connection: Connection, namespace: int) -> list[tuple[int, int, float, int, datetime]]:
    """(passage, entity, strength, uses since, when it was set) of all edges that use has changed or will."""
    query = select(
        strengths.c.passage, strengths.c.entity, strengths.c.strength, strengths.c.pending, strengths.c.at
    ).where(strengths.c.namespace == namespace)
    return [tuple(row) for row in connection.execute(query.order_by(strengths.c.passage, strengths.c.entity))]


def set_strengths(connection: Connection, namespace: int, passage: int, own: Mapping[int, float], at: datetime) -> None:
    """The strengths of a passage's edges, by entity; all others of it are 1 again."""
    connection.execute(delete(strengths).where(strengths.c.namespace == namespace, strengths.c.passage == passage))
    rows = [
        {"namespace": namespace, "passage": passage, "entity": e, "strength": s, "pending": 0, "at": at}
        for e, s in own.items()
    ]
    if rows:
        connection.execute(insert(strengths), rows)


def count_paths(connection: Connection, namespace: int, used: Mapping[int, Iterable[int]], at: datetime) -> None:
    """Count one use of each edge, given as passage → entities; the next round strengthens them."""
    for passage, own in used.items():
        for entity in sorted(set(own)):
            where = (
                strengths.c.namespace == namespace,
                strengths.c.passage == passage,
                strengths.c.entity == entity,
            )
            more = update(strengths).where(*where).values(pending=strengths.c.pending + 1)
            if not connection.execute(more).rowcount:
                connection.execute(
                    insert(strengths).values(
                        namespace=namespace, passage=passage, entity=entity, strength=1.0, pending=1, at=at
                    )
                )
