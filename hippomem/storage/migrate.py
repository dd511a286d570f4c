"""Opening a database: is it ours, is it new, is it older than this program (then migrate), is it newer (then refuse).

Migrations are Alembic scripts in `migrations/versions`, one transaction for all that are missing. Alembic itself is
imported only when there is something to migrate.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from hippomem.errors import ForeignStoreError, NewerStoreError
from hippomem.storage.schema import HEAD

SCRIPTS = Path(__file__).parent / "migrations"


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


def upgrade(connection: Connection) -> None:
    """Run the missing migrations inside the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
