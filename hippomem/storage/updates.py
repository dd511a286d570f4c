"""Chains of updates: what an id stands for by now, and by what ids the same memory went.

The database follows them by itself: a query for each of the thousands of updates that a memory may have takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import CTE, Connection, and_, case, exists, literal, select, true, union_all

from hippomem.storage.schema import changes, passages


def named_now(connection: Connection, namespace: int, passage_id: str) -> str:
    """The id of the memory that this id stands for by now, after all its updates; itself where it stands for none."""
    later = changes.alias()
    chain = _start(namespace, [passage_id])
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
    found = _start(namespace, ids)
    # One step for both directions, as a database may allow no more; joined so, each is looked up in its own index.
    before, after = changes.alias(), changes.alias()
    was = and_(before.c.namespace == namespace, before.c.passage_id == found.c.id)
    if not later:
        return found.union(select(before.c.previous_id).where(was))
    became = and_(after.c.namespace == namespace, after.c.previous_id == found.c.id)
    way = union_all(select(literal(0).label("on")), select(literal(1))).subquery()
    both = (
        found.join(way, true())
        .outerjoin(before, and_(way.c.on == 0, was))
        .outerjoin(after, and_(way.c.on == 1, became))
    )
    return found.union(select(case((way.c.on == 0, before.c.previous_id), else_=after.c.passage_id)).select_from(both))


def _start(namespace: int, ids: Sequence[str]) -> CTE:
    """Those of these ids that the log knows; of what was updated before it was loaded it knows no other line."""
    is_id, was_id = changes.c.passage_id.in_(ids), changes.c.previous_id.in_(ids)
    known = select(case((is_id, changes.c.passage_id), else_=changes.c.previous_id).label("id"))
    return known.where(changes.c.namespace == namespace, is_id | was_id).cte("chain", recursive=True)
