"""Namespaces of one database: whatever is done in one, the others hold and tell what they would alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage
from sqlalchemy import select
from unchanged import state

from hippomem import Document, Memory, SimulatedClock
from hippomem.storage.schema import metadata
from hippomem.testing import ScriptedChatModel

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PEOPLE = "Ada Bea Cid Dov Eve Fay Gil Hal Ivy Jon Kay Lea".split()
QUESTION = "Where does Ada live?"


def answer(messages: list[BaseMessage]) -> str:
    """What a chat model finds in each passage."""
    asked = json.loads(messages[-1].text)
    found = {"entities": [], "triples": [["Ada", "knows", "Bea"]]}
    if "passages" in asked:
        return json.dumps({"passages": [{"number": p["number"], **found} for p in asked["passages"]]})
    return json.dumps(found)


def life(memory: Memory, clock: SimulatedClock, folder: Path) -> Iterator[Any]:
    """All that can be done in a namespace, with what it told."""
    (folder / "a.txt").write_text("Ada met Bea in Oslo.\n\nCid saw Dov in Bergen.")
    (folder / "turns.jsonl").write_text(
        '{"text": "Where is Eve?", "session": "s1"}\n{"text": "In Rome.", "session": "s1"}'
    )
    yield memory.ingest(folder).passages
    for place, name in enumerate(PEOPLE):
        memory.add(f"{name} lives in Town{place}.", triples=[(name, "lives in", f"Town{place}")])
        for other in (20, 30):
            memory.add(f"{name} visited Town{place + other}.", triples=[(name, "visited", f"Town{place + other}")])
    for place, name in enumerate(PEOPLE[6:10], 6):
        memory.add(f"{name} still lives in Town{place}.", triples=[(name, "lives in", f"Town{place}")])
    for source in "abc":
        memory.add(f"{source}: Zed lives in Paris.", source=source, triples=[("Zed", "lives in", "Paris")])
    memory.ingest([Document(text="Hal keeps bees.", source="one"), Document(text="Hal keeps bees.", source="two")])
    yield found(memory)
    memory.consolidate()
    clock.advance(timedelta(days=3))
    moved = memory.add("Ada lives in Oslo.", triples=[("Ada", "lives in", "Oslo")])
    gone = memory.add("Bea lives in Rome.", triples=[("Bea", "lives in", "Rome")])
    memory.feedback(memory.recall(QUESTION, 3), [moved.id])
    unlearned = memory.feedback("Who keeps bees?", [gone.id])
    memory.consolidate()
    yield found(memory)
    (folder / "a.txt").write_text("Ada met Bea in Oslo.")
    (folder / "turns.jsonl").write_text(
        '{"text": "Where is Fay?", "session": "s1"}\n{"text": "In Rome.", "session": "s1"}'
    )
    yield memory.ingest(folder).removed
    changed = memory.update(moved.id, "Ada lives in Vardo.")
    memory.annotate(changed.id, {"seen": True})
    memory.forget([gone.id, unlearned.id, "one"])
    yield memory.forget(f"{folder}/a.txt").passages
    clock.advance(timedelta(days=40))
    memory.consolidate()
    memory.add("Zed lives in Oslo.", triples=[("Zed", "lives in", "Oslo")])  # nothing has read it yet
    yield memory.retry_jobs(renew=True)
    yield [found(memory, **options) for options in ({}, {"as_of": NOW}, {"session": "s1"}, {"source": "b"})]
    yield memory.sources(), memory.passages(), memory.passages(session="s1")


def found(memory: Memory, **options: Any) -> list[Any]:
    """What a question finds, and why."""
    recall = memory.recall(QUESTION, 9, **options)
    return [*recall.passages, *recall.paths]


def lived(memory: Memory, clock: SimulatedClock, folder: Path) -> list[Any]:
    """What a whole life tells, and what is known at its end."""
    results = list(life(memory, clock, folder))
    changes = {p.id: [(c.action, c.previous_id, c.text, c.at) for c in memory.history(p.id)] for p in memory.passages()}
    jobs = [(job.passage_id, job.state, job.attempts, job.due_at) for job in memory.jobs()]
    stats, dump = state(memory)
    calls = [{**spent, "seconds": None} for spent in stats.pop("chat_models")]
    del stats["views"], stats["ingests"]  # of numbers that all namespaces share, and of ids that are drawn
    lines = [line for line in dump.splitlines() if json.loads(line)["type"] not in ("learning", "rehearsal", "end")]
    return [*results, stats, calls, lines, changes, jobs]


def rows(memory: Memory) -> dict[str, list[Any]]:
    """All that the tables have of its namespace."""
    number = memory._writer.number
    with memory._store.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).where(table.c.namespace == number))]
            for table in metadata.sorted_tables
            if "namespace" in table.c
        }


def test_none_has_anything_of_another_one(fast: Callable[..., Memory], tmp_path: Path) -> None:
    def opened(db: str, namespace: str) -> tuple[Memory, SimulatedClock, Path]:
        clock, llm = SimulatedClock(NOW), ScriptedChatModel(answers=answer)
        return fast(tmp_path / db, namespace=namespace, clock=clock, llm=llm), clock, folder

    folder = tmp_path / "files"
    folder.mkdir()
    other, *beside = opened("shared.db", "other")
    lived(other, *beside)
    before = rows(other)
    assert all(before[name] for name in ("passages", "facts", "versions", "statuses", "validities", "jobs", "reviews"))
    shared = lived(*opened("shared.db", "own"))
    assert rows(other) == before
    alone = lived(*opened("alone.db", "own"))
    for one, same in zip(shared, alone, strict=True):
        assert one == same
    assert other.doctor().ok
