"""Which encoder made the vectors that a store has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from hippomem.storage.schema import analyses, passages, versions


def has_vectors(connection: Connection, encoder: int) -> bool:
    """Whether anything was stored that the encoder of this number has read."""
    query = select(analyses.c.content).where(analyses.c.encoder == encoder).limit(1)
    return connection.execute(query).first() is not None


def one_vector(connection: Connection, encoder: int, among: int) -> tuple[str, str, NDArray[np.float32]] | None:
    """Title, text and vector (d,) of a passage of any namespace: the shortest of so many that an encoder has read. It
    may be what a passage was before an update: of one that is updated all the time, nearly all vectors are.
    """
    v = analyses.c
    made = select(v.namespace, v.content, v.vector).where(v.encoder == encoder)
    some = made.order_by(v.namespace, v.content).limit(among).subquery()  # by an index, or all would be looked through
    for t in (passages, versions):
        is_of = (t.c.namespace == some.c.namespace) & (t.c.content == some.c.content)
        query = select(t.c.title, t.c.text, some.c.vector).join_from(some, t, is_of)
        row = connection.execute(query.order_by(func.length(t.c.text)).limit(1)).first()
        if row is not None:
            return row.title, row.text, np.frombuffer(row.vector, np.float32)
    return None
