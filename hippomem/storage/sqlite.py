"""SQLite: a file, or a database in memory.

It runs in WAL mode with foreign keys on, waits for locks, syncs every commit to disk and overwrites what is deleted.
Transactions are begun by us: a write takes the lock at once, so that two writers queue instead of failing.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DatabaseError as SQLDatabaseError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import StaticPool

from hippomem.errors import (
    ForeignStoreError,
    StoreAccessError,
    StoreBusyError,
    StoreError,
    StoreFullError,
)
from hippomem.storage import engine
from hippomem.storage.engine import MEMORY, Database
from hippomem.storage.files import BESIDE, HEADER, HELD, HOLDING, VIEWS, head_of, narrow_views
from hippomem.storage.schema import changes, facts, learning_targets, mentions, statuses, validities, versions

APPLICATION_ID = 0x48504D4D  # "HPMM", in the header of our SQLite files
LET_IN_SECONDS = 0.15  # longer than SQLite pauses between two attempts of one that waits
ROWS = 1_000_000  # that SQLite takes a namespace to have in a table
WRITING = "BEGIN IMMEDIATE"
FAILED_READS = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_FSTAT)
FAILED_SHARING = (
    *(sqlite3.SQLITE_IOERR_LOCK, sqlite3.SQLITE_IOERR_RDLOCK, sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK),
    *(sqlite3.SQLITE_IOERR_UNLOCK, sqlite3.SQLITE_IOERR_SHMLOCK, sqlite3.SQLITE_IOERR_SHMMAP),
)
# kB. In a large store every row touches pages all over the indexes; what does not fit is written twice.
READING_CACHE, WRITING_CACHE = 65536, 131072


class SQLite(Database):
    """A database in a file, made when it is first opened, or in memory."""

    scrub_needs = "if there is space for a copy of it, and for another one where temporary files are (SQLITE_TMPDIR)"

    def __init__(self, url: URL) -> None:
        path = None if url.database == MEMORY else Path(str(url.database))
        self.path = path
        if path is not None:
            with HOLDING:
                _refuse_what_is_not_sqlite(path)
                HELD.add(self)
        how = {"timeout": engine.BUSY_SECONDS, "check_same_thread": False, "factory": _Connected}
        options: dict[str, Any] = {"connect_args": how}
        if path is None:
            options["poolclass"] = StaticPool  # one connection, or every thread would see a database of its own
        else:
            options["max_overflow"] = -1  # threads wait for the database, not for each other's connections
            options["pool_use_lifo"] = True  # the one that wrote last, as it alone still knows its pages
        made = create_engine(url, **options)
        event.listen(made, "connect", _prepare)
        event.listen(made, "begin", _begin)
        event.listen(made, "handle_error", _stay_connected)
        super().__init__(url, made)
        # Python 3.13 warns of connections that nobody has closed: a memory that is dropped closes its own.
        weakref.finalize(self, made.dispose).atexit = False

    @property
    def is_private(self) -> bool:
        return self.url.database == MEMORY

    @property
    def name(self) -> str:
        return str(self.url.database)

    @property
    def identity(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat() if self.path else None
        except OSError:
            return None
        return (found.st_dev, found.st_ino) if found else None

    def exists(self) -> bool:
        return self.path is None or self.path.exists()

    def close(self) -> None:
        super().close()
        with HOLDING:
            HELD.discard(self)

    def views(self, store_id: str) -> Path | None:  # noqa: ARG002 - they lie beside it
        if self.path is None:
            return None
        folder = self.path.with_name(self.path.name + VIEWS)
        with suppress(OSError):  # of somebody else: nothing is written there, then
            narrow_views(folder)
        return folder

    def reading(self) -> Connection:
        return self.engine.connect()

    def writing(self) -> Connection:
        return self.engine.connect().execution_options(hippomem_begin=WRITING)

    def check_ownership(self, connection: Connection) -> None:
        owner = connection.execute(text("PRAGMA application_id")).scalar()
        if owner not in (0, APPLICATION_ID):
            raise ForeignStoreError(f"this SQLite file belongs to another application (id {owner}); give another path")

    def claim(self, connection: Connection) -> None:
        connection.execute(text(f"PRAGMA application_id = {APPLICATION_ID}"))
        connection.exec_driver_sql("ANALYZE store_info")  # makes the table of statistics
        connection.exec_driver_sql("DELETE FROM sqlite_stat1")
        connection.exec_driver_sql("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)", list(_statistics()))
        connection.exec_driver_sql("ANALYZE sqlite_master")  # reads it

    def integrity(self, connection: Connection) -> list[str]:
        found = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check(20)")) if row[0] != "ok"]
        found += [f"foreign key: {tuple(row)}" for row in connection.execute(text("PRAGMA foreign_key_check"))]
        connection.exec_driver_sql("PRAGMA shrink_memory")  # it has read all pages, which are not needed again
        return found

    def scrub(self, patience: float) -> None:
        """It takes about 5 ms a megabyte, and lets others write meanwhile.

        It is not enough that SQLite zeroes what it deletes: as pages fill and empty, rows move from one to another and
        leave copies in the gaps. So the file is written anew.
        """
        if self.path is None:
            return
        with self.engine.connect().execution_options(hippomem_begin=None) as connection:
            connection.exec_driver_sql("PRAGMA temp_store = FILE")  # the copy may be larger than the memory there is
            try:
                connection.exec_driver_sql("VACUUM")
            finally:
                connection.exec_driver_sql("PRAGMA temp_store = MEMORY")
            # What empties the log holds the write lock while it waits for readers, one of which may wait for that lock;
            # and where another connection empties it just now, SQLite does not wait at all. So it is tried again and
            # again.
            connection.exec_driver_sql("PRAGMA busy_timeout = 50")
            try:
                deadline = time.monotonic() + patience
                while connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one():
                    if time.monotonic() > deadline:
                        raise StoreBusyError(f"{self.name}: others have been reading for over {patience:.0f} s")
                    time.sleep(LET_IN_SECONDS)
            finally:
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(engine.BUSY_SECONDS * 1000)}")

    def tidy(self) -> None:
        """Move what is in the log to its place, so that the log's space, many times what it holds, can be used again.

        SQLite does so when the log is large, but not where the disk was full before that. Readers are not waited for.
        """
        if self.path is not None:
            with self.engine.connect().execution_options(hippomem_begin=None) as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").close()

    def bytes_on_disk(self, connection: Connection) -> int:  # noqa: ARG002 - the files tell
        if self.path is None:
            return 0
        files = [self.path, self.path.with_name(self.path.name + "-wal")]
        return sum(file.stat().st_size for file in files if file.exists())

    def error(self, error: DBAPIError) -> StoreError:
        message, where = str(error.orig), self.name
        low, code = message.lower(), getattr(error.orig, "sqlite_errorcode", None)
        is_busy = "locked" in low or "busy" in low
        if code in FAILED_SHARING or (is_busy and self.path is not None and not _can_lock(self.path.parent)):
            return StoreAccessError(
                f"{where}: {message}, as its files cannot be locked there, or mapped into memory. Some network drives "
                "know neither: keep it on a disk of this machine"
            )
        if "i/o error" in low and code in FAILED_READS:
            return StoreAccessError(f"{where}: {message} as it was read. See what the system tells of its disk")
        if "full" in low or "i/o error" in low:
            return StoreFullError(f"{where}: {message}. Nothing of this write was kept; free some space and repeat it")
        if is_busy:
            return StoreBusyError(
                f"{where}: another process has been writing for over {engine.BUSY_SECONDS:.0f} s; try again"
            )
        if "unable to open" in low and _is_out_of_handles():
            return StoreAccessError(
                f"{where}: {message}, as too many are open: close some memories, or raise the limit (ulimit -n)"
            )
        if "readonly" in low or "read-only" in low or "unable to open" in low or "permission" in low:
            return StoreAccessError(f"{where}: {message}. Check that its folder exists, and that you may write to both")
        if any(sign in low for sign in ("not a database", "malformed", "unsupported file format", "could not decode")):
            return ForeignStoreError(f"{where}: {message}. It is damaged or not a hippomem database")
        if isinstance(error, (OperationalError, InterfaceError, SQLDatabaseError)):
            return StoreError(f"{where}: {message}")
        return StoreError(f"{where}: {error}")

    @contextmanager
    def made_whole(self) -> Iterator[None]:
        new = self.path if self.path is not None and not os.path.lexists(self.path) else None
        try:
            yield
        except BaseException:
            if new is not None and os.path.lexists(new):
                _remove(new)
            raise


class _Connected(sqlite3.Connection):
    """A connection that ends its statements with the transaction that it rolls back.

    An open one goes on to read what there was at its moment, and so does its connection, which can write no more once
    others have. After an interrupt, or an error among its rows, it is open for as long as anybody keeps the traceback.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cursors: weakref.WeakSet[sqlite3.Cursor] = weakref.WeakSet()

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        made = super().cursor(*args, **kwargs)
        self._cursors.add(made)
        return made

    def rollback(self) -> None:
        for cursor in list(self._cursors):
            cursor.close()
        super().rollback()


def _statistics() -> Iterator[tuple[str, str, str]]:
    """(table, index, rows for each value of none, one, two … of its columns).

    SQLite knows nothing of how many rows a namespace has, and would look for a name among all its mentions rather than
    in the index. What it is told is a guess, and the same for all: so plans do not depend on what is remembered.
    """
    for table in (changes, mentions, facts, versions, statuses, validities, learning_targets):
        rows = f"{ROWS} {ROWS}"
        if len(table.primary_key.columns) > 1:  # then its key is an index, too, which goes by the table's name
            yield table.name, table.name, rows + " 10" * (len(table.primary_key.columns) - 2) + " 1"
        yield from ((table.name, str(index.name), f"{rows} 10") for index in table.indexes)


def _remove(path: Path) -> None:
    """Remove a database with what lies beside it, unless others have opened it meanwhile: then it is theirs as well."""
    if sys.platform == "win32":  # which removes no file that others have open
        with suppress(OSError):
            for ending in ("", *BESIDE):
                path.with_name(path.name + ending).unlink(missing_ok=True)
        return
    with suppress(sqlite3.Error, OSError), closing(sqlite3.connect(path, timeout=0)) as connection:
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):  # else the disk is too full to tell, and for others to write
                return
        for ending in ("", *BESIDE):
            path.with_name(path.name + ending).unlink(missing_ok=True)


def _refuse_what_is_not_sqlite(path: Path) -> None:
    try:
        mode = _mode(path)
        if stat.S_ISDIR(mode):
            raise StoreAccessError(f"{path} is a folder: give the path of a file, such as {path / 'agent.db'}")
        if not stat.S_ISDIR(_mode(path.parent)):
            raise StoreAccessError(f"the folder {path.parent} does not exist: create it first")
        if not mode:
            return
        if not stat.S_ISREG(mode):  # a pipe would be waited for, a device written to
            raise StoreAccessError(f"{path} is not a regular file: give the path of a file")
        head = head_of(path)
    except OSError as error:
        advice = "check that you may read and write it, and its folder"
        raise StoreAccessError(f"{path} cannot be read: {error.strerror}; {advice}") from error
    if head and head != HEADER:
        raise ForeignStoreError(f"{path} is not a database: give the path of a hippomem database, or of a new file")


def _mode(path: Path) -> int:
    """What is at a path, 0 where nothing is. Raises OSError where we may not look: from Python 3.14 on, `Path.exists`
    and its like take that for nothing, and a database in a closed folder would be said not to be there."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _is_out_of_handles() -> bool:
    """Whether this process, or the machine, can open no further file. SQLite does not say why it could not."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    return False


def _can_lock(folder: Path) -> bool:
    """Whether files in a folder can be locked. Where they cannot, SQLite takes it for a lock of somebody else."""
    if sys.platform == "win32":
        return True
    import fcntl

    with suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(engine.BUSY_SECONDS * 1000)}")
    if _is_ours_or_new(cursor):
        _write_ahead(cursor)
    for pragma in (
        "synchronous = FULL",  # an acknowledged write survives a power cut, not only a crash
        "fullfsync = ON",  # on macOS, where a sync without it leaves it to the disk when to write
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
    deadline = time.monotonic() + engine.BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


def _stay_connected(failed: ExceptionContext) -> None:
    """An interrupt costs no connection. One in memory would be lost with all that it holds; one to a file, closed amid
    a transaction, keeps its locks while anybody knows of a statement, as the traceback does that a notebook keeps."""
    if not isinstance(failed.original_exception, Exception):
        failed.is_disconnect = False


def _begin(connection: Connection) -> None:
    begin = connection.get_execution_options().get("hippomem_begin", "BEGIN")
    if begin == WRITING:
        connection.exec_driver_sql(f"PRAGMA cache_size = -{WRITING_CACHE}")
    if begin is not None:
        connection.exec_driver_sql(begin)
