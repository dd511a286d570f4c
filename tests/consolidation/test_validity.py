"""When facts hold, as users say: stored, told, respected by every recall, and left alone by consolidation."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hippomem import Document, InvalidInputError, Memory, Settings, SimulatedClock, Triple
from hippomem.testing import HashEncoder, capitals

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LET, TAKEN = datetime(2010, 5, 1, tzinfo=UTC), datetime(2015, 5, 1, tzinfo=UTC)
FLAT = Triple("Ada", "rents", "Mill Street", valid_from=LET, invalid_at=TAKEN)
ASKED = "Where does Ada rent?"


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


@pytest.fixture
def memory(fast: Callable[..., Memory], clock: SimulatedClock) -> Memory:
    return fast(clock=clock)


def told(memory: Memory, **options: Any) -> dict[str, Triple]:
    """The facts on the paths to what is recalled."""
    paths = memory.recall(ASKED, 9, **options).paths
    return {str(fact): fact for path in paths for step in path.steps for fact in step.facts}


def found(memory: Memory, **options: Any) -> list[str]:
    return [p.id for p in memory.recall(ASKED, 9, **options).passages]


def test_a_fact_holds_from_when_to_when_its_user_says(memory: Memory) -> None:
    old = memory.add("Ada rents a flat.", triples=[FLAT]).id
    plan = Triple("Ada", "rents", "Lake House", valid_from=NOW + timedelta(days=30))
    memory.add("Ada rents a house.", triples=[plan])
    assert (memory.get(old).valid_from, memory.get(old).invalid_at) == (LET, TAKEN)
    assert old not in found(memory)
    assert old in found(memory, deep=True)
    assert found(memory, as_of=datetime(2012, 1, 1, tzinfo=UTC)) == [old]
    assert old not in found(memory, as_of=LET - timedelta(days=1))
    assert old not in found(memory, as_of=TAKEN)
    at_that_time = told(memory, as_of=datetime(2012, 1, 1, tzinfo=UTC))["Ada – rents – Mill Street"]
    assert (at_that_time.valid_from, at_that_time.invalid_at) == (LET, TAKEN)
    assert memory.history(old)[-1].triples[0].invalid_at == TAKEN
    (edge,) = [d for *_, d in memory.graph().edges(data=True) if d.get("relation") == "rents" and "invalid_at" in d]
    assert edge["valid_from"] == LET.isoformat()
    assert memory.stats()["consolidation"]["ended_by_users"] == 1
    assert memory.doctor().ok


def test_a_passage_that_says_more_than_what_ended_is_recalled_with_what_holds_first(memory: Memory) -> None:
    lives = Triple("Ada", "rents", "Lake House", valid_from=TAKEN)
    both = memory.add("Ada rents.", triples=[FLAT, lives]).id
    passage = memory.recall(ASKED, 1).passages[0]
    assert passage.id == both
    assert [str(f) for f in told(memory).values()] == ["Ada – rents – Lake House", "Ada – rents – Mill Street"]
    assert "Mill Street until 2015-05-01" in passage.why[0]
    assert next(iter(told(memory, as_of=datetime(2012, 1, 1, tzinfo=UTC)))) == "Ada – rents – Mill Street"


def test_an_end_that_is_still_to_come_comes(memory: Memory, clock: SimulatedClock) -> None:
    until = NOW + timedelta(days=10)
    id_ = memory.add("Ada rents a flat.", triples=[Triple("Ada", "rents", "Mill Street", invalid_at=until)]).id
    assert id_ in found(memory)
    clock.advance(timedelta(days=11))
    assert id_ not in found(memory)


def test_a_fact_of_two_spellings_ends_where_one_of_them_says_so(memory: Memory) -> None:
    id_ = memory.add("Ada rents a flat.", triples=[FLAT, ("ADA", "rents", "Mill Street")]).id
    assert memory.get(id_).invalid_at == TAKEN
    assert memory.stats()["consolidation"]["archived"] == 0


def test_what_stood_before_an_update_held_from_when_its_user_says(memory: Memory, clock: SimulatedClock) -> None:
    old = memory.add("Ada rents a flat.", triples=[FLAT]).id
    clock.advance(timedelta(days=1))
    memory.update(old, "Ada rents two flats.")
    (then,) = memory.recall(ASKED, 9, as_of=datetime(2012, 1, 1, tzinfo=UTC)).passages
    assert (then.text, then.valid_from) == ("Ada rents a flat.", LET)
    assert found(memory, as_of=LET - timedelta(days=1)) == []


def test_said_again_with_other_times_it_has_those_and_without_it_keeps_them(memory: Memory) -> None:
    text = "Ada rents a flat."
    id_ = memory.add(text, triples=[FLAT]).id
    memory.add(text, triples=[("Ada", "rents", "Mill Street"), ("Ada", "likes", "Bea")])
    assert [(str(t), t.invalid_at) for t in memory.history(id_)[-1].triples] == [
        ("Ada – rents – Mill Street", TAKEN),
        ("Ada – likes – Bea", None),
    ]
    assert memory.get(id_).invalid_at is None  # she still likes Bea
    later = TAKEN + timedelta(days=365)
    memory.add(text, triples=[Triple("Ada", "rents", "Mill Street", invalid_at=later)])
    ends = {str(t): t.invalid_at for t in memory.history(id_)[-1].triples}
    assert ends == {"Ada – likes – Bea": None, "Ada – rents – Mill Street": later}


def test_twice_true_is_twice_kept(memory: Memory) -> None:
    again = Triple("Ada", "rents", "Mill Street", valid_from=NOW - timedelta(days=30))
    id_ = memory.add("Ada rents a flat.", triples=[FLAT, again, FLAT]).id
    assert [t.invalid_at for t in memory.history(id_)[-1].triples] == [TAKEN, None]
    assert id_ in found(memory)


def test_consolidation_leaves_alone_what_users_say(memory: Memory, clock: SimulatedClock) -> None:
    for place, name in enumerate("Bea Cid Dov Eve Fay Gil Hal Ivy Jon Kay".split()):
        for text in (f"{name} rents Town{place}.", f"{name} still rents Town{place}.")[: 1 if place < 6 else 2]:
            memory.add(text, triples=[(name, "rents", f"Town{place}")])
    lease = Triple("Ada", "rents", "Mill Street", valid_from=LET, invalid_at=NOW + timedelta(days=900))
    old = memory.add("Ada rents a flat.", triples=[lease])
    past = memory.add(
        "Bea rented once.",
        triples=[Triple("Bea", "rents", "Rome", valid_from=NOW, invalid_at=TAKEN + timedelta(days=9000))],
    )
    clock.advance(timedelta(days=3))
    memory.add("Ada rents Oslo.", triples=[("Ada", "rents", "Oslo")])
    assert memory.consolidate()["tidy"].counts.get("invalidated", 0) == 0
    assert memory.get(old.id).invalid_at == lease.invalid_at
    assert memory.get(past.id).invalid_at is not None
    # From when it holds decides what is the newer one, not when it was told.
    memory.add("Cid rented Rome.", triples=[Triple("Cid", "rents", "Rome", valid_from=LET)])
    assert memory.consolidate()["tidy"].counts["invalidated"] == 1
    assert memory.recall("Cid rented Rome", 9, deep=True).passages[0].invalid_at == NOW
    assert memory.doctor().ok


def test_it_survives_export_reading_by_a_model_and_another_encoder(
    memory: Memory, tmp_path: Path, clock: SimulatedClock
) -> None:
    from hippomem.analyse import Learned
    from hippomem.learning import learned_of
    from hippomem.storage import writes

    id_ = memory.add("Ada rents a flat on Mill Street.", triples=[FLAT]).id
    number, passage = memory._writer.current(id_)
    with memory._store.read() as connection:
        own = memory._writer._brought(connection, [id_])[id_][1]
        assert learned_of(connection, memory._number, {id_: number}) == {}
    read = Learned((Triple("Ada", "has", "Flat", "model", valid_from=NOW),), ("Flat",))
    (links,) = memory._writer.analyser.links([passage], [own], [read])
    with memory._store.write() as connection:
        writes.relink(connection, memory._number, number, id_, links, clock.now())
    ends = {str(t): (t.valid_from, t.invalid_at) for t in memory.history(id_)[-1].triples}
    assert ends == {"Ada – rents – Mill Street": (LET, TAKEN), "Ada – has – Flat": (NOW, None)}
    assert memory.get(id_).invalid_at is None  # the model found more in it, which holds
    memory.export(tmp_path / "dump")
    settings = Settings(encoder=HashEncoder(), pipeline=capitals())
    with Memory.load(tmp_path / "dump", tmp_path / "n.db", namespace="n", settings=settings) as loaded:
        (other,) = loaded.passages()
        assert {str(t): (t.valid_from, t.invalid_at) for t in loaded.history(other.id)[-1].triples} == ends | {
            "Ada – has – Flat": (other.recorded_at, None)
        }
        loaded.export(tmp_path / "again")
    memory.close()
    Memory.reencode(tmp_path / "m.db", encoder=HashEncoder(64))
    with Memory.open(tmp_path / "m.db", encoder=HashEncoder(64), pipeline=capitals()) as again:
        assert again.history(id_)[-1].triples[0].invalid_at == TAKEN
        assert again.doctor().ok


def test_a_dump_carries_what_became_of_a_passage_beside_what_users_say(memory: Memory, tmp_path: Path) -> None:
    memory.add("ok Ada", triples=[FLAT])
    memory.consolidate()  # flags it
    memory.export(tmp_path / "dump")
    settings = Settings(encoder=HashEncoder(), pipeline=capitals())
    with Memory.load(tmp_path / "dump", tmp_path / "n.db", namespace="n", settings=settings) as loaded:
        assert loaded.stats()["consolidation"]["flagged"] == 1
        assert [p.invalid_at for p in loaded.passages()] == [TAKEN]


def test_documents_and_records_carry_it(memory: Memory, tmp_path: Path) -> None:
    told_in_file = {"subject": "Ada", "relation": "rents", "object": "Mill Street", "valid_from": LET.isoformat()}
    (tmp_path / "r.jsonl").write_text(
        json.dumps({"text": "Ada rents a flat.", "triples": [told_in_file | {"invalid_at": TAKEN.isoformat()}]})
        + "\n"
        + json.dumps({"text": "Ada rents a barn.", "triples": [told_in_file | {"invalid_at": "2001-01-01"}]})
    )
    report = memory.ingest([tmp_path / "r.jsonl", Document(text="Ada rented a shed.", source="d", triples=[FLAT])])
    assert [p.invalid_at for p in memory.passages()] == [TAKEN, TAKEN]
    (failure,) = report.failed
    assert "timezone-aware" in failure.reason
    memory.ingest(Document(text="Ada rented a shed.", source="d", triples=[("Ada", "rents", "Mill Street")]))
    assert [p.invalid_at for p in memory.passages(source="d")] == [None]


@pytest.mark.parametrize(
    ("triple", "why"),
    [
        (Triple("a", "b", "c", valid_from=TAKEN, invalid_at=LET), "later than"),
        (Triple("a", "b", "c", valid_from=LET, invalid_at=LET), "later than"),
        (Triple("a", "b", "c", valid_from=datetime(2020, 1, 1)), "timezone-aware"),
        (Triple("a", "b", "c", invalid_at="2020"), "must be a datetime"),  # type: ignore[arg-type]
        (Triple("a", "b", "c", invalid_at=datetime.max.replace(tzinfo=UTC).astimezone(UTC)), None),
        ({"subject": "a", "relation": "b", "object": "c", "valid_from": "soon"}, "ISO 8601"),
        ({"subject": "a", "relation": "b", "object": "c", "until": "2020"}, "keys"),
    ],
)
def test_what_is_no_validity(memory: Memory, triple: Any, why: str | None) -> None:
    if why is None:
        memory.add("Ada.", triples=[triple])
        return
    with pytest.raises(InvalidInputError, match=why):
        memory.add("Ada.", triples=[triple])
    assert not memory.passages()
