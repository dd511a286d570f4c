"""Schemas of the Postgres that tests start; with HIPPOMEM_TEST_DB=postgres one in the place of every file.

The server's address is handed on in the environment, so that processes which a test starts find it, too.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError

from hippomem.storage import engine

DATABASE = "TEST_POSTGRES_DATABASE"  # its URL; not among the names that tests of settings take away
INSTEAD = os.environ.get("HIPPOMEM_TEST_DB") == "postgres"
_made: dict[str, str] = {}


def schema_of(name: object) -> str:
    """The URL of a schema, made when new, by whatever names it."""
    named = str(name)
    if named not in _made:
        database = os.environ[DATABASE]
        schema = f"S {hashlib.blake2b(named.encode(), digest_size=8).hexdigest()}"
        option = quote(f'-csearch_path="{schema}"'.replace(" ", "\\ "))  # a name that has to be quoted
        made = create_engine(make_url(database).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
        with suppress(IntegrityError), made.connect() as connection:  # two at once: then the other one makes it
            connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
        made.dispose()
        _made[named] = f"{database}&options={option}"
    return _made[named]


def files_of(name: object) -> list[Path]:
    """The files of a schema's tables and indexes, with all that is in them, and of its views."""
    url = make_url(schema_of(name))
    made = create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with made.connect() as connection:
        connection.execute(text("CHECKPOINT"))
        stems = list(connection.execute(_FILES).scalars())
        store = connection.execute(text("SELECT value FROM store_info WHERE key = 'store_id'")).scalar_one()
    made.dispose()
    folder, views = Path(str(url.query["host"])), Path(os.environ["XDG_CACHE_HOME"], "hippomem", store)
    tables = [file for stem in stems for file in folder.glob(f"{stem}*")]
    assert tables
    return tables + [file for file in views.rglob("*") if file.is_file()]


_FILES = text(
    "WITH tables AS (SELECT oid, reltoastrelid FROM pg_class "
    "WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND relkind = 'r'), "
    "kept AS (SELECT oid FROM tables UNION SELECT reltoastrelid FROM tables WHERE reltoastrelid <> 0) "
    "SELECT pg_relation_filepath(oid) FROM kept "
    "UNION SELECT pg_relation_filepath(indexrelid) FROM pg_index WHERE indrelid IN (SELECT oid FROM kept)"
)


def _parsed(db: str | Path) -> URL:
    url = parse(db)
    is_file = url.get_backend_name() == "sqlite" and url.database != engine.MEMORY
    return parse(schema_of(url.database)) if is_file else url


parse = engine.parse
if INSTEAD:
    engine.parse = _parsed
