"""Looks for bytes in everything that lies beside a database."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import schemas


def traces(db: Path, needles: Iterable[bytes]) -> list[tuple[str, bytes]]:
    """Which of `needles` stand in which file below the database's folder."""
    wanted = list(needles)
    assert wanted
    assert all(len(needle) >= 6 for needle in wanted), "shorter ones turn up by chance"
    files = [file for file in db.parent.rglob("*") if file.is_file()]
    if schemas.INSTEAD:
        files += schemas.files_of(db)
    else:
        assert db in files
    return [
        (os.path.relpath(file, db.parent), needle)
        for file in files
        for data in [file.read_bytes()]
        for needle in wanted
        if needle in data
    ]


def plant(db: Path, needle: bytes) -> None:
    """Leave a copy of `needle` in pages that the database does not use, as SQLite does where it moves rows."""
    connection = sqlite3.connect(db)
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("CREATE TABLE planted (content BLOB)")
    connection.execute("INSERT INTO planted VALUES (?)", (needle * (1 << 17),))
    connection.execute("DROP TABLE planted")
    connection.commit()
    connection.close()
    assert traces(db, [needle])
