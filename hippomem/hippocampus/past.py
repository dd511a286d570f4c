"""The view of a moment before an update: that of the present, with what has been replaced since in its place.

It is made when it is first asked for, and follows the log like any other. The present has no part in it: what was
replaced costs a recall of today nothing, and is no competition to what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection

from hippomem.hippocampus.catchup import catch_up, indexed
from hippomem.hippocampus.view import View
from hippomem.storage import reads, versions


class Past:
    """One view, of the moment that was asked for last. Not safe for threads: its memory's lock is."""

    def __init__(self) -> None:
        self._view: View | None = None
        self._standing = versions.Standing(frozenset(), frozenset())

    def at(
        self, connection: Connection, namespace: int, encoder: int, moment: datetime | None, fresh: Callable[[], View]
    ) -> View | None:
        """The view of a moment; None where that of the present serves, as nothing has been updated since. `fresh`
        gives a view to start from, as the newest snapshot."""
        if moment is None:
            return None
        standing = versions.standing_at(connection, namespace, moment)
        if not standing.versions:
            return None
        view, self._view = self._view, None  # until it is of that moment: one that stopped half way is none
        if view is None or view.removed > view.size or not catch_up(view, connection, namespace, encoder):
            self._standing = versions.Standing(frozenset(), frozenset())
            view = fresh()
            if not catch_up(view, connection, namespace, encoder):
                view = View()
                catch_up(view, connection, namespace, encoder)
        view.remove((self._standing.versions - standing.versions) | standing.replaced)
        back = [n for n in sorted(self._standing.replaced - standing.replaced) if view.row_of(n) is None]
        view.append([indexed(row) for row in reads.view_rows(connection, namespace, encoder, back)])
        earlier = [n for n in sorted(standing.versions) if view.row_of(n) is None]
        view.append([indexed(row) for row in versions.view_rows(connection, namespace, encoder, earlier)])
        self._view, self._standing = view, standing
        return view

    def drop(self) -> None:
        """Let go of it: for what must not outlive its memory."""
        self._view = None
