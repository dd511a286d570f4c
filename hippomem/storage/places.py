"""Where a passage stands among others: where it was told first, whatever updates it has had since, or where its file
has it. Places are numbers of passages: its own, that of its first version, or that of one whose place it took.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Set
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, insert, select, update

from hippomem.storage.chunks import rows_among
from hippomem.storage.schema import UTCDateTime, changes, passages

TOLD = func.coalesce(passages.c.told, passages.c.number)
TOLD_AT = func.coalesce(passages.c.told_at, passages.c.recorded_at, type_=UTCDateTime)


def take_place(connection: Connection, namespace: int, old: int, new: int) -> None:
    """Have the new passage stand where the old one does."""
    query = select(TOLD, TOLD_AT).where(passages.c.namespace == namespace, passages.c.number == old)
    told, told_at = connection.execute(query).one()
    which = passages.c.namespace == namespace, passages.c.number == new
    connection.execute(update(passages).where(*which).values(told=told, told_at=told_at))


def places_of(connection: Connection, namespace: int, numbers: Iterable[int]) -> set[int]:
    """Where these passages stand."""
    query = select(TOLD).where(passages.c.namespace == namespace)
    return {place for (place,) in rows_among(connection, query, passages.c.number, numbers)}


def put_in_order(
    connection: Connection, namespace: int, source: str, ids: Collection[str], free: Set[int], at: datetime
) -> None:
    """Have the turns of a source, which holds `ids` in this order, follow each other as they do there: one that is new
    among others, as a corrected one is, was told between them. `free` are the places of those that it holds no more:
    with these a correction moves nothing else. Views learn of it from the log."""
    if len(ids) < 2:
        return
    own = passages.c.namespace == namespace, passages.c.source == source, passages.c.session != ""
    found = connection.execute(select(passages.c.number, passages.c.id, TOLD.label("told")).where(*own))
    rows = {row.id: row for row in found}
    turns = [rows[id_] for id_ in ids if id_ in rows]
    own_places = {row.told for row in turns}
    orders = (sorted(own_places), sorted(own_places | free)[: len(turns)])
    ways = ([(row, told) for row, told in zip(turns, order, strict=True) if row.told != told] for order in orders)
    moved = min(ways, key=len)
    if not moved:
        return
    which = passages.c.namespace == namespace, passages.c.number == bindparam("moved")
    values = [{"moved": row.number, "place": told} for row, told in moved]
    connection.execute(update(passages).where(*which).values(told=bindparam("place")), values)
    logged = {"namespace": namespace, "action": "link", "at": at}
    connection.execute(insert(changes), [logged | {"passage": row.number, "passage_id": row.id} for row, _ in moved])


def in_order(connection: Connection, namespace: int) -> list[int]:
    """The numbers of all live passages, in the order in which they were told."""
    query = select(passages.c.number).where(passages.c.namespace == namespace).order_by(TOLD)
    return list(connection.execute(query).scalars())


def told_first(connection: Connection, namespace: int, numbers: Iterable[int]) -> dict[int, datetime]:
    """Of these passages, those that were updated, with when they were recorded first."""
    query = select(passages.c.number, passages.c.told_at).where(
        passages.c.namespace == namespace, passages.c.told_at.is_not(None)
    )
    return {row.number: row.told_at for row in rows_among(connection, query, passages.c.number, numbers)}
