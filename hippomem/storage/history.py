"""What happened to memories: the changes along a chain of updates."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, select

from hippomem.storage import links, versions
from hippomem.storage.schema import LEARNING_ACTIONS, changes
from hippomem.storage.updates import chain_of
from hippomem.types import Change


def history(connection: Connection, namespace: int, passage_id: str) -> list[Change]:
    """All changes along the chain of updates that this id is a part of, oldest first."""
    chain = select(chain_of(namespace, [passage_id]).c.id)
    found: dict[int, Change] = {}
    last: dict[int, int] = {}  # of each passage, by number
    rows = connection.execute(
        select(changes)
        .where(changes.c.namespace == namespace, changes.c.passage_id.in_(chain))
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
    told = links.facts_of(connection, namespace, list(last)) | versions.facts_of(connection, namespace, last)
    for number, triples in told.items():
        found[last[number]] = replace(found[last[number]], triples=tuple(triples))
    return list(found.values())
