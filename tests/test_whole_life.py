"""All that can happen to a memory happens to one: beside another namespace, and before an export."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from sqlalchemy import select
from unchanged import state

from hippomem import Document, Memory, Settings, SimulatedClock, Triple, extracting
from hippomem.storage.schema import metadata
from hippomem.testing import HashEncoder, ScriptedChatModel, capitals

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PEOPLE = "Ada Bea Cid Dov Eve Fay Gil Hal Ivy Jon Kay Lea".split()
QUESTION = "Where does Ada live?"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extracting, "FIRST_PAUSE", 0.01)


def answer(messages: list[BaseMessage]) -> str:
    """What a chat model finds in each passage."""
    if "Lea visited" in messages[-1].text:
        return "no idea"
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
    report = "".join(f"Station {number} was built by Gil in Vardo. It is tall.\n\n" for number in range(40))
    memory.ingest(Document(text=report, title="Report", source="three", occurred_at=NOW, metadata={"n": [1]}))
    let = Triple("Ivy", "rents", "Mill Street", valid_from=NOW - timedelta(days=99), invalid_at=NOW - timedelta(days=9))
    rented = memory.add("Ivy rents a flat.", title="Flats", session="s2", occurred_at=NOW, triples=[let])
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
    memory.update(rented.id, "Ivy rented a flat.")
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
    jobs = [(job.passage_id, job.state, job.attempts, job.reason) for job in memory.jobs()]
    stats, dump = state(memory)
    calls = [{**spent, "seconds": None} for spent in stats.pop("chat_models")]
    del stats["views"], stats["ingests"]  # of numbers that all namespaces share, and of ids that are drawn
    lines = [line for line in dump.splitlines() if json.loads(line)["type"] not in ("learning", "rehearsal", "end")]
    return [*results, stats, calls, lines, changes, jobs, memory.doctor().ok]


def rows(memory: Memory) -> dict[str, list[Any]]:
    """All that the tables have of its namespace."""
    number = memory._writer.number
    with memory._store.read() as connection:
        return {
            table.name: sorted(
                map(tuple, connection.execute(select(table).where(table.c.namespace == number))), key=repr
            )
            for table in metadata.sorted_tables
            if "namespace" in table.c
        }


def exported(dump: Path) -> list[dict[str, Any]]:
    """The lines of an export, but for the last one and those of what became of passages."""
    lines = map(json.loads, dump.read_text().splitlines())
    return [line for line in lines if line["type"] not in ("standing", "end")]


def standing(dump: Path) -> dict[str, dict[str, Any]]:
    """What became of passages, of those of which a line tells something."""
    lines = (line for line in map(json.loads, dump.read_text().splitlines()) if line["type"] == "standing")
    return {line["passage"]: line for line in lines if any(v for k, v in line.items() if k not in ("type", "passage"))}


def test_none_has_anything_of_another_one(fast: Callable[..., Memory], tmp_path: Path) -> None:
    def opened(db: str, namespace: str) -> tuple[Memory, SimulatedClock, Path]:
        clock, llm = SimulatedClock(NOW), ScriptedChatModel(answers=answer)
        return fast(tmp_path / db, namespace=namespace, clock=clock, llm=llm), clock, folder

    folder = tmp_path / "files"
    folder.mkdir()
    other, *beside = opened("shared.db", "other")
    lived(other, *beside)
    next(life(other, *beside))  # it has again what the files have at first
    before = rows(other)
    assert all(before[name] for name in ("passages", "facts", "versions", "statuses", "validities", "jobs", "reviews"))
    assert any(job.reason for job in other.jobs())
    shared = lived(*opened("shared.db", "own"))
    assert rows(other) == before
    alone = lived(*opened("alone.db", "own"))
    for one, same in zip(shared, alone, strict=True):
        assert one == same
    assert other.doctor().ok


def test_an_export_of_what_was_loaded_is_the_export(fast: Callable[..., Memory], tmp_path: Path) -> None:
    clock, llm = SimulatedClock(NOW), ScriptedChatModel(answers=answer)
    memory = fast(clock=clock, llm=llm)
    deque(life(memory, clock, tmp_path), maxlen=0)
    memory.export(tmp_path / "first")
    settings = Settings(encoder=HashEncoder(), pipeline=capitals(), llm=llm)
    Memory.load(tmp_path / "first", tmp_path / "copy.db", namespace="other", settings=settings).close()
    with Memory.load(tmp_path / "first", tmp_path / "copy.db", settings=settings) as loaded:
        loaded.export(tmp_path / "second")
        assert loaded.passages() == memory.passages()
        assert loaded.doctor().ok
    first, second = (exported(tmp_path / name) for name in ("first", "second"))
    assert {line["type"] for line in first} == {"hippomem", "passage", "version", "document", "learning", "rehearsal"}
    assert first == second
    first, second = (standing(tmp_path / name) for name in ("first", "second"))
    assert all(any(line[name] for line in first.values()) for name in ("invalid_at", "valid_from", "flag", "facts"))
    assert first == second
