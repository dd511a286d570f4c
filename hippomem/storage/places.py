"""Where a passage stands among others: where it was told first, whatever updates it has had since."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from hippomem.storage.chunks import chunks
from hippomem.storage.schema import UTCDateTime, passages

TOLD = func.coalesce(passages.c.told, passages.c.number)
TOLD_AT = func.coalesce(passages.c.told_at, passages.c.recorded_at, type_=UTCDateTime)


def take_place(connection: Connection, namespace: int, old: int, new: int) -> None:
    """Have the new passage stand where the old one does."""
    query = select(TOLD, TOLD_AT).where(passages.c.namespace == namespace, passages.c.number == old)
    told, told_at = connection.execute(query).one()
    which = passages.c.namespace == namespace, passages.c.number == new
    connection.execute(update(passages).where(*which).values(told=told, told_at=told_at))


def in_order(connection: Connection, namespace: int) -> list[int]:
    """The numbers of all live passages, in the order in which they were told."""
    query = select(passages.c.number).where(passages.c.namespace == namespace).order_by(TOLD)
    return list(connection.execute(query).scalars())


def told_first(connection: Connection, namespace: int, numbers: Iterable[int]) -> dict[int, datetime]:
    """Of these passages, those that were updated, with when they were recorded first."""
    found: dict[int, datetime] = {}
    for some in chunks(numbers):
        query = select(passages.c.number, passages.c.told_at).where(
            passages.c.namespace == namespace, passages.c.number.in_(some), passages.c.told_at.is_not(None)
        )
        found.update((row.number, row.told_at) for row in connection.execute(query))
    return found
