"""What recalls pass over is read once for each state of the log, and is what the database says, whoever changed it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from hippomem import HippomemError, Memory, SimulatedClock, Triple
from hippomem.hippocampus.limits import Hidden

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PEOPLE, TOWNS = "Ada Bea Cid Dov Eve Fay".split(), [f"Town{n}" for n in range(8)]


@contextmanager
def counted(memory: Memory) -> Iterator[list[str]]:
    """The statements that ask what is hidden."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "archived_at IS NOT NULL" in statement:
            found.append(statement)

    engine = memory._store._database.engine
    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


def check(memory: Memory, moments: list[datetime]) -> int:
    """Compare what is kept with what is read now. How many are hidden at the last moment."""
    with memory._lock, memory._synced() as (view, connection):
        for moment in moments:
            for is_of_one in (False, True):
                ours = memory._hidden.rows(view, connection, memory._number, moment, is_of_one)
                fresh = Hidden().rows(view, connection, memory._number, moment, is_of_one)
                assert ours.tolist() == fresh.tolist()
        return len(ours)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_is_what_the_database_says(fast: Callable[..., Memory], seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    clock = SimulatedClock(NOW)
    one, other = fast(clock=clock), fast(clock=clock)
    most = 0

    def told(memory: Memory) -> None:
        name, town = rng.choice(PEOPLE), rng.choice(TOWNS)
        triple = Triple(name, "lives in", town, invalid_at=rng.choice([None, None, clock.now() + timedelta(days=3)]))
        said = "" if rng.random() < 0.5 else f" Somebody said so on day {rng.randrange(99)}."
        memory.add(f"{name} lives in {town}.{said}", triples=[triple], session=rng.choice([None, "s"]))

    def undone(memory: Memory) -> None:
        some = rng.choice(memory.passages(limit=500)).id
        for change in memory.history(some):
            if change.action in ("archive", "merge", "invalidate"):
                memory.undo(change.sequence)

    deeds = (
        *[told] * 6,
        lambda memory: memory.consolidate(),
        lambda memory: memory.forget(rng.choice(memory.passages(limit=500)).id),
        lambda memory: memory.update(
            rng.choice(memory.passages(limit=500)).id, f"Fay left on day {rng.randrange(99)}."
        ),
        undone,
        lambda _: clock.advance(timedelta(days=rng.choice([1, 4]))),
    )
    for _ in range(100):
        memory = rng.choice([one, other])
        try:
            rng.choice(deeds)(memory)
        except (HippomemError, IndexError):  # nothing is there yet, or has been undone already
            continue
        past = clock.now() - timedelta(days=rng.choice([0.5, 2, 9]))
        most = max(most, *(check(each, [past, clock.now()]) for each in (one, other)))
    assert most > 1


def test_it_is_read_again_only_where_the_log_has_grown(fast: Callable[..., Memory]) -> None:
    clock = SimulatedClock(NOW)
    memory = fast(clock=clock)
    for name in PEOPLE:
        memory.add(f"{name} lives in Oslo.", triples=[Triple(name, "lives in", "Oslo", invalid_at=NOW)])
    note = memory.add("Ada lives in Bergen.", triples=[Triple("Ada", "lives in", "Bergen")])
    with counted(memory) as asked:
        for _ in range(3):
            assert [p.id for p in memory.recall("Who lives in Oslo?", 9).passages] == [note.id]
            assert len(memory.recall("Who lives in Oslo?", 9, deep=True).passages) == 7
            clock.advance(timedelta(days=1))
        assert len(asked) == 1
        fast(clock=clock).add("Bea lives in Rome.")
        assert len(memory.recall("Who lives in Rome?", 9).passages) == 2
        assert len(asked) == 2
