"""The names of the graph, as rows: numbers by keys, and which of them passages name and state something about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, exists, insert, select

from hippomem.storage.chunks import chunks, rows_among
from hippomem.storage.schema import entities, facts, mentions


def entity_numbers(connection: Connection, namespace: int, keys: Iterable[str]) -> dict[str, int]:
    """The numbers of entities by their keys."""
    query = select(entities.c.key, entities.c.number).where(entities.c.namespace == namespace)
    return {row.key: row.number for row in rows_among(connection, query, entities.c.key, sorted(keys))}


def entity_keys(connection: Connection, namespace: int, numbers: Iterable[int]) -> dict[int, str]:
    """The keys of entities."""
    query = select(entities.c.number, entities.c.key).where(entities.c.namespace == namespace)
    return {row.number: row.key for row in rows_among(connection, query, entities.c.number, numbers)}


def numbered(connection: Connection, namespace: int, keys: Sequence[str]) -> tuple[dict[str, int], int]:
    """The numbers of entities by their keys, those that are new included, and how many these are."""
    number_of = entity_numbers(connection, namespace, keys)
    missing = [key for key in keys if key not in number_of]
    if missing:  # looked up afterwards: with RETURNING, each of them would be a statement of its own
        connection.execute(insert(entities), [{"namespace": namespace, "key": key} for key in missing])
        number_of |= entity_numbers(connection, namespace, missing)
    return number_of, len(missing)


def entities_of(connection: Connection, namespace: int, numbers: Iterable[int]) -> set[int]:
    """The numbers of the entities that passages mention."""
    query = select(mentions.c.entity).where(mentions.c.namespace == namespace)
    return {row.entity for row in rows_among(connection, query, mentions.c.passage, numbers)}


def entities_named(connection: Connection, namespace: int, passage: int, keys: Iterable[str]) -> set[int]:
    """The entities by these keys that a passage mentions."""
    query = (
        select(entities.c.number)
        .join(mentions, (mentions.c.namespace == entities.c.namespace) & (mentions.c.entity == entities.c.number))
        .where(entities.c.namespace == namespace, mentions.c.passage == passage, entities.c.key.in_(sorted(keys)))
    )
    return set(connection.execute(query).scalars())


def subjects_of(connection: Connection, namespace: int, numbers: Iterable[int]) -> set[int]:
    """The entities that facts of these passages are about."""
    query = select(facts.c.subject).where(facts.c.namespace == namespace).distinct()
    return {row.subject for row in rows_among(connection, query, facts.c.passage, numbers)}


def remove_orphans(connection: Connection, namespace: int, candidates: Iterable[int]) -> int:
    """Delete those of `candidates` that no passage mentions any more; facts name only what their passage mentions."""
    gone = 0
    for some in chunks(sorted(candidates)):
        done = connection.execute(
            delete(entities).where(
                entities.c.namespace == namespace,
                entities.c.number.in_(some),
                ~exists().where(mentions.c.namespace == namespace, mentions.c.entity == entities.c.number),
            )
        )
        gone += done.rowcount
    return gone
