"""The store: transactions on one database, the names of its namespaces, what it remembers about its encoder."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select, update

from hippomem.errors import (
    ClosedError,
    EncoderMismatchError,
    InvalidInputError,
    StoreAccessError,
    StoreError,
    StoreFullError,
)
from hippomem.storage import engine, migrate
from hippomem.storage.engine import database
from hippomem.storage.schema import HEAD, namespaces, store_info

MAX_NAMESPACE = 255  # characters
OPENING_SECONDS = 2.0  # for those who read, before what another process owes is left to the next opening
MEANS = "encoder_means_"  # and an encoder's number: what its vectors are centred by
SCRUB = "scrub"  # which deletion was the last one, until its traces are off the disk
_STORE_ID = select(store_info.c.value).where(store_info.c.key == "store_id").scalar_subquery()


class Store:
    """One database. All reads and writes go through `read()` and `write()`: one transaction each.

    Raises the StoreError family; see hippomem.errors.
    """

    def __init__(self, db: str | Path) -> None:
        self._database = database(db)
        self._closed = False
        self._untidy = True  # or the process before us found the disk full
        self._namespaces: dict[str, int] = {}
        self._turn = threading.RLock()
        self._scrubbing = threading.Lock()
        self._running: Connection | None = None
        self._file: tuple[int, int] | None = None
        try:
            self._prepare()
            self._file = self._database.identity
            with self.read() as connection:
                self.id = self.info(connection, "store_id") or ""
                unfinished = self.info(connection, SCRUB)
            if unfinished:  # a process ended between forgetting and cleaning up
                with suppress(StoreError):
                    self.scrub(OPENING_SECONDS)
        except BaseException:
            self._database.close()
            raise

    def _prepare(self) -> None:
        with self.read() as connection:
            self._database.check_ownership(connection)
            ready = migrate.revision_of(connection) == HEAD
        if ready:
            return
        with self.write() as connection:  # another process may have been faster: look again under the lock
            if (revision := migrate.revision_of(connection)) == HEAD:
                return
            if revision is not None:
                migrate.upgrade(connection)
            else:
                migrate.create(connection)
            self._database.claim(connection)
            if revision is None:
                self.set_info(connection, "store_id", uuid.uuid4().hex)

    @property
    def views(self) -> Path | None:
        """The folder for what is computed from the store, None where it is not kept."""
        return self._database.views(self.id)

    @property
    def name(self) -> str:
        """What people know the database by; without a password."""
        return self._database.name

    @property
    def longest_name(self) -> int | None:
        """How many bytes a source or a session surely may have; None where any number will do."""
        return self._database.longest_name

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._closed

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one moment of the database, whatever others write meanwhile."""
        with self._transaction(self._database.reading) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock; all of it is kept, or nothing."""
        self.check_open()
        if self._untidy:
            self._untidy = False
            with suppress(StoreError), self._database.translated():
                self._database.tidy()
        try:
            with self._transaction(self._database.writing) as connection:
                yield connection
        except StoreFullError:
            self._untidy = True
            raise

    @contextmanager
    def _transaction(self, connect: Callable[[], Connection]) -> Iterator[Connection]:
        self.check_open()
        if not self._database.is_private:
            if self._file is not None and self._database.identity != self._file:  # what is written would be lost
                path = Path(self._database.name)
                raise StoreAccessError(
                    f"{path} was moved, deleted or replaced while it was open: close this memory and open it again. "
                    f"Where a backup is put back, {path.name}-wal and {path.name}-shm go first"
                )
            with self._database.translated(), connect() as connection:
                try:
                    with connection.begin():
                        yield connection
                finally:
                    if self._closed and not connection.invalidated:
                        connection.detach()  # close() went by while this was in use, and nobody else would close it
            return
        # In memory there is one connection: threads take turns, and a transaction inside another is a part of it.
        with self._turn:
            if self._running is not None:
                yield self._running
                return
            with self._database.translated(), connect() as connection, connection.begin():
                self._running = connection
                try:
                    yield connection
                finally:
                    self._running = None

    def namespace(self, name: str, create: bool = True, known: bool = True) -> int:
        """The number of a namespace, created when new; 0 where it is new and not to be created.

        With `known` it may be one that was looked up before: numbers change where a backup is put back.
        """
        if known and name in self._namespaces:
            return self._namespaces[name]
        self._namespaces.pop(name, None)
        query = select(namespaces.c.number).where(namespaces.c.name == name)
        with self.read() as connection:
            store, number = connection.execute(select(_STORE_ID, query.scalar_subquery())).one()
        if store != self.id:  # whose numbers and vectors are others
            raise StoreAccessError(
                f"{self.name} was replaced by another memory while it was open: close this memory and open it again"
            )
        if number is None and create:
            with self.write() as connection:
                number = connection.execute(query).scalar()
                if number is None:
                    connection.execute(insert(namespaces).values(name=name))
                    number = connection.execute(query).scalar_one()
        if number is None:
            return 0
        self._namespaces[name] = int(number)
        return int(number)

    def claim_encoder(self, identity: str) -> int:
        """Hold the store to one encoder; the first one to open it is the one. Its number goes with its vectors.

        Raises EncoderMismatchError where the store has vectors of another.
        """
        with self.read() as connection:
            known, number = self.info(connection, "encoder"), self.info(connection, "encoder_number")
        if known is None:
            with self.write() as connection:
                known, number = self.info(connection, "encoder"), self.info(connection, "encoder_number")
                if known is None:
                    known, number = identity, "1"
                    self.set_info(connection, "encoder", known)
                    self.set_info(connection, "encoder_number", number)
        if known != identity:
            raise EncoderMismatchError(
                f"the vectors in this store were made by {known!r}, and the configured encoder is {identity!r}. "
                "Open it with that encoder, or encode everything anew: hippomem reencode --db "
                f"{self._database.name} with HIPPOMEM_ENCODER, and HIPPOMEM_ENCODER_PRECISION where it is int8, set to "
                "the new encoder"
            )
        return int(number or 1)

    @staticmethod
    def info(connection: Connection, key: str) -> str | None:
        """A remembered fact about the store."""
        return connection.execute(select(store_info.c.value).where(store_info.c.key == key)).scalar()

    @staticmethod
    def set_info(connection: Connection, key: str, value: str) -> None:
        """Remember a fact about the store."""
        changed = connection.execute(update(store_info).where(store_info.c.key == key).values(value=value))
        if changed.rowcount == 0:
            connection.execute(insert(store_info).values(key=key, value=value))

    @staticmethod
    def drop_info(connection: Connection, key: str) -> None:
        """Remember it no longer."""
        connection.execute(delete(store_info).where(store_info.c.key == key))

    def owe_scrub(self, connection: Connection) -> None:
        """Remember, in the transaction of a deletion, that its traces are to go: should this process be killed before
        `scrub` is through, that is done when the store is opened next."""
        self.set_info(connection, SCRUB, uuid.uuid4().hex)

    def scrub(self, patience: float | None = None) -> None:
        """Leave nothing of what was deleted on the disk. Where that fails, as others read for longer than `patience`
        seconds, it is owed until the store is opened.
        """
        with self._scrubbing:  # whoever waits here meanwhile is served by the next one together
            self._scrub(engine.BUSY_SECONDS if patience is None else patience)

    def _scrub(self, patience: float) -> None:
        self.check_open()
        with self.read() as connection:
            owed = self.info(connection, SCRUB)
        if not owed:
            return  # one that began after our deletion is through
        try:
            with self._database.translated():
                self._database.scrub(patience)
        except StoreError as error:
            reason = getattr(error.__cause__, "orig", error)  # without the advice, which is for what was not kept
            raise type(error)(
                f"it is forgotten, but its traces on the disk could not be overwritten yet ({reason}). This is made "
                f"up for when the store is opened next, {self._database.scrub_needs}"
            ) from error
        with self.write() as connection:
            if self.info(connection, SCRUB) == owed:  # else others have deleted something since
                self.set_info(connection, SCRUB, "")

    def integrity(self) -> list[str]:
        """What the database finds wrong with itself."""
        with self.read() as connection:
            return self._database.integrity(connection)

    def bytes_on_disk(self, connection: Connection) -> int:
        """The size of the database, with the log of a file."""
        return self._database.bytes_on_disk(connection)

    def close(self) -> None:
        """Close all connections; a second time does nothing."""
        self._closed = True
        self._database.close()

    def check_open(self) -> None:
        """Raises ClosedError after close()."""
        if self._closed:
            raise ClosedError("this memory is closed: open it again with Memory.open(...)")


def check_namespace(name: str) -> None:
    """Any printable text is a namespace's name; what could not be told apart or stored is not."""
    if not isinstance(name, str) or not name.strip():
        raise InvalidInputError("namespace is empty: give a name such as 'default'")
    if len(name) > MAX_NAMESPACE:
        raise InvalidInputError(f"namespace has {len(name)} characters; at most {MAX_NAMESPACE}")
    if not name.isprintable():  # also lone surrogates
        raise InvalidInputError("namespace holds control characters or lone surrogates: use printable text")
