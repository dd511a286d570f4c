"""One engine for each kind of database, and all that differs between them.

SQLite runs in WAL mode with foreign keys on, waits for locks, syncs every commit to disk and overwrites what is
deleted. Transactions are begun by us: a write takes the lock at once, so that two writers queue instead of failing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import DatabaseError as SQLDatabaseError
from sqlalchemy.pool import StaticPool

from hippomem.errors import (
    ForeignStoreError,
    InvalidInputError,
    StoreAccessError,
    StoreBusyError,
    StoreError,
    StoreFullError,
)

APPLICATION_ID = 0x48504D4D  # "HPMM", in the header of our SQLite files
BUSY_SECONDS = 60.0
MEMORY = ":memory:"


def parse(db: str | Path) -> URL:
    """The URL of a database given as a path, ":memory:" or a URL. Raises InvalidInputError."""
    name = str(db)
    if not name.strip() or "\x00" in name:
        raise InvalidInputError("db is empty or holds a NUL character: give a path such as agent.db, or a URL")
    if "://" not in name:
        return URL.create("sqlite", database=name if name == MEMORY else str(Path(name).expanduser().resolve()))
    try:
        url = make_url(name)
    except ArgumentError as error:
        raise InvalidInputError(f"db {name!r} is neither a path nor a database URL: {error}") from error
    if url.get_backend_name() != "sqlite":
        raise InvalidInputError(f"db {url.get_backend_name()!r}: this version stores in SQLite; give a path")
    if url.database in (None, "", MEMORY):
        return URL.create("sqlite", database=MEMORY)
    return URL.create("sqlite", database=str(Path(str(url.database)).resolve()))


def file_of(url: URL) -> Path | None:
    """The file behind a database, None where there is none."""
    return None if url.database in (None, MEMORY) else Path(str(url.database))


def connect(url: URL) -> Engine:
    """An engine for `url`. Nothing is opened yet, but a file that cannot be ours is refused."""
    path = file_of(url)
    if path is not None:
        _refuse_what_is_not_sqlite(path)
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_SECONDS, "check_same_thread": False}}
    if path is None:
        options["poolclass"] = StaticPool  # one connection, or every thread would see a database of its own
    engine = create_engine(url, **options)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def write_transaction(engine: Engine) -> Connection:
    """A connection whose transaction takes the write lock when it begins."""
    return engine.connect().execution_options(hippomem_write=True)


def claim(connection: Connection) -> None:
    """Mark a new database as ours, in the file's header."""
    connection.execute(text(f"PRAGMA application_id = {APPLICATION_ID}"))


def check_ownership(connection: Connection) -> None:
    """Raise ForeignStoreError where the file's header names another application."""
    owner = connection.execute(text("PRAGMA application_id")).scalar()
    if owner not in (0, APPLICATION_ID):
        raise ForeignStoreError(f"this SQLite file belongs to another application (id {owner}); give another path")


def integrity(connection: Connection) -> list[str]:
    """What the database itself finds wrong; empty when all is well."""
    found = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check(20)")) if row[0] != "ok"]
    return found + [f"foreign key: {tuple(row)}" for row in connection.execute(text("PRAGMA foreign_key_check"))]


def scrub(engine: Engine) -> None:
    """After a deletion: leave nothing of it in the write-ahead log. Waits for no reader; theirs is done later."""
    with engine.connect() as connection, connection.begin():
        pass
    raw = engine.raw_connection()
    try:
        raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        raw.close()


def bytes_on_disk(url: URL) -> int:
    """The size of the database with its log, 0 where it lies in memory."""
    path = file_of(url)
    if path is None:
        return 0
    files = [path, path.with_name(path.name + "-wal")]
    return sum(file.stat().st_size for file in files if file.exists())


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turn what a driver raises into hippomem's errors, with what to do about it."""
    try:
        yield
    except DBAPIError as error:
        raise _translate(error, url) from error


def _translate(error: DBAPIError, url: URL) -> StoreError:
    message = str(error.orig)
    where = url.database or str(url)
    low = message.lower()
    if "full" in low or "i/o error" in low:
        return StoreFullError(f"{where}: {message}. Nothing of this write was kept; free some space and repeat it")
    if "locked" in low or "busy" in low:
        return StoreBusyError(f"{where}: another process has been writing for over {BUSY_SECONDS:.0f} s; try again")
    if "readonly" in low or "read-only" in low or "unable to open" in low or "permission" in low:
        return StoreAccessError(f"{where}: {message}. Check that the folder exists and that you may write there")
    if "not a database" in low or "malformed" in low or "unsupported file format" in low:
        return ForeignStoreError(f"{where}: {message}. It is damaged or not a hippomem database")
    if isinstance(error, (OperationalError, InterfaceError, SQLDatabaseError)):
        return StoreError(f"{where}: {message}")
    return StoreError(f"{where}: {error}")


def _refuse_what_is_not_sqlite(path: Path) -> None:
    if path.is_dir():
        raise StoreAccessError(f"{path} is a folder: give the path of a file, such as {path / 'agent.db'}")
    if not path.parent.is_dir():
        raise StoreAccessError(f"the folder {path.parent} does not exist: create it first")
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreAccessError(f"{path} cannot be read: {error.strerror}") from error
    if head and head != b"SQLite format 3\x00":
        raise ForeignStoreError(f"{path} is not a database: give the path of a hippomem database, or of a new file")


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",  # an acknowledged write survives a power cut, not only a crash
        "foreign_keys = ON",
        "secure_delete = ON",  # forgotten means overwritten
        "journal_size_limit = 67108864",
        "temp_store = MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}").fetchall()
    cursor.close()


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("hippomem_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
