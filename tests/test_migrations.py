"""A database of an earlier version is brought to this one's tables when it is opened, with all that it holds."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from child_tasks import opened, records
from earlier import downgraded

from hippomem import Memory
from hippomem.storage.schema import HEAD

pytestmark = pytest.mark.sqlite


def tables(db: Path) -> dict[str, str]:
    with closing(sqlite3.connect(db)) as connection:
        query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_stat%'"
        return dict(connection.execute(query).fetchall())


def described(memory: Memory, file: Path) -> Any:
    assert [check for check in memory.doctor().checks if not check.ok] == []
    memory.export(file)
    found = [p.id for p in memory.recall("Whom did Ada Thorne meet at Oslo?", 9).passages]
    vectors: list[tuple[int, bytes]] = []
    with memory._store.read() as connection:
        query = "SELECT event, vector FROM learning_vectors ORDER BY event"
        vectors += map(tuple, connection.exec_driver_sql(query))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return found, vectors, [line for line in lines if line["type"] != "end"]


def test_large_rows_move_to_ordinary_tables(tmp_path: Path) -> None:
    db = tmp_path / "m.db"
    with opened(db) as memory:
        memory.ingest(records(60))
        note = memory.add("Ada Thorne keeps the Grey Heron.")
        again = memory.add("Ada Thorne keeps the Red Kite.", source="again")
        memory.update(note.id, again.text)  # the same content; the earlier text has vectors, too; it keeps its place
        memory.feedback(memory.recall("Who keeps the Red Kite?"), useful=[again.id])
        before = described(memory, tmp_path / "before")
    now = tables(db)
    downgraded(db, "0007")
    for name in ("analyses", "learning_vectors", "answers", "versions"):
        assert tables(db)[name].rstrip().endswith("WITHOUT ROWID")
    with opened(db) as memory:
        assert described(memory, tmp_path / "after") == before
        memory.forget(memory.passages()[0].id)
    assert {name: " ".join(sql.split()) for name, sql in tables(db).items()} == {
        name: " ".join(sql.split()) for name, sql in now.items()
    }
    with closing(sqlite3.connect(db)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_vectors_from_before_there_were_checksums_are_kept_without_one(tmp_path: Path) -> None:
    db = tmp_path / "m.db"
    with opened(db) as memory:
        memory.ingest(records(60))
        before = described(memory, tmp_path / "before")
    query = "SELECT count(*), count(checksum) FROM analyses"
    with closing(sqlite3.connect(db)) as connection:
        ((all_of_them, with_checksum),) = connection.execute(query).fetchall()
    assert all_of_them == with_checksum > 0
    downgraded(db, "0009")
    with opened(db) as memory:
        assert described(memory, tmp_path / "after") == before
        memory.add("Ada Thorne keeps the Grey Heron.")
        assert memory.doctor().ok
    with closing(sqlite3.connect(db)) as connection:
        assert connection.execute(query).fetchall() == [(all_of_them + 1, 1)]
