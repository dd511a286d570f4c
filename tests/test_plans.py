"""What is done to one memory among many is looked up by indexes: the plans of all statements tell."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from child_tasks import records
from earlier import downgraded
from sqlalchemy import event, text

from hippomem import Memory, Triple
from hippomem.storage.schema import metadata

pytestmark = pytest.mark.sqlite
# What is hidden is read where the log has grown; after a deletion, when all is written anew as well, all is counted.
MEANT = "statuses.archived_at IS NOT NULL", "SELECT count(*)"
# Tables of which a namespace has a row for each memory, or more.
LARGE = "|".join(sorted(metadata.tables.keys() - {"namespaces", "store_info", "outages", "documents"}))


@pytest.fixture
def memory(fast: Callable[..., Memory]) -> Memory:
    """A memory with some of everything, and a view that is up to date."""
    memory = fast()
    memory.ingest(records(40))
    note = memory.add("Ada Thorne keeps the Grey Heron.", title="Grey Heron", session="s")
    memory.update(note.id, "Ada Thorne keeps the Red Kite.")
    memory.feedback(memory.recall("Who keeps the Red Kite?"), useful=[memory.passages()[-1].id])
    memory.consolidate()
    memory.recall("Who keeps the Red Kite?")
    return memory


@pytest.mark.parametrize(
    "does",
    [
        lambda memory, _: memory.add("Bruno Vale met Ada Thorne at Oslo.", title="Oslo", session="s"),
        lambda memory, _: memory.add("Bruno Vale met Cora.", triples=[Triple("Bruno Vale", "met", "Cora")]),
        lambda memory, ids: memory.update(ids[3], "Ada Thorne left for Bergen."),
        lambda memory, ids: memory.update(ids[-1], "Ada Thorne keeps the Wren."),
        lambda memory, ids: memory.forget(ids[5]),
        lambda memory, ids: memory.forget(ids[-1]),
        lambda memory, ids: memory.forget(ids[7:12]),
        lambda memory, _: memory.recall("Whom did Ada Thorne meet?").explain(),
        lambda memory, ids: memory.feedback(memory.recall("Who left for Oslo?"), useful=[ids[2]]),
        lambda memory, ids: _taught(memory, ids).recall("Who left for Oslo?"),
        lambda memory, ids: memory.get(ids[4]),
        lambda memory, ids: memory.history(ids[-1]),
    ],
    ids=[
        "add",
        "triples",
        "update",
        "again",
        "forget",
        "updated",
        "several",
        "recall",
        "feedback",
        "taught",
        "get",
        "history",
    ],
)
def test_no_statement_looks_at_all_rows_of_a_namespace(
    memory: Memory, does: Callable[[Memory, list[str]], Any]
) -> None:
    ids = [passage.id for passage in memory.passages()]
    asked: dict[str, Any] = {}
    event.listen(
        memory._store._database.engine,
        "before_cursor_execute",
        lambda _connection, _cursor, said, values, _context, many: asked.setdefault(
            said, values[0] if many else values
        ),
    )
    does(memory, ids)
    assert asked
    with memory._store.read() as connection:
        found = []
        for said, values in list(asked.items()):
            if said.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"):
                steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said}", values).all()
                found += [(step[3], said) for step in steps if _looks_at_all(step[3])]
    assert [what for what in found if not any(meant in what[1] for meant in MEANT)] == []


def test_a_database_from_before_is_told_of_its_tables(
    memory: Memory, fast: Callable[..., Memory], tmp_path: Path
) -> None:
    with memory._store.write() as connection:
        told = connection.execute(text("SELECT * FROM sqlite_stat1 ORDER BY tbl, idx")).all()
        connection.execute(text("DELETE FROM sqlite_stat1"))
    memory.close()
    downgraded(tmp_path / "m.db", "0006")
    again = fast()
    with again._store.read() as connection:
        assert connection.execute(text("SELECT * FROM sqlite_stat1 ORDER BY tbl, idx")).all() == told != []
    assert again.doctor().ok


def _taught(memory: Memory, ids: list[str]) -> Memory:
    for id_ in ids[2:5]:
        memory.feedback(f"Who left {id_}?", [id_])
    return memory


def _looks_at_all(step: str) -> bool:
    return bool(re.match(rf"SCAN ({LARGE})\b|SEARCH ({LARGE})\b.*\(namespace=\?\)$", step))
