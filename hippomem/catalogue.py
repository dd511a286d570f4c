"""What is in a memory, by where it came from, and what is noted about it: the part of `Memory` that lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hippomem.checks import check_page, checked_below, checked_filter, checked_label, checked_metadata
from hippomem.storage import reads
from hippomem.storage.store import Store
from hippomem.types import Passage
from hippomem.writing import Writer


class Catalogue:
    """Part of `Memory`, which sets what stands here."""

    _store: Store
    _writer: Writer
    _check_open: Callable[[], None]

    def passages(
        self, *, source: str | None = None, session: str | None = None, limit: int | None = None, offset: int = 0
    ) -> tuple[Passage, ...]:
        """What is remembered, oldest first: all of it, or of a `session`, or of a `source` (all below it where it ends
        with a slash); of these `limit`, from `offset` on. Raises InvalidInputError for a limit or offset below 0.
        """
        check_page(limit, offset)
        session, source = checked_filter(session, "session"), checked_filter(source, "source")
        with self._store.read() as connection:
            return tuple(reads.passages_where(connection, self._writer.number, session, source, limit, offset))

    def sources(self, below: str = "") -> tuple[str, ...]:
        """The names of all sources, sorted; with `below` ("docs/") those below that name."""
        with self._store.read() as connection:
            return tuple(reads.sources(connection, self._writer.number, checked_below(below)))

    def annotate(self, target: str | Iterable[str], metadata: Mapping[str, Any]) -> tuple[Passage, ...]:
        """Change the metadata of a memory, or of several at once: keys that are given take the place of those that are
        there, None removes one, all others stay. Text, id and history do not change.

        Raises NotFoundError where one of the ids is none, and InvalidInputError where it is not JSON; then nothing was
        changed.
        """
        ids = [checked_label(id_, "id") for id_ in ([target] if isinstance(target, str) else target)]
        self._check_open()
        return tuple(self._writer.annotate(ids, checked_metadata(metadata)))
