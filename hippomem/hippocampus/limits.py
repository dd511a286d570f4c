"""What may come back: of one session, of one source, of what had happened by then."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from hippomem.hippocampus.view import View
from hippomem.storage import reads, versions


def eligible(
    view: View,
    connection: Connection,
    namespace: int,
    session: str | None,
    as_of: datetime | None,
    source: str | None = None,
) -> NDArray[np.bool_] | None:
    """Which rows may come back: (rows,), None for all."""
    if session is None and as_of is None and source is None:
        return None
    rows = np.zeros(view.graph.rows, np.bool_)
    rows[view.rows_of(reads.numbers_where(connection, namespace, session, as_of, source))] = True
    if as_of is not None:
        rows[view.rows_of(versions.numbers_where(connection, namespace, as_of, session, source))] = True
    return rows
