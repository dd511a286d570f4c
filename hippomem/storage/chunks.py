"""Long lists of values, for statements that take only so many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select

T = TypeVar("T")
CHUNK = 500  # values in one IN (...)


def chunks(values: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """`values` in lists of at most `size`."""
    held: list[T] = []
    for value in values:
        held.append(value)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held


def rows_among(
    connection: Connection, query: Select[Any], column: ColumnElement[Any], values: Iterable[Any]
) -> Iterator[Any]:
    """What a query finds where a column has one of these values. Read as it is iterated over: write to none of its
    tables meanwhile."""
    for some in chunks(values):
        yield from connection.execute(query.where(column.in_(some)))
