"""Postgres, from version 13 on: a memory that several machines share. Its tables lie in the schema that is searched
first.

Writers take turns by an advisory lock that ends with the transaction. Reads are repeatable and read-only.
"""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakSet, WeakValueDictionary

from sqlalchemy import JSON, Connection, Engine, LargeBinary, String, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.types import TypeEngine

from hippomem.errors import (
    ForeignStoreError,
    HippomemError,
    InvalidTextError,
    MissingDependencyError,
    StoreAccessError,
    StoreBusyError,
    StoreError,
    StoreFullError,
)
from hippomem.storage import engine
from hippomem.storage.engine import Database
from hippomem.storage.migrate import revision_of
from hippomem.storage.schema import metadata

OLDEST = 13
LONGEST_ID = 128
CONNECT_SECONDS = 10
KEPT = 20  # idle connections at most: as many as were in use at once
PAUSES = 0.15, 3.0  # seconds, the first one, which doubles, and the longest
LOCK_SECONDS = 1.2  # more than after what the server's own cleaning lets go of a table for others (deadlock_timeout)
LOCKED = "55P03"
# One lock for each schema. What names it must not change: two versions of this program would write at once.
#
# How references are checked, the server plans once for a connection, and where there were few rows then, by any index:
# so it plans anew, or an ingest that goes on would take ever longer.
_WRITE = "SELECT pg_advisory_xact_lock(1213222221, hashtext(current_schema())); DISCARD PLANS"
_PREPARE = (
    "SELECT set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO', false), "
    "set_config('lock_timeout', %s, false), "
    # What was acknowledged is on the disk, whatever the server does for others.
    "CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END"
)
_INVALID = text(
    "SELECT 'constraint ' || conname || ' was not validated' FROM pg_constraint c "
    "JOIN pg_namespace n ON n.oid = c.connamespace WHERE nspname = current_schema() AND NOT convalidated "
    "UNION ALL SELECT 'index ' || relname || ' is not valid' FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = current_schema() AND NOT indisvalid"
)
_SIZE = text(
    "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE nspname = current_schema() AND relkind = 'r'"
)
_WHERE = {"dbname", "host", "hostaddr", "options", "port", "service", "user"}
_BUSY = {LOCKED, "40P01", "40001", "57014"}  # lock time-out, deadlock, conflict, statement time-out
# No code comes with the refusal of a connection, only these words, of a server that speaks English.
_FULL_HOUSE = re.compile("too many (clients|connections)|remaining connection slots")
_DENIED = {"25006", "3D000", "3F000", "42501", "57P01", "57P02", "57P03"}  # read-only, no database, schema, right, …


class Postgres(Database):
    """A schema of a Postgres database."""

    longest_name = 2600  # what is longer no index takes, unless it can be compressed
    scrub_needs = "if there is space for a copy of each table, and nobody reads an earlier state"

    def __init__(self, url: URL) -> None:
        with _SHARING:
            self._shared = _SHARED.get(url) or _Shared(_engine(url))
            _SHARED[url] = self._shared
            self._shared.users.add(self)
        super().__init__(url, self._shared.engine)

    def close(self) -> None:
        with _SHARING:
            self._shared.users.discard(self)
            is_idle = not self._shared.users
        if is_idle:
            self.engine.dispose()

    @property
    def name(self) -> str:
        # Of the options, which may be misspelt passwords as well, only what tells one database from another.
        url = self.url.difference_update_query(self.url.query.keys() - _WHERE)
        return url.set(drivername="postgresql").render_as_string(hide_password=True)

    def exists(self) -> bool:
        try:
            with self.translated(), self.reading() as connection:
                self.check_ownership(connection)
                return revision_of(connection) is not None
        finally:
            self.close()  # who asks may not come to use it

    def views(self, store_id: str) -> Path | None:
        """In the user's cache folder, which no other machine has."""
        try:
            folder = _cache_folder() / "hippomem"
        except RuntimeError:  # a user without a home
            return None
        with suppress(OSError):  # then what is computed is not kept
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / store_id

    def reading(self) -> Connection:
        return self.engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def writing(self) -> Connection:
        # Not repeatable: what a transaction sees would be from before it waited for the lock.
        return self.engine.connect().execution_options(isolation_level="READ COMMITTED", hippomem_begin=_WRITE)

    def check_ownership(self, connection: Connection) -> None:
        asked = "current_setting('server_version_num'), current_setting('server_encoding'), current_schema()"
        version, encoding, schema = connection.execute(text(f"SELECT {asked}")).one()
        if int(version) < OLDEST * 10_000:
            raise StoreAccessError(f"{self.name}: Postgres {version[:-4]} is too old: give one from {OLDEST} on")
        if encoding != "UTF8":
            raise StoreAccessError(f"{self.name} is in {encoding}: give a database made with ENCODING 'UTF8'")
        if schema is None:
            raise StoreAccessError(f"{self.name}: no schema is searched that may be used: CREATE SCHEMA first")

    def claim(self, connection: Connection) -> None:
        """The tables are mark enough. Of what is written in them the server's statistics keep no samples, which would
        outlive it."""
        for table in metadata.sorted_tables:
            if tell := [column.name for column in table.columns if _tells(column.type)]:
                changes = ", ".join(f'ALTER COLUMN "{name}" SET STATISTICS 0' for name in tell)
                connection.exec_driver_sql(f'ALTER TABLE "{table.name}" {changes}')

    def integrity(self, connection: Connection) -> list[str]:
        return list(connection.execute(_INVALID).scalars())

    def scrub(self, patience: float) -> None:
        """Tables are written anew, one after the other; each is locked meanwhile. What the server keeps beside them
        (its log, replicas, backups) is its administrator's."""
        deadline, pause = time.monotonic() + patience, PAUSES[0]
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # While it waits for a table, others wait behind it, one of which may have what it waits for: so it lets
            # them in again and again.
            connection.exec_driver_sql(f"SET lock_timeout = {int(1000 * min(LOCK_SECONDS, patience))}")
            try:
                for table in metadata.sorted_tables:
                    while not self._is_written_anew(connection, table.name):
                        if time.monotonic() > deadline:
                            raise StoreBusyError(f"{self.name}: others have been reading for over {patience:.0f} s")
                        time.sleep(pause)
                        pause = min(2 * pause, PAUSES[1])
            finally:
                if not connection.invalidated:  # else it is lost, which is what is to be told
                    connection.exec_driver_sql(f"SET lock_timeout = {int(1000 * engine.BUSY_SECONDS)}")

    def _is_written_anew(self, connection: Connection, table: str) -> bool:
        """False where others hold the table, or may still see rows that are deleted, which are copied then."""
        warnings, kept = [], 0

        def hear(said: Any) -> None:
            nonlocal kept
            if said.severity_nonlocalized == "WARNING":
                warnings.append(said.message_primary)
            # Who sees them is not always told: a user may not know of the others. How many are still seen is: it is the
            # first number of a detail, in whatever language.
            count = re.search(r"\d+", said.message_detail or "")
            kept += int(count[0]) if count else 0

        driver: Any = connection.connection.dbapi_connection
        driver.add_notice_handler(hear)
        try:
            connection.exec_driver_sql(f'VACUUM (FULL, VERBOSE) "{table}"')
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) == LOCKED:
                return False
            raise
        finally:
            driver.remove_notice_handler(hear)
        if warnings:  # all that it says where the user may not
            raise StoreAccessError(f"{self.name}: {'; '.join(warnings)}. Connect as the tables' owner")
        return not kept

    def tidy(self) -> None:
        """The server does."""

    def bytes_on_disk(self, connection: Connection) -> int:
        return int(connection.execute(_SIZE).scalar() or 0)

    def error(self, error: DBAPIError) -> HippomemError:
        state = getattr(error.orig, "sqlstate", None) or ""
        message = " ".join(str(error.orig).split())
        where = self.name
        if state == "54000":
            return InvalidTextError(f"a source, a session or another name is too long for an index ({message})")
        if state in ("53100", "53200"):
            return StoreFullError(f"{where}: {message}. Nothing of this write was kept; free some space and repeat it")
        if state in _BUSY:
            return StoreBusyError(f"{where}: others use it for too long ({message}); try again")
        if state == "53300" or (not state and _FULL_HOUSE.search(message)):
            return StoreBusyError(f"{where}: {message}. Close connections, or raise max_connections")
        if state.startswith("XX00"):
            return ForeignStoreError(f"{where}: {message}. The database is damaged")
        if error.connection_invalidated or state.startswith("08"):
            return StoreError(
                f"{where}: the connection was lost ({message}). Repeat what was under way: what was kept of it already "
                "is not kept twice"
            )
        if state.startswith("28") or state in _DENIED:
            return StoreAccessError(f"{where}: {message}")
        if not state:  # it was not reached
            return StoreAccessError(f"{where}: {message}")
        return StoreError(f"{where}: {message}")


@dataclass(eq=False, slots=True, weakref_slot=True)
class _Shared:
    """One engine for all memories of this process in one database: a server takes only so many connections."""

    engine: Engine
    users: WeakSet[Postgres] = field(default_factory=WeakSet)


_SHARED: WeakValueDictionary[URL, _Shared] = WeakValueDictionary()
_SHARING = Lock()


def _engine(url: URL) -> Engine:
    arguments: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "application_name": "hippomem"}
    arguments = {name: value for name, value in arguments.items() if name not in url.query}
    arguments["client_encoding"] = "utf8"
    arguments["prepare_threshold"] = None  # a statement that is prepared keeps a plan from when there were few rows
    try:
        # Threads wait for the database, not for each other's connections.
        made = create_engine(url, connect_args=arguments, pool_size=KEPT, max_overflow=-1, pool_pre_ping=True)
    except ImportError as error:
        raise MissingDependencyError("psycopg", "postgres") from error
    event.listen(made, "connect", _prepare)
    event.listen(made, "begin", _begin)
    return made


def _tells(kind: TypeEngine[Any]) -> bool:
    """Whether values of a type may say what is remembered; ids and kinds do not."""
    if isinstance(kind, String):
        return kind.length is None or kind.length > LONGEST_ID
    return isinstance(kind, JSON | LargeBinary)


def _prepare(connection: Any, _record: object) -> None:
    connection.autocommit = True  # or it would be taken back with the first transaction
    connection.execute(_PREPARE, [f"{engine.BUSY_SECONDS}s"])
    connection.autocommit = False


def _begin(connection: Connection) -> None:
    begin = connection.get_execution_options().get("hippomem_begin")
    if begin is not None:
        connection.exec_driver_sql(begin)


def _cache_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
