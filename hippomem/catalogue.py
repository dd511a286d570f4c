"""What is in a memory, one by one, by where it came from, or as a whole in a file: the part of `Memory` that tells."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from hippomem.checks import (
    checked_below,
    checked_filter,
    checked_labels,
    checked_metadata,
    checked_name,
    checked_page,
    checked_path,
)
from hippomem.errors import NotFoundError
from hippomem.ingest.progress import StepBar, StepCallback
from hippomem.settings import Settings
from hippomem.storage import history, reads
from hippomem.storage.store import Store
from hippomem.storage.writes import check_encoder
from hippomem.types import Change, Passage
from hippomem.writing import Writer


class Catalogue:
    """Part of `Memory`, which sets what stands here."""

    settings: Settings
    _store: Store
    _writer: Writer
    _encoder_number: int
    _check_open: Callable[[], None]

    def get(self, id: str) -> Passage:
        """A memory by its id, also by one it had before an update. Raises NotFoundError."""
        return self._writer.current(checked_name(id, "id"))[1]

    def history(self, id: str) -> tuple[Change, ...]:
        """All that happened to a memory, oldest first, through all its updates, also after it was forgotten.

        Raises NotFoundError where there never was one by this id.
        """
        with self._store.read() as connection:
            changes = tuple(history.history(connection, self._writer.number, checked_name(id, "id")))
        if not changes:
            raise NotFoundError(f"no memory ever had the id {id!r} in namespace {self.settings.namespace!r}")
        return changes

    def export(self, path: str | os.PathLike[str], *, progress: bool | StepCallback = False) -> int:
        """Write this namespace to a JSON Lines file, vectors included; the file appears whole or not at all.

        What is not in it: the schedule and the log of replays, which begin anew, counts of uses, the log of changes but
        for what it tells of updates, and what was decided by undoing promotions and archivings.
        A process that is killed meanwhile leaves `.NAME.….part` beside it, which the next export there removes (not on
        Windows); `forget` reaches no exports. Returns the number of passages. `progress` as in `doctor`. Raises
        StoreAccessError where the file cannot be written, InvalidInputError where it is a database, and
        EncoderMismatchError where the store was encoded anew since this memory was opened.
        """
        from hippomem.transfer import export

        file = Path(checked_path(path, "path"))
        with StepBar("exporting", progress) as bar, self._store.read() as connection:
            check_encoder(connection, self._encoder_number)
            number = self._writer.look_up()
            return export(connection, number, self.settings.namespace, self._encoder_number, file, bar.tell)

    def passages(
        self, *, source: str | None = None, session: str | None = None, limit: int | None = None, offset: int = 0
    ) -> tuple[Passage, ...]:
        """What is remembered, oldest first, where what was updated stands as it did before: all of it, or of a
        `session`, or of a `source` (all below it where it ends with a slash), "" meaning what has none; of these
        `limit`, from `offset` on. Raises InvalidInputError for a limit or offset below 0.
        """
        limit, offset = checked_page(limit, offset)
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
        ids = checked_labels(target, "id")
        self._check_open()
        return tuple(self._writer.annotate(ids, checked_metadata(metadata)))
