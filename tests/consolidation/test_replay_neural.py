"""Replay of the neural memory: what feedback taught is rehearsed, once for each review, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from hippomem import Memory, SimulatedClock, StoreBusyError
from hippomem.neocortex.neural_memory import NeuralMemory
from hippomem.storage.schema import rehearsals, review_log, reviews

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PEOPLE = "Ada Bea Cid Dov Eve Fay Gil Hal".split()


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


@pytest.fixture
def memory(fast: Callable[..., Memory], clock: SimulatedClock) -> Memory:
    opened = fast(clock=clock)
    for name in PEOPLE:
        event = opened.add(f"{name} keeps bees near Lake{name}.")
        opened.add(f"{name} sold a boat.")
        opened.feedback(f"honey of the {name.lower()} household", [event.id])
    return opened


def counted(memory: Memory) -> tuple[int, int, int]:
    """Reviews of the neural channel, those with a rehearsal, rehearsals."""
    with memory._store.read() as connection:
        own = select(func.count()).select_from(review_log).where(review_log.c.channel == "neural")
        return (
            connection.execute(own).scalar_one(),
            connection.execute(own.where(review_log.c.rehearsed)).scalar_one(),
            connection.execute(select(func.count()).select_from(rehearsals)).scalar_one(),
        )


def test_what_feedback_taught_is_rehearsed_once_for_each_review(memory: Memory, clock: SimulatedClock) -> None:
    report = memory.consolidate()["replay neural"]
    assert report.counts["replayed"] == len(PEOPLE)  # due at once: only what was found once is known to be learned
    done, rehearsed, written = counted(memory)
    assert done == len(PEOPLE)
    assert rehearsed == written == report.counts["rehearsed"] > 0
    assert not memory.consolidate()["replay neural"].counts.get("replayed")
    clock.advance(timedelta(days=6))
    memory.consolidate()
    done, rehearsed, written = counted(memory)
    assert rehearsed == written
    assert done > len(PEOPLE)
    assert memory.doctor().ok  # the neural memory equals its rebuild from the log
    with memory._store.read() as connection:
        of_all = connection.execute(select(reviews.c.channel, func.count()).group_by(reviews.c.channel)).all()
    assert {str(c): int(n) for c, n in of_all} == {"graph": 2 * len(PEOPLE), "neural": len(PEOPLE)}


def test_junk_is_kept_out_of_the_neural_memory(fast: Callable[..., Memory], clock: SimulatedClock) -> None:
    memory = fast(clock=clock)
    junk = memory.add("We use cookies. Accept all cookies.")
    memory.feedback("what of cookies", [junk.id])
    report = memory.consolidate()
    assert report["tidy"].counts["flagged"] == 1
    assert not report["replay neural"].counts.get("replayed")


def test_what_was_of_no_use_is_neither_replayed_nor_missed(memory: Memory, clock: SimulatedClock) -> None:
    ids = {p.text.split()[0]: p.id for p in memory.passages() if "bees" in p.text}
    memory.feedback("honey of the bea household", [ids["Ada"]], confidence=-1)
    useless = memory.add("Zoe has never seen a bee.")
    memory.feedback("honey of the zoe household", [useless.id], confidence=-1)
    assert len(memory._learning.events_of(ids.values())) == len(PEOPLE)
    assert memory._learning.events_of([useless.id]) == []
    for _ in range(20):
        report = memory.consolidate()["replay neural"]
        assert not report.counts.get("again") or clock.now() == NOW
        clock.advance(timedelta(days=1))
    assert memory.forget(useless.id).learned == 1


def test_a_rehearsal_that_is_rolled_back_is_a_review_all_the_same(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NeuralMemory, "replay", lambda *_: False)  # as where a number is not finite
    report = memory.consolidate()["replay neural"]
    assert report.counts["replayed"] == len(PEOPLE)
    assert report.counts.get("rehearsed", 0) == 0
    assert counted(memory)[1:] == (0, 0)


def test_in_overload_only_what_is_not_found_is_learned_again(memory: Memory, clock: SimulatedClock) -> None:
    for _ in range(6):
        clock.advance(timedelta(days=1))
        memory.consolidate(budget=1)
    before = counted(memory)
    report = memory.consolidate(budget=2)
    assert report["replay graph"].counts.get("overloaded", 0) + report["replay neural"].counts["overloaded"] > 0
    done, rehearsed, written = counted(memory)
    assert rehearsed == written
    assert rehearsed - before[1] <= done - before[0]


def test_the_same_events_at_the_same_moment_are_rehearsed_as_often_as_was_done(memory: Memory) -> None:
    """Two workers, or a clock that stands still: each of the reviews that tell of it has its rehearsal."""
    learner = memory._learning
    numbers = learner.draw(4, seed=0)
    done = [learner.rehearse(numbers) for _ in range(3)]
    assert [one.kept for one in done] == [True] * 3
    assert len({one.numbers for one in done}) == 1
    with memory._store.read() as connection:
        moments = connection.execute(select(rehearsals.c.recorded_at)).scalars().all()
    assert sorted(moments) == [NOW + timedelta(microseconds=n) for n in range(3)]
    assert memory.doctor().ok


def test_what_was_claimed_with_one_that_fails_is_free_again_at_once(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_args: object, **_options: object) -> None:
        raise StoreBusyError("others keep writing")

    monkeypatch.setattr(NeuralMemory, "rehearse", failing)
    assert memory.consolidate()["replay neural"].error
    monkeypatch.undo()
    with memory._store.read() as connection:
        query = select(reviews.c.attempts).where(reviews.c.channel == "neural")
        assert sorted(connection.execute(query).scalars()) == [0] * (len(PEOPLE) - 1) + [1]
    assert memory.consolidate()["replay neural"].counts["replayed"] == len(PEOPLE) - 1


@pytest.mark.sqlite
def test_what_another_has_forgotten_is_not_left_in_the_weights_that_are_saved(
    memory: Memory, fast: Callable[..., Memory], tmp_path: Path
) -> None:
    memory.consolidate()
    assert memory._learning._memory is not None
    learned = memory._learning._memory.replayed
    found = memory.recall("honey of the ada household", 1).passages[0]
    assert set(memory._learning.events_of([found.id])) <= learned.keys()
    (file,) = tmp_path.rglob("map.npz")
    before = file.read_bytes()
    other = fast()
    other.forget(found.id)
    assert not file.exists()
    memory.close()  # which has not heard of it
    assert not file.exists()
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(before)  # as if it had been killed just then
    assert other.recall("honey of the bea household", 1).passages
    with fast() as third:
        assert third.recall("honey of the bea household", 1).passages
        assert not file.exists()
        assert third.doctor().ok
