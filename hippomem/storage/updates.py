"""Chains of updates: what an id stands for by now, and by what ids the same memory went.

The database follows them by itself: a query for each of the thousands of updates that a memory may have takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import CTE, Connection, exists, literal, select

from hippomem.storage.schema import changes, passages


def named_now(connection: Connection, namespace: int, passage_id: str) -> str:
    """The id of the memory that this id stands for by now, after all its updates; itself where it stands for none."""
    later = changes.alias()
    chain = select(literal(passage_id).label("id")).cte("chain", recursive=True)
    last = (
        select(later.c.passage_id)
        .where(later.c.namespace == namespace, later.c.previous_id == chain.c.id)
        .order_by(later.c.sequence.desc())
        .limit(1)
        .scalar_subquery()
    )
    lives = exists().where(passages.c.namespace == namespace, passages.c.id == chain.c.id)
    chain = chain.union(select(last).where(chain.c.id.is_not(None), ~lives))  # each once: texts may come back
    query = select(chain.c.id).join(passages, (passages.c.namespace == namespace) & (passages.c.id == chain.c.id))
    return connection.execute(query.limit(1)).scalar() or passage_id


def chain_of(namespace: int, ids: Sequence[str], later: bool = True) -> CTE:
    """What these ids were before updates, with `later` also what they have become, all of it: a column `id`, which is
    null in one row."""
    own, on, back = changes, changes.alias(), changes.alias()
    start = select(own.c.passage_id.label("id")).where(own.c.namespace == namespace, own.c.passage_id.in_(ids))
    found = start.cte("chain", recursive=True)
    steps = [select(back.c.previous_id).where(back.c.namespace == namespace, back.c.passage_id == found.c.id)]
    if later:
        steps.append(select(on.c.passage_id).where(on.c.namespace == namespace, on.c.previous_id == found.c.id))
    return found.union(*steps)
