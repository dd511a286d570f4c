"""Opening a database: is it ours, is it new, is it older than this program (then migrate), is it newer (then refuse).

Migrations are Alembic scripts in `migrations/versions`, one transaction for all that are missing. Alembic itself is
imported only when there is something to migrate: a new database gets the tables that they come to at once.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, text
from sqlalchemy.dialects import registry
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from hippomem.errors import ForeignStoreError, NewerStoreError
from hippomem.storage.schema import HEAD, metadata

SCRIPTS = Path(__file__).parent / "migrations"
# Alembic's own, which it would make.
_REVISION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def revision_of(connection: Connection) -> str | None:
    """The database's revision, None where it is empty. Raises where it is not hippomem's or too new."""
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    if "alembic_version" not in tables or "store_info" not in tables:
        raise ForeignStoreError(
            f"this is a database of another program (it has the tables {', '.join(sorted(tables)[:5])}); "
            "give hippomem a file or a schema of its own"
        )
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if revision is not None and revision not in known_revisions():
        raise NewerStoreError(
            f"this database was written by a newer hippomem (revision {revision}, this version knows up to {HEAD}): "
            "upgrade with pip install -U hippomem"
        )
    return revision


def known_revisions() -> frozenset[str]:
    """The revisions this program can read, from the names of the scripts."""
    return frozenset(path.name.split("_")[0] for path in (SCRIPTS / "versions").glob("[0-9]*.py"))


def create(connection: Connection) -> None:
    """Make the tables of a new database inside the connection's transaction."""
    for statement in _tables_of(connection.dialect.name):
        connection.exec_driver_sql(statement)
    connection.execute(_REVISION.insert().values(version_num=HEAD))


@cache
def _tables_of(dialect: str) -> tuple[str, ...]:
    """What makes all tables and indexes, as text: to find the words takes ten times as long as to run them."""
    words = registry.load(dialect)()
    tables = [*metadata.sorted_tables, _REVISION]
    indexes = [index for table in tables for index in sorted(table.indexes, key=lambda i: str(i.name))]
    made: list[ExecutableDDLElement] = [*map(CreateTable, tables), *map(CreateIndex, indexes)]
    return tuple(str(element.compile(dialect=words)) for element in made)


def upgrade(connection: Connection) -> None:
    """Run the missing migrations inside the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
