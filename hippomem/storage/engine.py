"""A database: its connections, and all in which kinds of databases differ. Each kind has a module of its own.

Whichever it is, a read is a transaction that sees one moment, and writers take turns: a write holds the one write lock
from its beginning to its end. So numbers of the log grow in the order in which they can be seen, and nothing else here
has to know about isolation.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from weakref import WeakSet

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from hippomem.errors import ForeignStoreError, HippomemError, InvalidInputError

BUSY_SECONDS = 60.0
MEMORY = ":memory:"
# What nothing raises over rows that are as they were written.
UNLIKELY = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError)
_engines: WeakSet[Engine] = WeakSet()


class Database(ABC):
    """One database, whose connections `engine` makes. Nothing is opened yet, but what cannot be ours is refused."""

    scrub_needs: str  # what scrub() takes to succeed, for people to read
    longest_name: int | None = None  # bytes that a source or a session surely may have, None: any number

    def __init__(self, url: URL, engine: Engine) -> None:
        self.url = url
        self.engine = engine
        if not self.is_private:
            _engines.add(engine)

    @property
    def is_private(self) -> bool:
        """Whether it lies in memory: then there is one connection, which is the database, and threads take turns."""
        return False

    @property
    @abstractmethod
    def name(self) -> str:
        """What people know it by; without a password."""

    @property
    def identity(self) -> tuple[int, int] | None:
        """What tells a file from another one of the same name; None where there is none."""
        return None

    @abstractmethod
    def exists(self) -> bool:
        """Whether it is there already, so that opening would make none."""

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    @abstractmethod
    def views(self, store_id: str) -> Path | None:
        """The folder for what is computed from it, None where it is not kept."""

    @abstractmethod
    def reading(self) -> Connection:
        """A connection whose transaction sees one moment."""

    @abstractmethod
    def writing(self) -> Connection:
        """A connection whose transaction takes the write lock when it begins."""

    @abstractmethod
    def check_ownership(self, connection: Connection) -> None:
        """Raise ForeignStoreError where another application has marked it as its own, StoreAccessError where it cannot
        hold what we write."""

    @abstractmethod
    def claim(self, connection: Connection) -> None:
        """Mark a database as ours; after it was made, and after it was changed to a later form."""

    @abstractmethod
    def integrity(self, connection: Connection) -> list[str]:
        """What the database itself finds wrong; empty when all is well."""

    @abstractmethod
    def scrub(self, patience: float) -> None:
        """After a deletion: leave nothing of it in the database's files. Waits for readers of an earlier state, and
        raises StoreBusyError where that takes more than `patience` seconds."""

    @abstractmethod
    def tidy(self) -> None:
        """Before a write, where a disk was full: let space that is held for nothing be used again."""

    @abstractmethod
    def bytes_on_disk(self, connection: Connection) -> int:
        """The size of all that is in it, 0 where it lies in memory."""

    @abstractmethod
    def error(self, error: DBAPIError) -> HippomemError:
        """What a driver raised as an error of ours, with what to do about it."""

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what a driver raises into hippomem's errors, and whatever comes of rows that are not what was written:
        SQLite takes any value in any column, and a row that others lead to may be missing."""
        try:
            yield
        except DBAPIError as error:
            raise self.error(error) from error
        except (UnicodeDecodeError, JSONDecodeError) as error:  # of what it holds, or quotes from itself in an error
            raise ForeignStoreError(f"{self.name}: {error}. It is damaged or not a hippomem database") from error
        except HippomemError:
            raise
        except UNLIKELY as error:
            told = f"{type(error).__name__}: {error}, as if it were damaged: run hippomem doctor"
            raise ForeignStoreError(f"{self.name}: {told}, and where it finds something, put a backup back") from error

    @contextmanager
    def made_whole(self) -> Iterator[None]:
        """Where what makes a new database fails, that is removed again. One that was there before is left alone."""
        yield


def database(db: str | Path) -> Database:
    """The database at a path, ":memory:" or a URL. Raises InvalidInputError where it is none of these,
    MissingDependencyError where its driver is not installed, and the StoreError family."""
    url = parse(db)
    if url.get_backend_name() == "sqlite":
        from hippomem.storage.sqlite import SQLite

        return SQLite(url)
    from hippomem.storage.postgres import Postgres

    return Postgres(url)


def parse(db: str | Path) -> URL:
    """The URL of a database given as a path, ":memory:" or a URL. Raises InvalidInputError."""
    name = str(db)
    if not name.strip() or "\x00" in name:
        raise InvalidInputError("db is empty or holds a NUL character: give a path such as agent.db, or a URL")
    if "://" not in name:
        return URL.create("sqlite", database=name if name == MEMORY else _resolved(name))
    kind = name.split("://")[0].lower()
    try:
        url = make_url(kind + name[len(kind) :])
    except (ArgumentError, ValueError) as error:  # which quote it, with its password
        raise InvalidInputError(f"db is no database URL that can be read ({kind}://…)") from error
    if "@" in (url.host or ""):  # the end of a password, which would be told as the host's name
        raise InvalidInputError(f"db ({kind}://…): an @ in a user's name or password is written %40")
    backend = "postgresql" if kind == "postgres" else url.get_backend_name()
    if backend == "postgresql":
        if "+" in kind and url.get_driver_name() != "psycopg":
            raise InvalidInputError(f"db {kind!r}: hippomem talks to Postgres by psycopg; give postgresql://…")
        return url.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise InvalidInputError(f"db {backend!r}: hippomem stores in SQLite or Postgres; give a path or postgresql://…")
    if url.database in (None, "", MEMORY):
        return URL.create("sqlite", database=MEMORY)
    return URL.create("sqlite", database=_resolved(str(url.database)))


def _resolved(name: str) -> str:
    try:
        path = Path(name).expanduser().resolve()
        # From Python 3.13 on, resolve() leaves a link to itself as it is, and raises nothing.
        if os.path.islink(path):  # noqa: PTH114 - as does this, whatever the name
            raise RuntimeError("Symlink loop")
    except RuntimeError as error:  # or ~somebody who is not there
        raise InvalidInputError(f"db {name!r} leads nowhere: {error}") from error
    return str(path)


def _close_what_is_idle() -> None:
    """Before a fork. A child has its parent's connections: of a server it would read the parent's answers; of a file it
    has them without their locks, which SQLite does not notice: where the parent closes the database, as its last user,
    the log is deleted, and with it all that the child writes later.
    """
    for engine in list(_engines):
        engine.dispose()  # both connect again


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_what_is_idle)
