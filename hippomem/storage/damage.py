"""Rows that cannot be what was written: texts that are not those that were encoded, vectors that cannot be theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from hippomem.storage import links, reads, versions
from hippomem.storage.chunks import chunks
from hippomem.storage.rows import ViewRow, checksum, content_id
from hippomem.storage.schema import analyses, passages
from hippomem.storage.schema import versions as earlier
from hippomem.types import Passage

OFF = 0.01  # how far from 1 the length of a vector may be
# How passages, and what they were before updates, are read: themselves, their facts, and as the views take them.
_READ: tuple[tuple[Any, Any, Any, Any], ...] = (
    (passages, reads.by_number, links.stated_in, reads.view_rows),
    (earlier, versions.by_number, versions.facts_of, versions.view_rows),
)


def damaged(read: Callable[[], AbstractContextManager[Connection]], namespace: int, encoder: int) -> Iterator[str]:
    """The passages of a namespace that are damaged, and how, for people to read. Those without vectors are not looked
    for, nor is what only the models could tell.
    """
    for table, *how in _READ:
        with read() as connection:
            t = table.c
            found = connection.execute(select(t.number, t.id, t.content).where(t.namespace == namespace)).all()
            width = _width(connection, namespace, encoder)  # of what is found: there may have been nothing before
        for some in chunks(found):
            with read() as connection:  # a long one would keep others from clearing away what they forget
                yield from _among(connection, namespace, encoder, some, how, width)


def _among(
    connection: Connection, namespace: int, encoder: int, rows: Sequence[Any], how: Sequence[Any], width: int
) -> Iterator[str]:
    numbers = [row.number for row in rows]
    themselves, facts, as_viewed = how
    try:
        there = themselves(connection, namespace, numbers)
        facts(connection, namespace, numbers)
        encoded = {row.number: row for row in as_viewed(connection, namespace, encoder, numbers)}
        flipped = _flipped(connection, namespace, encoder, {row.content for row in rows})
    except (ValueError, TypeError, DBAPIError) as error:  # whatever stands where something else should
        if len(rows) == 1:
            reason = getattr(error, "orig", error)
            yield f"{rows[0].id}: cannot be read ({reason})"
            return
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]):
            yield from _among(connection, namespace, encoder, half, how, width)
        return
    for row in rows:
        if row.number in there:  # else it was forgotten just now
            yield from _wrong(there[row.number], row.content, encoded.get(row.number), width)
            if row.content in flipped:
                yield f"{row.id}: its vectors are not those that were written"


def _flipped(connection: Connection, namespace: int, encoder: int, contents: set[str]) -> set[str]:
    """Of these contents, those whose vectors have another checksum than was written with them."""
    a = analyses.c
    query = select(a.content, a.checksum, a.vector, a.sentence_vectors, a.sentences).where(a.checksum.is_not(None))
    own = query.where(a.namespace == namespace, a.encoder == encoder, a.content.in_(contents))
    return {content for content, written, *parts in connection.execute(own) if checksum(*parts) != written}


def _wrong(passage: Passage, content: str, row: ViewRow | None, width: int) -> Iterator[str]:
    if content != content_id(passage.title, passage.text):
        yield f"{passage.id}: its text is not the one that was added"
    if row is None:
        return
    if len(row.vector) != width or not _are_vectors(row.vector):
        length = float(np.linalg.norm(row.vector))
        yield f"{passage.id}: its vector is of {len(row.vector)} numbers and length {length:.2f}"
    if len(row.sentence_vectors) != len(row.lines) - (not passage.title) or not _are_vectors(row.sentence_vectors):
        yield f"{passage.id}: the vectors of its sentences are not those of its sentences"


def _are_vectors(vectors: NDArray[np.floating]) -> bool:
    """Whether these are of length 1 or 0, as all that is encoded."""
    lengths = np.linalg.norm(vectors.astype(np.float32), axis=-1)  # not a number where one of the numbers is none
    return bool(((abs(lengths - 1) < OFF) | (lengths == 0)).all())


def _width(connection: Connection, namespace: int, encoder: int) -> int:
    """How many numbers most vectors have."""
    size = func.length(analyses.c.vector)
    own = select(size).where(analyses.c.namespace == namespace, analyses.c.encoder == encoder)
    return (connection.execute(own.group_by(size).order_by(func.count().desc()).limit(1)).scalar() or 0) // 4
