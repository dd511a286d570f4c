"""What may come back: of one session, of one source, of what had happened by then, and not hidden."""

from __future__ import annotations

from datetime import datetime
from math import inf
from weakref import ReferenceType, ref

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from hippomem.hippocampus.view import View
from hippomem.storage import reads, statuses, versions


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


class Hidden:
    """The passages that a recall passes over unless it is deep: archived, or invalid. They are read again where the log
    has grown, as there may be thousands of them. Not safe for threads: its memory's lock is.
    """

    def __init__(self) -> None:
        self._of: tuple[ReferenceType[View], int, str, int] | None = None
        self._rows = np.empty(0, np.int64)
        self._archived = self._ended = np.empty(0)  # seconds; infinity where they are not
        self._is_merged = np.empty(0, np.bool_)

    def rows(
        self, view: View, connection: Connection, namespace: int, moment: datetime, is_of_one_source: bool = False
    ) -> NDArray[np.int64]:
        """Those that are hidden at a moment from a recall of all, or of one source: that does not pass over what was
        merged into others, which may be of another one. `view` has followed the log."""
        if self._of is None or (self._of[0]() is not view) or self._of[1:] != (view.applied, view.mark, view.changed):
            self._read(view, connection, namespace)
        at = moment.timestamp()
        gone = self._archived <= at
        if is_of_one_source:
            gone &= ~self._is_merged
        return np.asarray(self._rows[gone | (self._ended <= at)], np.int64)

    def _read(self, view: View, connection: Connection, namespace: int) -> None:
        found = [
            (row, archived.timestamp() if archived else inf, is_merged, ended.timestamp() if ended else inf)
            for number, archived, is_merged, ended in statuses.hiding(connection, namespace)
            if (row := view.row_of(number)) is not None
        ]
        self._rows = np.array([row for row, *_ in found], np.int64)
        self._archived = np.array([archived for _, archived, _, _ in found], np.float64)
        self._is_merged = np.array([is_merged for _, _, is_merged, _ in found], np.bool_)
        self._ended = np.array([ended for *_, ended in found], np.float64)
        self._of = ref(view), view.applied, view.mark, view.changed  # the view of a moment changes without the log
