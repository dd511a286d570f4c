"""One engine for each kind of database, and all that differs between them.

SQLite runs in WAL mode with foreign keys on, waits for locks, syncs every commit to disk and overwrites what is
deleted. Transactions are begun by us: a write takes the lock at once, so that two writers queue instead of failing.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

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
LET_IN_SECONDS = 0.15  # longer than SQLite pauses between two attempts of one that waits
MEMORY = ":memory:"
HEADER, LOG_HEADERS = b"SQLite format 3\x00", (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
BESIDE = ("-wal", "-shm", "-journal")  # after a database's name: what lies beside it
WRITING = "BEGIN IMMEDIATE"
# kB. In a large store every row touches pages all over the indexes; what does not fit is written twice.
READING_CACHE, WRITING_CACHE = 65536, 131072
_engines: WeakSet[Engine] = WeakSet()  # of files


def parse(db: str | Path) -> URL:
    """The URL of a database given as a path, ":memory:" or a URL. Raises InvalidInputError."""
    name = str(db)
    if not name.strip() or "\x00" in name:
        raise InvalidInputError("db is empty or holds a NUL character: give a path such as agent.db, or a URL")
    if "://" not in name:
        return URL.create("sqlite", database=name if name == MEMORY else _resolved(name))
    try:
        url = make_url(name)
    except ArgumentError as error:
        raise InvalidInputError(f"db {name!r} is neither a path nor a database URL: {error}") from error
    if url.get_backend_name() != "sqlite":
        raise InvalidInputError(f"db {url.get_backend_name()!r}: this version stores in SQLite; give a path")
    if url.database in (None, "", MEMORY):
        return URL.create("sqlite", database=MEMORY)
    return URL.create("sqlite", database=_resolved(str(url.database)))


def _resolved(name: str) -> str:
    try:
        return str(Path(name).expanduser().resolve())
    except RuntimeError as error:  # a link to itself, or ~somebody who is not there
        raise InvalidInputError(f"db {name!r} leads nowhere: {error}") from error


def file_of(url: URL) -> Path | None:
    """The file behind a database, None where there is none."""
    return None if url.database in (None, MEMORY) else Path(str(url.database))


def identity(url: URL) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None where there is none."""
    path = file_of(url)
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found else None


def connect(url: URL) -> Engine:
    """An engine for `url`. Nothing is opened yet, but a file that cannot be ours is refused."""
    path = file_of(url)
    if path is not None:
        _refuse_what_is_not_sqlite(path)
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_SECONDS, "check_same_thread": False}}
    if path is None:
        options["poolclass"] = StaticPool  # one connection, or every thread would see a database of its own
    else:
        options["max_overflow"] = -1  # threads wait for the database, not for each other's connections
    engine = create_engine(url, **options)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    if path is not None:
        _engines.add(engine)
    return engine


def _close_what_is_idle() -> None:
    """Before a fork. A child has its parent's connections without their locks, which SQLite does not notice: where the
    parent closes the database, as its last user, the log is deleted, and with it all that the child writes later.
    """
    for engine in list(_engines):
        engine.dispose()  # both connect again


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_what_is_idle)


def replaceable(path: Path) -> Path:
    """The file that is to be replaced where `path` is written: what a link leads to. Raises InvalidInputError where
    that is a device or a pipe, which would be gone, or a database or a part of one that lies beside it."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InvalidInputError(f"{path} is a device or a pipe: give the name of a file, which is written as a whole")
    name = os.path.realpath(path)
    beside = (name.removesuffix(ending) for ending in BESIDE if name.endswith(ending))
    if _head(name).startswith((HEADER, *LOG_HEADERS)) or any(_head(other) == HEADER for other in beside):
        raise InvalidInputError(f"{path} is a database, or a part of one: give the name of another file")
    return Path(name)


def _head(file: str | Path) -> bytes:
    path = Path(file)
    if not path.is_file():  # a pipe would be waited for
        return b""
    with path.open("rb") as opened:
        return opened.read(len(HEADER))


@contextmanager
def made_whole(url: URL) -> Iterator[None]:
    """Where what makes a new database fails, that is removed again. One that was there before is left alone."""
    path = file_of(url)
    new = path if path is not None and not os.path.lexists(path) else None
    try:
        yield
    except BaseException:
        if new is not None and os.path.lexists(new):
            _remove(new)
        raise


def _remove(path: Path) -> None:
    """Remove a database with what lies beside it, unless others have opened it meanwhile: then it is theirs as well."""
    with suppress(sqlite3.Error, OSError), closing(sqlite3.connect(path, timeout=0)) as connection:
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):  # else the disk is too full to tell, and for others to write
                return
        for ending in ("", *BESIDE):
            path.with_name(path.name + ending).unlink(missing_ok=True)


def write_transaction(engine: Engine) -> Connection:
    """A connection whose transaction takes the write lock when it begins."""
    return engine.connect().execution_options(hippomem_begin=WRITING)


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


def scrub(engine: Engine, patience: float) -> None:
    """After a deletion: leave nothing of it in the file or its log, which takes about 5 ms a megabyte.

    It is not enough that SQLite zeroes what it deletes: as pages fill and empty, rows move from one to another and
    leave copies in the gaps. So the file is written anew. Waits for readers of an earlier state, lets others write
    meanwhile, and raises StoreBusyError where that takes more than `patience` seconds.
    """
    with engine.connect().execution_options(hippomem_begin=None) as connection:
        connection.exec_driver_sql("PRAGMA temp_store = FILE")  # the copy may be larger than the memory there is
        try:
            connection.exec_driver_sql("VACUUM")
        finally:
            connection.exec_driver_sql("PRAGMA temp_store = MEMORY")
        # What empties the log holds the write lock while it waits for readers, one of which may wait for that lock; and
        # where another connection empties it just now, SQLite does not wait at all. So it is tried again and again.
        connection.exec_driver_sql("PRAGMA busy_timeout = 50")
        try:
            deadline = time.monotonic() + patience
            while connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one():
                if time.monotonic() > deadline:
                    raise StoreBusyError(f"{engine.url.database}: others have been reading for over {patience:.0f} s")
                time.sleep(LET_IN_SECONDS)
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")


def tidy(engine: Engine) -> None:
    """Move what is in the log to its place, so that the log's space, many times what it holds, can be used again.

    SQLite does so when the log is large, but not where the disk was full before that. Readers are not waited for.
    """
    with engine.connect().execution_options(hippomem_begin=None) as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").close()


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
    except UnicodeDecodeError as error:  # of what the database quotes from itself in an error
        raise ForeignStoreError(f"{url.database}: {error}. It is damaged or not a hippomem database") from error


def _translate(error: DBAPIError, url: URL) -> StoreError:
    message = str(error.orig)
    where = url.database or str(url)
    low = message.lower()
    if "full" in low or "i/o error" in low:
        return StoreFullError(f"{where}: {message}. Nothing of this write was kept; free some space and repeat it")
    if "locked" in low or "busy" in low:
        return StoreBusyError(f"{where}: another process has been writing for over {BUSY_SECONDS:.0f} s; try again")
    if "readonly" in low or "read-only" in low or "unable to open" in low or "permission" in low:
        return StoreAccessError(f"{where}: {message}. Check that its folder exists, and that you may write to both")
    if any(sign in low for sign in ("not a database", "malformed", "unsupported file format", "could not decode")):
        return ForeignStoreError(f"{where}: {message}. It is damaged or not a hippomem database")
    if isinstance(error, (OperationalError, InterfaceError, SQLDatabaseError)):
        return StoreError(f"{where}: {message}")
    return StoreError(f"{where}: {error}")


def _refuse_what_is_not_sqlite(path: Path) -> None:
    try:
        if path.is_dir():
            raise StoreAccessError(f"{path} is a folder: give the path of a file, such as {path / 'agent.db'}")
        if not path.parent.is_dir():
            raise StoreAccessError(f"the folder {path.parent} does not exist: create it first")
        if not path.exists():
            return
        if not path.is_file():  # a pipe would be waited for, a device written to
            raise StoreAccessError(f"{path} is not a regular file: give the path of a file")
        head = _head(path)
    except OSError as error:
        advice = "check that you may read and write it, and its folder"
        raise StoreAccessError(f"{path} cannot be read: {error.strerror}; {advice}") from error
    if head and head != HEADER:
        raise ForeignStoreError(f"{path} is not a database: give the path of a hippomem database, or of a new file")


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    if _is_ours_or_new(cursor):
        _write_ahead(cursor)
    for pragma in (
        "synchronous = FULL",  # an acknowledged write survives a power cut, not only a crash
        "foreign_keys = ON",
        "secure_delete = ON",  # forgotten means overwritten
        "journal_size_limit = 67108864",
        "temp_store = MEMORY",
        f"cache_size = -{READING_CACHE}",
    ):
        cursor.execute(f"PRAGMA {pragma}").fetchall()
    cursor.close()


def _is_ours_or_new(cursor: sqlite3.Cursor) -> bool:
    """False for a database of another program, in which nothing is to be changed, not even the header."""
    (owner,) = cursor.execute("PRAGMA application_id").fetchone()
    (tables,) = cursor.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(owner == APPLICATION_ID or (owner == 0 and tables == 0))


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Switch to WAL. Where others open the same new database at this moment, SQLite fails without waiting."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


def _begin(connection: Connection) -> None:
    begin = connection.get_execution_options().get("hippomem_begin", "BEGIN")
    if begin == WRITING:
        connection.exec_driver_sql(f"PRAGMA cache_size = -{WRITING_CACHE}")
    if begin is not None:
        connection.exec_driver_sql(begin)
