"""What stands again when a passage goes: what was merged into it, what it contradicted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, exists, insert, select, update

from hippomem.storage.chunks import chunks, rows_among
from hippomem.storage.schema import changes, facts, passages, semantic_facts, statuses, validities
from hippomem.storage.validities import settle


def release(connection: Connection, namespace: int, ids: Sequence[str], subjects: Sequence[int], at: datetime) -> None:
    """What was merged into these passages, or contradicted by them, stands again; what nobody states any more
    is no promoted fact."""
    logged = []
    for some in chunks(ids):
        merged = (statuses.c.namespace == namespace, statuses.c.merged_into.in_(some))
        against = (validities.c.namespace == namespace, validities.c.by_passage.in_(some))
        numbers = list(connection.execute(select(statuses.c.passage).where(*merged)).scalars())
        logged += [("restore", number) for number in numbers]
        connection.execute(update(statuses).where(*merged).values(archived_at=None, merged_into=None))
        numbers = list(connection.execute(select(validities.c.passage).where(*against).distinct()).scalars())
        logged += [("revalidate", number) for number in numbers]
        connection.execute(update(validities).where(*against).values(invalid_at=None, by_passage=None))
        for number in numbers:
            settle(connection, namespace, number)
    for few in chunks(subjects):
        # Of what others still say the support is counted anew by the next round.
        stated = exists().where(
            facts.c.namespace == namespace,
            facts.c.subject == semantic_facts.c.subject,
            facts.c.relation == semantic_facts.c.relation,
            facts.c.object == semantic_facts.c.object,
        )
        own = (semantic_facts.c.namespace == namespace, semantic_facts.c.subject.in_(few))
        connection.execute(delete(semantic_facts).where(*own, ~stated))
    query = select(passages.c.number, passages.c.id).where(passages.c.namespace == namespace)
    known = rows_among(connection, query, passages.c.number, {number for _, number in logged})
    names = {row.number: row.id for row in known}
    rows = [
        {
            "namespace": namespace,
            "action": action,
            "passage": number,
            "passage_id": names[number],
            "at": at,
            "detail": {"why": "what it gave way to was forgotten or replaced"},
        }
        for action, number in logged
        if number in names
    ]
    if rows:
        connection.execute(insert(changes), rows)
