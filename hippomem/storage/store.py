"""The store: transactions on one database, the names of its namespaces, what it remembers about its encoder."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, insert, select, update

from hippomem.errors import (
    ClosedError,
    EncoderMismatchError,
    InvalidInputError,
    StoreAccessError,
    StoreError,
    StoreFullError,
)
from hippomem.storage import engine as dialect
from hippomem.storage import migrate
from hippomem.storage.schema import HEAD, namespaces, store_info

MAX_NAMESPACE = 255  # characters
OPENING_SECONDS = 2.0  # for those who read, before what another process owes is left to the next opening
SCRUB = "scrub"  # which deletion was the last one, until its traces are off the disk


class Store:
    """One database. All reads and writes go through `read()` and `write()`: one transaction each.

    Raises the StoreError family; see hippomem.errors.
    """

    def __init__(self, db: str | Path) -> None:
        self.url = dialect.parse(db)
        self._engine = dialect.connect(self.url)
        self._closed = False
        self._untidy = self.path is not None  # or the process before us found the disk full
        self._namespaces: dict[str, int] = {}
        self._turn = threading.RLock()
        self._running: Connection | None = None
        self._file: tuple[int, int] | None = None
        try:
            self._prepare()
            self._file = dialect.identity(self.url)
            with self.read() as connection:
                self.id = self.info(connection, "store_id") or ""
                unfinished = self.info(connection, SCRUB)
            if unfinished:  # a process ended between forgetting and cleaning up
                with suppress(StoreError):
                    self.scrub(OPENING_SECONDS)
        except BaseException:
            self._engine.dispose()
            raise

    def _prepare(self) -> None:
        with self.read() as connection:
            dialect.check_ownership(connection)
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
                dialect.claim(connection)
                self.set_info(connection, "store_id", uuid.uuid4().hex)

    @property
    def path(self) -> Path | None:
        """The database's file, None where it lies in memory."""
        return dialect.file_of(self.url)

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._closed

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one moment of the database, whatever others write meanwhile."""
        with self._transaction(self._engine.connect) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock; all of it is kept, or nothing."""
        self._check_open()
        if self._untidy:
            self._untidy = False
            with suppress(StoreError), dialect.translated(self.url):
                dialect.tidy(self._engine)
        try:
            with self._transaction(lambda: dialect.write_transaction(self._engine)) as connection:
                yield connection
        except StoreFullError:
            self._untidy = self.path is not None
            raise

    @contextmanager
    def _transaction(self, connect: Callable[[], Connection]) -> Iterator[Connection]:
        self._check_open()
        if self.path is not None:
            if self._file is not None and dialect.identity(self.url) != self._file:  # what is written would be lost
                raise StoreAccessError(
                    f"{self.path} was moved, deleted or replaced while it was open: close this memory and open it "
                    f"again. Where a backup is put back, {self.path.name}-wal and {self.path.name}-shm go first"
                )
            with dialect.translated(self.url), connect() as connection, connection.begin():
                yield connection
            return
        # In memory there is one connection: threads take turns, and a transaction inside another is a part of it.
        with self._turn:
            if self._running is not None:
                yield self._running
                return
            with dialect.translated(self.url), connect() as connection, connection.begin():
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
            number = connection.execute(query).scalar()
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
                f"Open it with that encoder, or encode everything anew: hippomem reencode --db {self.path or ''} with "
                "HIPPOMEM_ENCODER, and HIPPOMEM_ENCODER_PRECISION where it is int8, set to the new encoder"
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

    def owe_scrub(self, connection: Connection) -> None:
        """Remember, in the transaction of a deletion, that its traces are to go: should this process be killed before
        `scrub` is through, that is done when the store is opened next."""
        self.set_info(connection, SCRUB, uuid.uuid4().hex)

    def scrub(self, patience: float | None = None) -> None:
        """Leave nothing of what was deleted on the disk. Where that fails, as others read for longer than `patience`
        seconds, it is owed until the store is opened.
        """
        self._check_open()
        if self.path is None:
            return
        with self.read() as connection:
            owed = self.info(connection, SCRUB)
        try:
            with dialect.translated(self.url):
                dialect.scrub(self._engine, dialect.BUSY_SECONDS if patience is None else patience)
        except StoreError as error:
            reason = getattr(error.__cause__, "orig", error)  # without the advice, which is for what was not kept
            raise type(error)(
                f"it is forgotten, but its traces on the disk could not be overwritten yet ({reason}). This is made "
                "up for when the store is opened next, if there is space for a copy of it, and for another one where "
                "temporary files are (SQLITE_TMPDIR)"
            ) from error
        with self.write() as connection:
            if self.info(connection, SCRUB) == owed:  # else others have deleted something since
                self.set_info(connection, SCRUB, "")

    def integrity(self) -> list[str]:
        """What the database finds wrong with itself."""
        with self.read() as connection:
            return dialect.integrity(connection)

    def bytes_on_disk(self) -> int:
        """The size of the database and its log."""
        return dialect.bytes_on_disk(self.url)

    def close(self) -> None:
        """Close all connections; a second time does nothing."""
        self._closed = True
        self._engine.dispose()

    def _check_open(self) -> None:
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
