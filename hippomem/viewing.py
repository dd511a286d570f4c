"""The view of a memory in step with its database: the part of `Memory` that loads it, follows the log, and saves it."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from weakref import WeakSet

from sqlalchemy import Connection

from hippomem.errors import ForeignStoreError, HippomemError
from hippomem.hippocampus.catchup import catch_up, rebuilt_in_steps
from hippomem.hippocampus.past import Past
from hippomem.hippocampus.snapshot import Snapshots
from hippomem.hippocampus.view import View
from hippomem.storage import reads
from hippomem.storage.store import Store
from hippomem.storage.writes import check_encoder
from hippomem.writing import Writer

log = logging.getLogger("hippomem")
Synced = Callable[[], AbstractContextManager[tuple[View, Connection]]]
Copy = TypeVar("Copy")
Made = TypeVar("Made")
ATTEMPTS = 3
STEP = 4096  # changes that are followed in one transaction, some seconds long: others wait for it to forget
IN_USE = 1024  # changed rows below which a view that is in use is left as it is
UNSAVED = 100_000  # the same during an ingest: some 14 KB of memory each until they are saved
SILENCE = 10.0  # seconds that an index is built without a word
BARE_SECONDS = 300.0  # that a process which is killed may leave no snapshot
LULL_SECONDS = 60.0  # in which an ingest has stored nothing: until it goes on, it is as if there were none
SAVING_SECONDS = 60.0  # that a fork, or a close, waits for a view to be saved
_savers: WeakSet[threading.Thread] = WeakSet()


class Viewing:
    """Part of `Memory`, which sets what stands here."""

    _store: Store
    _writer: Writer
    _encoder_number: int
    _snapshots: Snapshots | None
    _view: View | None
    _past: Past
    _lock: threading.RLock
    _check_open: Callable[[], None]
    _tried = 0  # how much the view had changed when it was to be saved in vain
    _saving_in = 0  # the process in which it is being saved
    _saver: threading.Thread | None = None
    _dropped = math.inf  # when its snapshot was removed, by the monotonic clock
    _came = -math.inf  # when an ingest stored something, by the monotonic clock
    _cleared = 0  # the last change for which snapshots from before it were removed

    @contextmanager
    def _synced(self) -> Iterator[tuple[View, Connection]]:
        """The view with every change that is committed, and the read transaction that it equals."""
        with self._harm_told(), self._in_step() as synced:
            yield synced

    @contextmanager
    def _harm_told(self) -> Iterator[None]:
        """Where something fails of a view that is damaged, say so and have it made anew."""
        try:
            yield
        except Exception as error:  # whatever comes of numbers that are not those that were written
            if isinstance(error, HippomemError) and not isinstance(error, ForeignStoreError):
                raise
            wrong = self._snapshots.harmed() if self._snapshots else []
            if not wrong or self._snapshots is None:
                raise
            self._view = None
            self._snapshots.discard()
            told = "did not hold what was written there, and was removed: repeat this, and the view is made anew"
            raise ForeignStoreError(f"{wrong[0]} {told}") from error

    @contextmanager
    def _in_step(self) -> Iterator[tuple[View, Connection]]:
        self._check_open()
        view = self._view or (self._snapshots.load() if self._snapshots else View())
        tell = _telling()
        while True:
            if not view.applied:  # else the changes that it has followed prove the number
                number = self._writer.look_up()
                view = rebuilt_in_steps(self._store.read, number, self._encoder_number, tell)
            with self._store.read() as connection:  # not before the view is loaded: others may have saved it just now
                check_encoder(connection, self._encoder_number)
                number, since = self._writer.number, view.applied
                self._view = None  # where it stops half way, as by Ctrl-C, it is not to be used
                if not catch_up(view, connection, number, self._encoder_number, STEP):
                    view, self._cleared = View(), 0  # the database was put back to an earlier state, as from a backup
                    if self._snapshots:
                        self._snapshots.discard()
                    continue
                self._view = view
                newest = view.applied
                if newest >= since + STEP - 1:
                    newest = reads.last_sequence(connection, number)
                if view.applied == newest:
                    yield view, connection
                    break
                tell(view.applied, newest)
        self._tend()

    @contextmanager
    def _held(self) -> Iterator[tuple[View, Connection]]:
        with self._lock, self._synced() as synced:
            yield synced

    def _keep_up(self) -> None:
        """During an ingest: follow the log, for whoever recalls next, and save the view where it has grown much. Until
        the next time recalls do not, as all of it is written each time.
        """
        self._came = time.monotonic()
        with self._held():
            pass
        self._save_in_turn(UNSAVED)

    def _come_to_rest(self) -> None:
        """After an ingest: save the view where it is due, and leave it to recalls again."""
        self._keep_up()
        self._save_in_turn(0)
        self._came = -math.inf

    def _apart(self, copy: Callable[[View], Copy], use: Callable[[Copy, Connection], Made]) -> Made:
        """What `use` makes of a copy from the view, in a transaction that equals it. That may take long: it is done
        without the lock, unless others write each time that a copy is made.
        """
        for _ in range(ATTEMPTS):
            with self._held() as (view, _):
                copied, at = copy(view), view.applied
            with self._harm_told(), self._store.read() as connection:
                if reads.last_sequence(connection, self._writer.number) == at:
                    return use(copied, connection)
        with self._held() as (view, connection):
            return use(copy(view), connection)

    def _as_of(self, connection: Connection, moment: datetime | None) -> View | None:
        """The view of a moment before an update; None where that of the present serves."""
        fresh = self._snapshots.load if self._snapshots else View
        return self._past.at(connection, self._writer.number, self._encoder_number, moment, fresh)

    def _load(self) -> None:
        """Load the view where there is a snapshot of it."""
        if self._view is None and self._snapshots:
            loaded = self._snapshots.load()
            self._view = loaded if loaded.applied else None

    def _harmed(self) -> list[Path]:
        """The files of the view that do not hold what was written."""
        self._check_open()
        with self._lock:
            self._load()
        return self._snapshots.harmed() if self._snapshots else []

    def _drop_snapshots(self) -> None:
        """Remove all snapshots; a new one is due."""
        if self._snapshots:
            self._snapshots.drop()
        self._note_bare()

    def _note_bare(self) -> None:
        view = self._view
        if view and view.saved_rows:
            view.saved_rows = 0
            self._dropped = time.monotonic()

    def _tend(self) -> None:
        """See, with the lock, whether the view is to be saved: it has changed much while the memory stays open, or a
        `forget` removed its snapshot some time ago (forgetting again and again is not to save as often). Ingests that
        bring something save it themselves.
        """
        view = self._view
        if not self._snapshots or not view:
            return
        if view.purged > self._cleared:
            # Whoever forgot, or saved a view meanwhile, may have been killed before they removed what still has it.
            self._cleared = view.purged
            if not self._snapshots.drop_before(view.purged):
                self._note_bare()
        if time.monotonic() - self._came > LULL_SECONDS and self._is_to_be_saved(view, IN_USE):
            self._saving_in = os.getpid()
            self._saver = threading.Thread(target=self._renew, args=(view,), name="hippomem-save", daemon=True)
            try:
                self._saver.start()
                _savers.add(self._saver)
            except RuntimeError:  # there are too many, or the process ends
                self._saver, self._saving_in = None, 0

    def _save_in_turn(self, least: int) -> None:
        """Save the view at once where it is due and has changed so much."""
        with self._lock:
            if not self._view or not self._is_to_be_saved(self._view, least):
                return
            view, self._saving_in = self._view, os.getpid()
        self._renew(view)

    def _is_to_be_saved(self, view: View, least: int) -> bool:
        if self._saving_in == os.getpid():  # it is, and not in the process that this one was forked from
            return False
        if not self._snapshots or not self._snapshots.is_due(view):
            return False
        is_bare = not view.saved_rows and time.monotonic() - self._dropped > BARE_SECONDS
        return is_bare or (view.changed >= 2 * self._tried and self._snapshots.is_overgrown(view, least))

    def _renew(self, view: View) -> None:
        """Save the view, and use what was saved, which holds nothing that is gone and lies in files. Without the lock
        for all that takes long: others recall and write meanwhile.
        """
        try:
            if not view.saved_rows:
                self._dropped = time.monotonic()  # where this fails, it is tried again after BARE_SECONDS
            with suppress(Exception):  # no failure to save a view may be one of what it served
                self._replace(view)
        finally:
            self._saving_in = 0

    def _replace(self, view: View) -> None:
        if not self._snapshots:
            return
        with self._held() as (current, _):  # what is forgotten by now is not in it; what is from now on drops it
            if current is not view:
                return
            self._tried = view.changed
            frozen, begun = view.frozen(), self._snapshots.begin(view)
        self._snapshots.save(frozen, begun)
        if self._has_forgotten_after(frozen):
            return
        loaded = self._snapshots.load()
        with self._store.read() as connection:
            if not loaded.applied or not catch_up(loaded, connection, self._writer.number, self._encoder_number, STEP):
                return
        with self._lock:
            if self._view is view:
                self._view, self._tried = loaded, 0

    def _save(self) -> None:
        """Before closing, write a snapshot where it is due. Where that fails, the next opening replays the log."""
        view, snapshots = self._view, self._snapshots
        if view and snapshots and (snapshots.is_due(view) or snapshots.is_paid_for(view)):
            with suppress(Exception):
                snapshots.save(view)
                self._has_forgotten_after(view)

    def _has_forgotten_after(self, view: View) -> bool:
        """Whether something was forgotten that the view has. Its snapshots are dropped then."""
        with self._store.read() as connection:
            forgotten = reads.forgotten_after(connection, self._writer.number, view.applied)
        if forgotten and self._snapshots:
            self._snapshots.drop_before(forgotten)
        return bool(forgotten)


def _telling() -> Callable[[int, int], None]:
    """Says now and then how much of an index is built, or what is new brought into it: whoever recalls first waits."""
    told = time.monotonic()

    def tell(built: int, of: int) -> None:
        nonlocal told
        if time.monotonic() - told > SILENCE:
            told = time.monotonic()
            log.warning("building the index: %s of %s", f"{built:,}", f"{of:,}")

    return tell


def _wait_for_savers() -> None:
    """Before a fork. A recall that warms a memory up may just have begun to save its view on a thread, of which the
    program knows nothing; what that thread holds, the child would wait for in vain.
    """
    for saver in list(_savers):
        saver.join(SAVING_SECONDS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait_for_savers)
