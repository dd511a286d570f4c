"""The layout holds: imports run one way, the public face is what it says, the schema is what the migrations make."""

from __future__ import annotations

import ast
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

import hippomem
from hippomem.storage.migrate import SCRIPTS, known_revisions, upgrade
from hippomem.storage.schema import HEAD, metadata
from hippomem.storage.store import Store

PACKAGE = Path(hippomem.__file__).parent
FOUNDATION = {"hippomem.errors", "hippomem.types", "hippomem.clock", "hippomem.importing", "hippomem.threads"}
# Who may import what, beside itself and the foundation.
ALLOWED = {
    "hippomem.storage": set(),
    "hippomem.neocortex": set(),
    "hippomem.hippocampus": {"hippomem.storage"},
    "hippomem.ingest": {"hippomem.storage"},
    "hippomem.consolidation": {"hippomem.storage"},
    "hippomem.workers": {"hippomem.analyse", "hippomem.neocortex"},
}


def _modules(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def _imports(file: Path) -> set[str]:
    return {name for name in _modules(file) if name.startswith("hippomem")}


def _imported(file: Path) -> set[str]:
    return {name.split(".")[0] for name in _modules(file)}


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_run_one_way(package: str) -> None:
    for file in (PACKAGE / package.split(".")[1]).rglob("*.py"):
        for name in _imports(file):
            home = ".".join(name.split(".")[:2])
            assert home == package or home in ALLOWED[package] | FOUNDATION, f"{file.name} imports {name}"


def test_nothing_below_memory_imports_what_is_above_it() -> None:
    for name in ("analyse", "writing", "transfer", "doctor", "reencode", "checks", "catalogue", "settings"):
        above = {"hippomem.memory", "hippomem.aio", "hippomem.cli", "hippomem.demo"}
        assert not _imports(PACKAGE / f"{name}.py") & above


def test_only_the_storage_knows_which_database_it_is() -> None:
    for file in PACKAGE.rglob("*.py"):
        if file.parent.name == "storage" or "migrations" in file.parts or file.name == "settings.py":
            continue
        assert "sqlite3" not in _imported(file), file
        assert "dialect.name" not in file.read_text(encoding="utf-8"), file
        assert "PRAGMA" not in file.read_text(encoding="utf-8"), file


def test_no_network_library_is_imported_by_the_package() -> None:
    for file in PACKAGE.rglob("*.py"):
        if file == PACKAGE / "workers" / "cluster.py":  # which goes to the cluster that somebody has named
            continue
        assert not _imported(file) & {"requests", "httpx", "urllib", "aiohttp", "socket"}, file


def test_every_public_name_is_there() -> None:
    assert hippomem.__all__ == sorted(hippomem.__all__, key=lambda n: (n.lower(), n))
    for name in hippomem.__all__:
        assert getattr(hippomem, name).__name__ == name
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = hippomem.Nonsense


@pytest.mark.sqlite
def test_the_migrations_come_to_what_a_new_database_gets(tmp_path: Path) -> None:
    def made(db: Path) -> set[tuple[str, str, str]]:
        with closing(sqlite3.connect(db)) as connection:
            query = "SELECT type, name, coalesce(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%'"
            rows = connection.execute(query).fetchall()
            revisions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        assert revisions == [(HEAD,)]
        return {(kind, name, " ".join(sql.split())) for kind, name, sql in rows}

    Store(tmp_path / "new.db").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'old.db'}")
    with engine.begin() as connection:
        upgrade(connection)
    engine.dispose()
    assert made(tmp_path / "new.db") == made(tmp_path / "old.db")
    assert {name for kind, name, _ in made(tmp_path / "new.db") if kind == "table"} >= set(metadata.tables)


def test_the_newest_migration_is_the_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [HEAD]  # one chain: the numbers say when a script was begun, not its place
    assert {script.revision for script in scripts.walk_revisions()} == known_revisions()
    assert (SCRIPTS / "env.py").is_file()
