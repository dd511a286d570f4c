"""A note by itself, which names next to nothing and around which nothing was said: its own words are all there is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hippomem import Memory, Recipe
from hippomem.hippocampus.recipe import U
from hippomem.testing import HashEncoder, capitals

ISLA = "My daughter Isla is in her second year, doing geography."
NOTES = (
    ISLA,
    "The alarm code is 2290 and there are thirty seconds.",
    "I don't take milk in my coffee.",
    "The dentist is on the fourth floor.",
    "Clinical waste is picked up on Thursdays.",
)
DOCUMENT = "Isla is a river in Scotland. It rises near Glas Maol and flows past Forter Castle to Perthshire."
QUESTION = "What is Isla studying?"


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    memory = Memory.open(tmp_path / "m.db", encoder=HashEncoder(), pipeline=capitals())
    for note in NOTES:
        memory.add(note)
    return memory


def causes(memory: Memory, text: str, question: str = QUESTION, **constants: float) -> dict[str, float]:
    found = memory.recall(question, k=20, recipe=Recipe(**constants))  # type: ignore[arg-type]
    return next(dict(passage.causes) for passage in found.passages if passage.text == text)


def test_its_names_count_as_words(memory: Memory) -> None:
    assert memory.recall(QUESTION).passages[0].entities == ("Isla",)
    assert causes(memory, ISLA)["words"] > 0.5
    assert causes(memory, NOTES[1])["words"] == 0


def test_the_graph_tells_of_a_titled_passage_instead(memory: Memory) -> None:
    memory.add(DOCUMENT, title="Isla (river)")
    assert causes(memory, DOCUMENT)["words"] < 0.1
    assert causes(memory, DOCUMENT, known=0)["words"] == 0
    assert causes(memory, ISLA)["words"] > 0.5


def test_cosines_count_for_more_above_and_below_those_that_lead(memory: Memory) -> None:
    memory.add(DOCUMENT, title="Isla (river)")
    for text in (*NOTES, DOCUMENT):
        plain, more = (causes(memory, text, alone=weight, unmet=0, met=1e-6)["cosine"] for weight in (0, 8))
        found = memory.recall(QUESTION, k=20, method="dense")
        cosines = {passage.text: passage.causes["cosine"] for passage in found.passages}
        above = cosines[text] - sum(sorted(cosines.values())[-5:]) / 5
        weight = 0 if text == DOCUMENT else 8
        assert more - plain == pytest.approx(weight * above, abs=0.05)


def test_a_turn_is_alone_where_it_is_all_of_its_session(memory: Memory) -> None:
    memory.add("Isla rang at noon.", session="one")
    assert causes(memory, "Isla rang at noon.")["brevity"] == 0
    assert causes(memory, "Isla rang at noon.", alone=0)["cosine"] != causes(memory, "Isla rang at noon.")["cosine"]


def test_in_a_session_in_which_nobody_asks_all_are_alone(memory: Memory) -> None:
    for number in range(4):
        memory.add(f"Isla passed her exam number {number}.", session="s")
    last = memory.add("Isla moved to Dundee.", session="s")
    assert causes(memory, "Isla passed her exam number 3.")["brevity"] == 0
    memory.update(last.id, "Where did Isla move to?")
    assert causes(memory, "Isla passed her exam number 3.")["brevity"] < -1


def test_what_was_said_in_a_session_is_not_alone(memory: Memory) -> None:
    for text in ("Isla rang.", "She sounded happy.", "She will come at Easter.", "Will you?"):
        memory.add(text, session="s", occurred_at=datetime(2026, 4, 1, tzinfo=UTC))
    assert causes(memory, "Isla rang.")["words"] < causes(memory, ISLA)["words"]
    met = {"unmet": 0.0, "met": 1e-6}
    assert causes(memory, "Isla rang.", alone=0)["cosine"] == causes(memory, "Isla rang.", **met)["cosine"]


def test_the_graph_does_not_draw_a_note_below_documents_it_knows(memory: Memory) -> None:
    """What is not known of a note is taken from the leading passages that are known, not from notes like it."""
    memory.add(DOCUMENT, title="Isla (river)")
    walks = [causes(memory, text)["named walk"] for text in (DOCUMENT, NOTES[2])]
    assert walks[1] > walks[0] - 1


def test_what_answers_a_question_is_whole_and_what_asks_one_stands_back(memory: Memory) -> None:
    turns = ("How is Isla?", "Fine.", "Did Isla pass?", "Did she not tell you?", "Isla rang.")
    for text in turns:
        memory.add(text, session="s")
    told = [causes(memory, text) for text in turns]
    assert [cause["brevity"] < 0 for cause in told] == [True, False, True, False, False]
    assert [cause["asking"] for cause in told] == [-U.asking, 0, -U.asking, 0, 0]


def test_what_a_walk_brings_it_above_the_leading_counts(memory: Memory) -> None:
    for text in ("Ask what she is studying.", "What are the others studying?", "She is studying what she likes."):
        memory.add(text)
    plain, raised, all_of_it = (causes(memory, ISLA, raised=most)["named walk"] for most in (0, 2, 50))
    assert raised == pytest.approx(plain + U.named_walk * 2, abs=0.1)
    assert raised < all_of_it <= 0.01
    others = [causes(memory, NOTES[1], raised=most)["named walk"] for most in (0, 2)]
    assert others[0] == pytest.approx(others[1], abs=0.1)


def test_what_is_unknown_of_it_is_not_held_against_it_without_end(memory: Memory) -> None:
    for text in ("Ask what she is studying.", "What are the others studying?", "She is studying what she likes."):
        memory.add(text)
    walks = [causes(memory, NOTES[1], unknown=most, raised=0)["named walk"] for most in (1, 6, 50)]
    assert walks[0] == pytest.approx(-U.named_walk, abs=0.01)
    assert walks[1] == pytest.approx(-U.named_walk * 6, abs=0.01)
    assert walks[2] < walks[1]


def test_what_stands_by_itself_is_whole_however_short(memory: Memory) -> None:
    for number, text in enumerate(("Isla rang.", "Did she sound happy?")):
        memory.add(text, session="s", occurred_at=datetime(2026, 4, 1, 0, number, tzinfo=UTC))
    assert causes(memory, ISLA)["brevity"] == 0
    assert causes(memory, "Isla rang.")["brevity"] < -1


def test_however_steeply_the_graph_comes_to_know_a_passage_it_is_found(memory: Memory) -> None:
    memory.add(DOCUMENT, title="Isla")
    for recipe in (Recipe(known=1e-3, steepness=400), Recipe(known=1e-300)):
        assert len(memory.recall(QUESTION, 10, recipe=recipe).passages) == len(NOTES) + 1


def test_notes_that_are_dated_where_clocks_begin_are_no_turns_of_a_session() -> None:
    def told(moment: datetime) -> list[tuple[str, float]]:
        with Memory.open(":memory:", encoder=HashEncoder(), pipeline=capitals()) as memory:
            for text in (*NOTES, "Did the plumber call back?"):
                memory.add(text, occurred_at=moment)
            return [(p.text, round(p.score, 3)) for p in memory.recall(QUESTION, 10).passages]

    assert told(datetime(1970, 1, 1, tzinfo=UTC)) == told(datetime(1970, 1, 1, 0, 0, 9, tzinfo=UTC))
