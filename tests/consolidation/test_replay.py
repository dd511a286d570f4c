"""Replay in a real store: the due table, leases and tokens, clocks, overload, archiving and coming back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update

from hippomem import Budget, InvalidInputError, Memory, NotFoundError, Settings, SimulatedClock, replaying
from hippomem.consolidation.grades import Probe, cue_of, grade_of
from hippomem.consolidation.replay import PER_ROUND
from hippomem.consolidation.states import Grade
from hippomem.settings import load_settings
from hippomem.storage import reviews
from hippomem.storage.schema import review_log
from hippomem.storage.schema import reviews as table
from hippomem.types import Triple

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
NAMES = "Ada Bea Cid Dov Eve Fay Gil Hal Ivy Jon Kay Lea Mia Ned Ola Pia Quin Ria Sol Tim".split()
STEPS = "replay neural", "replay graph"


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


@pytest.fixture
def memory(fast: Callable[..., Memory], clock: SimulatedClock) -> Memory:
    opened = fast(clock=clock)
    for place, name in enumerate(NAMES):
        opened.add(
            f"{name} keeps {place + 1} {'cats dogs owls bees'.split()[place % 4]} near Lake{name}.", session=name
        )
    return opened


def rows(memory: Memory) -> list[Any]:
    with memory._store.read() as connection:
        return list(connection.execute(select(table).order_by(table.c.passage)))


def log(memory: Memory) -> list[Any]:
    with memory._store.read() as connection:
        return list(connection.execute(select(review_log).order_by(review_log.c.number)))


def test_what_is_due_is_replayed_once_and_put_off(memory: Memory, clock: SimulatedClock) -> None:
    first = memory.consolidate()
    assert not first["replay graph"].counts.get("replayed")  # the graph has just been written
    assert len(rows(memory)) == len(NAMES)
    clock.advance(timedelta(days=5))
    report = memory.consolidate()["replay graph"]
    assert report.counts["replayed"] == len(NAMES)
    assert report.counts.get("good", 0) + report.counts.get("hard", 0) + report.counts.get("easy", 0) == len(NAMES)
    assert report.is_done
    assert all(row.due > clock.now() and row.attempts == 0 and row.lease_until is None for row in rows(memory))
    assert not memory.consolidate()["replay graph"].counts.get("replayed")  # again, at the same moment
    assert len(log(memory)) == len(NAMES)
    assert memory.doctor().ok


def test_a_budget_is_spent_whole_and_no_more(memory: Memory, clock: SimulatedClock) -> None:
    memory.consolidate()
    assert memory.consolidate(budget=7)["replay graph"].counts["replayed"] == 7  # nothing is due: slack and floor
    assert memory.consolidate(budget=Budget(units=0)).is_done is False
    assert memory.consolidate(budget=99)["replay graph"].counts["replayed"] == len(NAMES) - 7
    for _ in range(10):  # an hourly round with a budget to spare
        clock.advance(timedelta(hours=1))
        assert not memory.consolidate(budget=7)["replay graph"].counts.get("replayed")
    assert len(log(memory)) == len(NAMES)
    clock.advance(timedelta(hours=2))
    assert memory.consolidate(budget=7)["replay graph"].counts["replayed"] == 7
    clock.advance(timedelta(days=9))
    report = memory.consolidate(budget=8)["replay graph"]
    assert report.counts["replayed"] == 8
    reasons = [row.reason for row in log(memory)[-8:]]
    assert reasons.count("floor") == 2
    assert reasons.count("due") == 6
    assert memory.consolidate(budget=Budget(seconds=0)).is_done is False


def test_a_claim_is_held_and_a_late_one_writes_nothing(memory: Memory, clock: SimulatedClock) -> None:
    memory.consolidate()
    later = clock.now() + timedelta(days=9)
    number = memory._writer.number

    def due() -> list[reviews.Review]:
        with memory._store.read() as connection:
            return reviews.candidates(connection, number, "graph", later, clock.now(), 99, slack=False)

    with memory._store.write() as connection:
        first = reviews.claim(connection, number, "graph", due()[:3], clock.now())
    assert len(first) == 3
    assert not {row.passage for row in due()} & set(first)
    clock.advance(reviews.LEASE + timedelta(seconds=1))
    free_again = [row for row in due() if row.passage in first]
    assert len(free_again) == 3  # their holder was killed
    with memory._store.write() as connection:
        second = reviews.claim(connection, number, "graph", free_again, clock.now())
        assert all(second[passage] == first[passage] + 1 for passage in first)
        passage = min(first)
        assert not reviews.finish(connection, number, "graph", passage, first[passage], {"failures": 9})
        assert reviews.finish(connection, number, "graph", passage, second[passage], {"failures": 0})
        assert not reviews.finish(connection, number, "graph", passage, second[passage], {"failures": 9})
    assert all(row.failures == 0 for row in rows(memory))


def test_five_claims_in_vain_are_dead_visible_and_can_be_revived(memory: Memory, clock: SimulatedClock) -> None:
    memory.consolidate()
    number = memory._writer.number
    for attempt in range(6):
        with memory._store.write() as connection:
            later = clock.now() + timedelta(days=9)
            found = reviews.candidates(connection, number, "graph", later, clock.now(), 99, slack=False)
            held = reviews.claim(connection, number, "graph", found[:1], clock.now())
            assert len(held) == (attempt < 5)
        clock.advance(reviews.LEASE + timedelta(seconds=1))
    assert memory.stats()["consolidation"]["dead"] == 1
    assert memory.retry_jobs() == 1
    assert memory.stats()["consolidation"]["dead"] == 0


def test_a_clock_that_goes_back_stops_nothing(memory: Memory, clock: SimulatedClock) -> None:
    memory.consolidate()
    clock.advance(timedelta(days=5))
    memory.consolidate()
    before = rows(memory)
    clock.advance(timedelta(days=-400))
    assert not memory.consolidate()["replay graph"].counts.get("replayed")
    assert rows(memory) == before
    replayed = 0
    for _ in range(3):
        clock.advance(timedelta(days=6))  # still a year before what was written last
        replayed += memory.consolidate()["replay graph"].counts.get("replayed", 0)
    assert replayed > 0
    with memory._store.write() as connection:  # leases from when the clock was ahead
        connection.execute(update(table).values(lease_until=clock.now() + timedelta(days=400)))
    assert memory.consolidate(budget=5)["replay graph"].counts["replayed"] == 5


def test_a_year_ahead_is_a_week_and_no_flood(memory: Memory, clock: SimulatedClock) -> None:
    memory.consolidate()
    for _ in range(8):  # until intervals are long, and not all the same
        clock.advance(timedelta(days=4))
        memory.consolidate()
    long = [row for row in rows(memory) if row.due - row.last_review > timedelta(days=14)]
    assert len(long) > len(NAMES) / 2
    clock.advance(timedelta(days=365))
    replayed = memory.consolidate()["replay graph"].counts.get("replayed", 0)
    assert replayed < len(NAMES) / 2
    assert all(row.due < clock.now() for row in rows(memory))  # in the time of replay, which did not jump


def test_reviews_are_logged_by_the_clock_also_after_a_jump(memory: Memory, clock: SimulatedClock) -> None:
    memory.consolidate()
    clock.advance(timedelta(days=365))
    late = memory.add("Zoe keeps 3 cats near LakeZoe.")
    clock.advance(timedelta(days=30))
    memory.consolidate(budget=Budget(units=99))
    assert {line.at for line in log(memory)} == {clock.now()}
    ages = [at - recorded for at, *_, recorded in memory._graded()]
    assert min(ages) == clock.now() - late.recorded_at == timedelta(days=30)


def test_a_daylight_change_makes_nothing_due(memory: Memory, clock: SimulatedClock) -> None:
    oslo = ZoneInfo("Europe/Oslo")
    memory.consolidate(now=datetime(2026, 3, 29, 1, 59, tzinfo=oslo))
    before = rows(memory)
    for minute in (1, 2):
        memory.consolidate(now=datetime(2026, 3, 29, 3, minute, tzinfo=oslo))
    assert rows(memory) == before
    with pytest.raises(InvalidInputError, match="timezone-aware"):
        memory.consolidate(now=datetime(2026, 3, 29))


def test_measured_failure_archives_deep_recall_finds_and_use_brings_back(
    memory: Memory, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = memory.recall("What does Eve keep?", 1).passages[0]
    memory.consolidate()
    place = replaying._place
    with memory._store.read() as connection:
        number = set(connection.execute(select(table.c.passage)).scalars())
    row_of = {memory._view.row_of(n): n for n in number}
    target = memory._writer.current(lost.id)[0]
    monkeypatch.setattr(
        replaying,
        "_place",
        lambda order, scores, row: Probe(None) if row_of[row] == target else place(order, scores, row),
    )
    for _ in range(4):
        clock.advance(timedelta(days=7))
        memory.consolidate()
    monkeypatch.undo()
    history = memory.history(lost.id)
    archived = [change for change in history if change.action == "archive"]
    assert len(archived) == 1
    assert "3 times in a row" in archived[0].detail["why"]
    assert memory.stats()["consolidation"]["archived"] == 1
    question = "What does Eve keep?"
    assert lost.id not in {p.id for p in memory.recall(question, 50).passages}
    assert memory.recall(question, 1, deep=True).passages[0].id == lost.id
    assert memory.recall(question, 50, as_of=archived[0].at - timedelta(seconds=1)).passages[0].id == lost.id
    assert memory.get(lost.id).text == lost.text
    deep = memory.recall(question, 3, deep=True)
    memory._note_use(deep, [lost.id])
    assert memory.recall(question, 1).passages[0].id == lost.id
    assert memory.history(lost.id)[-1].action == "restore"
    clock.advance(timedelta(days=40))
    assert memory.consolidate()["replay graph"].counts["replayed"] > 0
    with pytest.raises(InvalidInputError, match="undone already"):
        memory.undo(archived[0].sequence)
    assert memory.doctor().ok


def test_what_an_undo_brought_back_is_not_archived_again(
    memory: Memory, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, used = (p.id for p in memory.passages(limit=2))
    memory.consolidate()
    monkeypatch.setattr(replaying.GraphChannel, "_looked_up", lambda *_: Probe(None))

    def archived() -> set[str]:
        for _ in range(5):
            clock.advance(timedelta(days=7))
            memory.consolidate()
        return {p.id for p in memory.passages() if memory.history(p.id)[-1].action == "archive"}

    assert {kept, used} <= archived()
    memory.undo(memory.history(kept)[-1].sequence)
    memory._note_use(None, [used])
    assert archived() & {kept, used} == {used}
    assert memory.stats()["consolidation"]["archived"] == len(NAMES) - 1
    assert memory.doctor().ok


def test_a_clock_that_has_gone_back_keeps_no_worker_waiting(memory: Memory, clock: SimulatedClock) -> None:
    memory.consolidate()
    clock.advance(timedelta(days=9))
    memory.consolidate()
    clock.advance(timedelta(days=-400))
    due = memory._next_due()
    assert due is not None
    assert due <= clock.now() + timedelta(minutes=1)
    memory.consolidate()
    due = memory._next_due()
    assert due is not None
    assert clock.now() + timedelta(days=1) < due < clock.now() + timedelta(days=99)


def test_memories_that_share_a_cue_are_not_archived_for_it(fast: Callable[..., Memory], clock: SimulatedClock) -> None:
    memory = fast(clock=clock)
    ids = [memory.add(f"She spoke of {name.lower()} and boats.", title="Chat with Ada").id for name in NAMES[:7]]
    ids += [memory.add(f"It was {name}, he says.", triples=[("Ada", "likes", name)]).id for name in NAMES[7:14]]
    ids += [memory.add("Took the blue pill.", session=name).id for name in NAMES[:7]]
    for _ in range(5):
        clock.advance(timedelta(days=7))
        memory.consolidate()
    assert memory.stats()["consolidation"]["archived"] == 0
    assert {"archive"}.isdisjoint(change.action for id_ in ids for change in memory.history(id_))


def test_a_dry_round_changes_nothing(memory: Memory, clock: SimulatedClock) -> None:
    memory.consolidate()
    clock.advance(timedelta(days=9))
    memory.add("Zoe keeps 3 cats near LakeZoe.")
    before = rows(memory), log(memory), memory.stats()["views"]
    report = memory.consolidate(dry_run=True)
    told = report["replay graph"].counts
    assert told["would be replayed (due)"] + told["would be replayed (floor)"] == len(NAMES)
    assert told["not scheduled yet"] == 1
    assert (rows(memory), log(memory), memory.stats()["views"]) == before
    assert memory.consolidate()["replay graph"].counts["replayed"] >= len(NAMES)


def test_a_dry_round_looks_at_all_that_has_changed(fast: Callable[..., Memory], clock: SimulatedClock) -> None:
    memory = fast(clock=clock)
    for source in "ab":
        for number in range(150):
            memory.add(f"Note {number} tells of Thing{number}.", source=source)
    dry = memory.consolidate(dry_run=True)["tidy"]
    assert dry.counts == memory.consolidate()["tidy"].counts == {"merged": 150}


def test_a_dry_round_tells_what_is_then_done(fast: Callable[..., Memory], clock: SimulatedClock) -> None:
    memory = fast(clock=clock)
    for source in "abc":  # the third would be merged into one of the others, not into each
        for number in range(150):
            memory.add(f"Note {number} tells of Thing{number}.", source=source)
    used = memory.recall("What tells of Thing7?", 1)
    memory.feedback(used, [used.passages[0].id])
    dry = memory.consolidate(dry_run=True)["tidy"]
    assert dry.counts["merged"] == 300
    assert dry.counts["strengthened"] == 1
    assert memory.consolidate()["tidy"].counts == dry.counts
    assert not memory.consolidate(dry_run=True)["tidy"].counts


def test_a_dry_round_keeps_to_its_budget(memory: Memory, clock: SimulatedClock) -> None:
    for passage in memory.passages()[:9]:
        memory.feedback(f"what of {passage.text.split()[0]}", [passage.id])
    memory.consolidate()
    clock.advance(timedelta(days=9))
    report = memory.consolidate(budget=6, dry_run=True)
    told = {name: sum(n for what, n in report[name].counts.items() if what.startswith("would")) for name in STEPS}
    assert sum(told.values()) == 6
    done = memory.consolidate(budget=6)
    assert {name: done[name].counts["replayed"] for name in STEPS} == told


def test_forgetting_takes_the_reviews_along(memory: Memory, clock: SimulatedClock) -> None:
    memory.consolidate()
    clock.advance(timedelta(days=9))
    memory.consolidate()
    gone = memory.recall("What does Eve keep?", 1).passages[0].id
    memory._note_use(memory.recall("What does Eve keep?", 1), [gone])
    memory.forget(gone)
    assert len(rows(memory)) == len(NAMES) - 1
    assert len(log(memory)) == len(NAMES) - 1
    assert memory.doctor().ok
    with pytest.raises(NotFoundError):
        memory.undo(999_999)
    with pytest.raises(InvalidInputError, match="only archive, merge"):
        memory.undo(1)


def test_overload_for_days_is_told(memory: Memory, clock: SimulatedClock) -> None:
    memory.consolidate()
    told = []
    for _ in range(8):
        clock.advance(timedelta(days=1))
        told.append(memory.consolidate(budget=1)["replay graph"].counts["overloaded"])
    assert told[0] == 0
    assert told[-1] == 1
    clock.advance(timedelta(days=1))
    assert memory.consolidate(budget=100)["replay graph"].counts["overloaded"] == 0
    assert PER_ROUND > 100


def test_steps_can_be_switched_off(fast: Callable[..., Memory], clock: SimulatedClock) -> None:
    memory = fast(settings=Settings(consolidation_steps=frozenset(("merge",))), clock=clock)
    memory.add("Ada keeps two cats.")
    memory.consolidate()
    clock.advance(timedelta(days=30))
    assert memory.consolidate(budget=5)["replay graph"].counts == {}
    assert rows(memory) == []
    with pytest.raises(InvalidInputError, match="consolidation_steps"):
        load_settings(consolidation_steps=frozenset(("dream",)))


def test_grades_and_cues() -> None:
    assert grade_of(Probe(None), 5) == Grade.AGAIN
    assert grade_of(Probe(5, 1.0), 5) == Grade.AGAIN
    assert grade_of(Probe(0, float("nan")), 5) == Grade.AGAIN
    assert grade_of(Probe(1, 1.0), 0) == Grade.HARD
    assert grade_of(Probe(0, 1.0, 0.5), 0) == Grade.GOOD
    assert grade_of(Probe(0, 1.0, 0.5), 2) == Grade.EASY
    assert grade_of(Probe(0, 1.0, 0.01), 2) == Grade.GOOD
    assert cue_of("Ada", "text", [Triple("Ada", "lives in", "Oslo")]) == "Ada lives in"
    assert cue_of("Ada", "text", []) == "Ada"
    assert cue_of("", "北京大学在北京。", []) == "北京大学在北京。"
