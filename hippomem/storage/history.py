"""What happened to memories: the changes along a chain of updates, and what an id stands for by now."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, select

from hippomem.storage import links, versions
from hippomem.storage.schema import LEARNING_ACTIONS, changes
from hippomem.types import Change


def successor(connection: Connection, namespace: int, passage_id: str) -> str | None:
    """The id that an update gave to what had this id before."""
    query = (
        select(changes.c.passage_id)
        .where(changes.c.namespace == namespace, changes.c.previous_id == passage_id)
        .order_by(changes.c.sequence.desc())
    )
    return connection.execute(query.limit(1)).scalar()


def history(connection: Connection, namespace: int, passage_id: str) -> list[Change]:
    """All changes along the chain of updates that this id is a part of, oldest first."""
    ids = {passage_id}
    found: dict[int, Change] = {}
    last: dict[int, int] = {}  # of each passage, by number
    grew = True
    while grew:
        rows = connection.execute(
            select(changes)
            .where(changes.c.namespace == namespace, changes.c.passage_id.in_(ids) | changes.c.previous_id.in_(ids))
            .order_by(changes.c.sequence)
        )
        for row in rows:
            found[row.sequence] = Change(
                row.sequence,
                row.action,
                row.passage_id,
                row.at,
                row.previous_id,
                row.text,
                row.extractor,
                detail=row.detail,
            )
            if row.action not in LEARNING_ACTIONS:
                last[row.passage] = row.sequence
        names = {c.id for c in found.values()} | {c.previous_id for c in found.values() if c.previous_id}
        grew = not names <= ids
        ids |= names
    told = links.facts_of(connection, namespace, list(last)) | versions.facts_of(connection, namespace, last)
    for number, triples in told.items():
        found[last[number]] = replace(found[last[number]], triples=tuple(triples))
    return [found[sequence] for sequence in sorted(found)]
