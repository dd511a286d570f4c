"""Slips in a question's words: what is read as what, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hippomem import Memory, Recipe
from hippomem.hippocampus.keys import plain
from hippomem.hippocampus.spelling import corrected

TEXT = "Wolfgang Amadeus Mozart was born in Salzburg. Salzburg lies on the Salzach. Достоевский writes novels."
COUNTS = {word.lower(): plain(TEXT).split().count(word) for word in plain(TEXT).split()}
NAMES = ("Wolfgang Amadeus Mozart", "Salzburg", "Salzach")


def reread(question: str) -> str:
    return corrected(question, lambda word: COUNTS.get(word, 0), lambda text: [name for name in NAMES if name in text])


@pytest.mark.parametrize(
    "written",
    ["Salzbrg", "Sallzburg", "Salzbirg", "Salzbugr", "aSlzburg"],
    ids=["left out", "put in", "exchanged", "swapped", "at the front"],
)
def test_a_slip_in_a_name_is_read_through(written: str) -> None:
    assert reread(f"Who was born in {written}?").lower() == "who was born in salzburg"


def test_two_words_of_a_name_are_both_read_through() -> None:
    assert reread("Where was Wolfgang Amadeuss Mozrt born?") == "Where was Wolfgang Amadeus Mozart born"


def test_another_script_has_its_own_letters() -> None:
    assert reread("Что пишет Достаевский") == plain("Что пишет Достоевский")


@pytest.mark.parametrize(
    "question",
    [
        "Where was Mozart born, and when?",  # nothing is wrong
        "Who governs Vladivostok?",  # not known, and not near to anything
        "Is Salz a river?",  # too short to tell
        "Who hovels there?",  # without a capital, and what it might mean stands once
        "",
        "???",
        "北京大学在哪里",
    ],
)
def test_what_is_no_slip_is_left_alone(question: str) -> None:
    assert reread(question) == question


def test_a_name_that_only_the_triples_hold_is_known() -> None:
    assert corrected("Where is Salzburk?", lambda word: COUNTS.get(word, 0), lambda _: ["Salzburk"]) == (
        "Where is Salzburk?"
    )


def test_recall_finds_the_name(fast: Callable[..., Memory]) -> None:
    memory = fast()
    wanted = memory.add("Ada Thorne keeps bees.", title="Ada Thorne")
    for n in range(8):
        memory.add(f"Clerk{n} counts sheep in Village{n}.", title=f"Clerk{n}")
    found = memory.recall("What does Ada Thorme keep?", 1).passages[0]
    assert (found.id, found.entities) == (wanted.id, ("Ada Thorne",))
    literal = memory.recall("What does Ada Thorme keep?", 1, recipe=Recipe(spelling=False)).passages[0]
    assert literal.entities == ()
    memory.forget(wanted.id)
    assert memory.recall("What does Ada Thorme keep?", 1).passages[0].entities == ()


def test_what_is_no_slip_of_a_hand_costs_nothing() -> None:
    asked = []

    def count(word: str) -> int:
        asked.append(word)
        return 0

    for question in ("A" * 9_999, " ".join(f"{a}{b}{c}xyz" for a in "abcde" for b in "abcde" for c in "abcde")):
        assert corrected(question, count, lambda _: []) == question
    assert len(asked) == 125  # each word once
