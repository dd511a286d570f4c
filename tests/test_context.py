"""Context windows: what comes before and after a recalled passage; and recipes of one's own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hippomem import Document, InvalidInputError, Memory, Passage, Recipe, Settings, SimulatedClock, Triple

Opened = Callable[..., Memory]
SHORT = Settings(passage_chars=100)
MONDAY = datetime(2024, 5, 6, 9, tzinfo=UTC)
TURNS = ["Hello there.", "Shall we meet?", "The zeppelin lands at noon.", "I will be late.", "Bring sandwiches."]
PARTS = [f"Chapter {n} tells of {animal} at some length and with much patience." for n, animal in enumerate(
    ("herons", "badgers", "otters", "adders", "martens")
)]  # fmt: skip


def texts(passages: tuple[Passage, ...]) -> list[str]:
    return [passage.text for passage in passages]


def talk(memory: Memory) -> None:
    for session in ("one", "two"):
        for n, turn in enumerate(TURNS):
            text = turn if session == "one" else turn.replace("zeppelin", "tram")
            memory.add(text, title="Ada", session=session, occurred_at=MONDAY + timedelta(minutes=n))


def test_turns_come_with_their_neighbours_in_the_session(fast: Opened) -> None:
    memory = fast()
    talk(memory)
    (found,) = memory.recall("When does the zeppelin land?", 1, context=1).passages
    assert found.text == TURNS[2]
    assert texts(found.before) == [TURNS[1]]
    assert texts(found.after) == [TURNS[3]]
    assert {p.session for p in (*found.before, *found.after)} == {"one"}
    (found,) = memory.recall("When does the zeppelin land?", 1, context=9).passages
    assert [*texts(found.before), found.text, *texts(found.after)] == TURNS


def test_without_context_there_are_no_neighbours(fast: Opened) -> None:
    memory = fast()
    talk(memory)
    (found,) = memory.recall("When does the zeppelin land?", 1).passages
    assert found.before == found.after == ()


def test_what_happened_later_stays_out_of_the_window(fast: Opened) -> None:
    memory = fast()
    talk(memory)
    (found,) = memory.recall("zeppelin", 1, context=2, as_of=MONDAY + timedelta(minutes=2)).passages
    assert texts(found.before) == TURNS[:2]
    assert found.after == ()


@pytest.mark.parametrize("method", ["graph", "dense"])
def test_what_does_not_come_back_is_passed_over_in_the_window(fast: Opened, method: str) -> None:
    clock = SimulatedClock(MONDAY)
    memory = fast(clock=clock)
    for turn in TURNS:
        ended = [Triple("Ada", "meets", "Bea", invalid_at=MONDAY + timedelta(days=1))] if turn == TURNS[1] else None
        memory.add(turn, session="one", triples=ended)
    clock.advance(timedelta(days=2))
    for wanted, options in (
        ([TURNS[0], *TURNS[2:4]], {}),
        (TURNS[1:4], {"deep": True}),
        (TURNS[1:4], {"as_of": MONDAY}),
    ):
        (found,) = memory.recall("zeppelin", 1, context=1, method=method, **options).passages  # type: ignore[arg-type]
        assert [*texts(found.before), found.text, *texts(found.after)] == wanted


@pytest.mark.parametrize("session", ["one", None])
def test_what_is_updated_stays_where_it_was_told(fast: Opened, tmp_path: Path, session: str | None) -> None:
    clock = SimulatedClock(MONDAY)
    memory = fast(clock=clock)
    turns = []
    for turn in TURNS:
        turns.append(memory.add(turn, session=session, source="chat"))
        clock.advance(timedelta(minutes=1))
    clock.advance(timedelta(days=3))
    memory.recall("zeppelin", 1, context=4)
    before = clock.now()
    for landing in ("one", "two"):
        clock.advance(timedelta(days=1))
        memory.update(turns[2].id, f"The zeppelin lands at {landing}.")
    memory.export(tmp_path / "dump.jsonl")
    settings = Settings(encoder=memory._encoder.encoder, pipeline=memory.settings.pipeline)
    with Memory.load(tmp_path / "dump.jsonl", tmp_path / "copy.db", settings=settings) as copy:
        for one in (memory, copy):
            for landing, options in (("two", {}), ("noon", {"as_of": before})):
                (found,) = one.recall("When does the zeppelin land?", 1, context=4, **options).passages  # type: ignore[arg-type]
                told = [*texts(found.before), found.text, *texts(found.after)]
                assert told == [*TURNS[:2], f"The zeppelin lands at {landing}.", *TURNS[3:]]
            listed = [*TURNS[:2], "The zeppelin lands at two.", *TURNS[3:]]
            assert [p.text for p in one.passages()] == listed
            assert [p.text for p in one.passages(session=session or "", limit=3, offset=1)] == listed[1:4]
            assert [p.text for p in one.passages(source="chat")] == listed
            assert one.doctor().ok


def test_notes_come_with_those_told_at_about_the_same_time(fast: Opened) -> None:
    memory = fast()
    for n, text in enumerate(TURNS):
        memory.add(text, occurred_at=MONDAY + timedelta(hours=2 * (n == 4), minutes=n))
    (found,) = memory.recall("zeppelin", 1, context=3).passages
    assert texts(found.before) == TURNS[:2]
    assert texts(found.after) == [TURNS[3]]


@pytest.mark.parametrize("method", ["graph", "dense"])
def test_parts_of_a_document_come_with_their_neighbours(fast: Opened, method: str) -> None:
    memory = fast(settings=SHORT)
    memory.ingest(Document(text="\n\n".join(PARTS), source="book", title="Beasts"))
    (found,) = memory.recall("otters", 1, context=1, method=method).passages  # type: ignore[arg-type]
    assert [*texts(found.before), found.text, *texts(found.after)] == PARTS[1:4]


def test_records_of_one_file_are_no_neighbours(fast: Opened) -> None:
    memory = fast()
    memory.ingest([{"text": part, "title": "Beasts", "source": "records"} for part in PARTS])
    (found,) = memory.recall("otters", 1, context=1).passages
    assert found.before == found.after == ()


def test_a_document_that_changed_has_its_neighbours_in_order(fast: Opened, tmp_path: Path) -> None:
    memory = fast(settings=SHORT)
    file = tmp_path / "book.md"
    file.write_text("\n\n".join(PARTS), encoding="utf-8")
    memory.ingest(file)
    new = "Foreword, in which the author thanks the ferrets for all that they did."
    file.write_text("\n\n".join([*PARTS[:2], new, *PARTS[2:]]), encoding="utf-8")
    assert memory.ingest(file).passages == 1
    (found,) = memory.recall("otters", 1, context=2).passages
    assert [*texts(found.before), found.text, *texts(found.after)] == [PARTS[1], new, *PARTS[2:]]
    assert memory.doctor().ok
    memory.forget(found.before[1].id)
    assert memory.doctor().ok


@pytest.mark.parametrize("context", [-1, 1.5, True, "1"])
def test_a_context_is_a_whole_number(fast: Opened, context: object) -> None:
    with pytest.raises(InvalidInputError, match="context must be a whole number"):
        fast().recall("anything", context=context)  # type: ignore[arg-type]


def test_a_recipe_leaves_terms_out(fast: Opened) -> None:
    memory = fast()
    talk(memory)
    whole = memory.recall("Who brings sandwiches, Ada?", 1, recipe=Recipe(turn_hop=0)).passages[0]
    assert whole.causes["words"] > 0 > whole.causes["brevity"]
    bare = memory.recall("Who brings sandwiches, Ada?", 1, recipe=Recipe(turn_hop=0, words=0, brevity=0)).passages[0]
    assert bare.causes["words"] == bare.causes["brevity"] == 0
    assert bare.score == pytest.approx(whole.score - whole.causes["words"] - whole.causes["brevity"], abs=1e-3)


@pytest.mark.parametrize(
    "recipe",
    [{"sentences": 0}, {"known": 0}, {"passage_share": 0}, {"names": False}, {"words_once": False},
     {"near_likeness": False}, {"near_words": False}, {"title_hop": 0}, {"turn_hop": 0}, {"teller": 0},
     {"cosine": 0}, {"terse": 0}, {"walk_of_turns": 0}, {"walk": 0, "named_walk": 0}],
)  # fmt: skip
def test_every_mechanism_can_be_switched_off(fast: Opened, recipe: dict[str, float]) -> None:
    memory = fast()
    talk(memory)
    assert len(memory.recall("When does the zeppelin land, Ada?", 3, recipe=Recipe(**recipe)).passages) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "recipe",
    [{"words": float("nan")}, {"walk": -1}, {"candidates": 0}, {"known": "4"}, {"met": 0.1}, {"suggested": 1.5},
     {"nearest": 1e3}, {"passage_share": 1.1}],
)  # fmt: skip
def test_a_recipe_that_cannot_be_computed_is_refused(recipe: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match="a recipe's"):
        Recipe(**recipe)  # type: ignore[arg-type]
