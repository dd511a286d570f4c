"""Who asks about somebody who speaks in a conversation means what was said there, or what is about them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hippomem import Memory, Recall, Recipe
from hippomem.hippocampus.recipe import U
from hippomem.testing import HashEncoder, capitals

MOMENT = datetime(2024, 5, 1, tzinfo=UTC)
TURNS = [
    ("Ida", "I went to Bergen to see the ships."),
    ("Rolf", "How was it there?"),
    ("Ida", "Bergen was all rain, and I lost my umbrella."),
    ("Rolf", "I would have stayed at home."),
    ("Ida", "I bought a kite instead."),
    ("Rolf", "Nice!"),
    ("Ida", "It flew for a minute."),
    ("Ida", "Then it was gone."),
    ("Ida", "My sister laughed."),
    ("Rolf", "So would I have."),
    ("Tor", "There is good bread in Bergen."),
]
OTHERS = [("Uma", "Bergen is where my cousin sells fish."), ("Vera", "Tell me about it.")]
DOCUMENTS = ("Bergen", "Harbours of Bergen", "Rain in Bergen", "Ships of Bergen")
NOTE = "For the harbour office of Bergen: Ida is our guest."
ASIDE = "stands aside: neither names who is asked about, nor was told where they speak"
BY_ANOTHER = "told by another than the one who is asked about"
QUESTION = "What did Ida do in Bergen?"


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    """A conversation with Ida, another one, and documents."""
    memory = Memory.open(tmp_path / "m.db", encoder=HashEncoder(), pipeline=capitals())
    for session, turns in (("one", TURNS), ("two", OTHERS)):
        for speaker, text in turns:
            memory.add(text, title=speaker, session=session, occurred_at=MOMENT)
    for title in DOCUMENTS:
        memory.add(f"{title}: ships, rain and an umbrella in Bergen.", title=title)
    memory.add(NOTE, title="Guests")
    return memory


def causes(recall: Recall) -> dict[str, float]:
    return {passage.text: passage.causes["speaker"] for passage in recall.passages}


def test_what_is_not_about_the_speaker_stands_aside(memory: Memory) -> None:
    found = memory.recall(QUESTION, k=20)
    lost = causes(found)
    assert len(lost) == len(TURNS) + len(OTHERS) + len(DOCUMENTS) + 1
    assert {lost[text] for _, text in TURNS} == {0.0}  # whoever says it
    assert {lost[text] for _, text in OTHERS} == {-3.0}
    assert {lost[f"{title}: ships, rain and an umbrella in Bergen."] for title in DOCUMENTS} == {-3.0}
    assert lost[NOTE] == 0.0  # no turn, and names her
    assert all((ASIDE in passage.why) == (passage.causes["speaker"] < 0) for passage in found.passages)


def test_documents_make_room_for_turns(memory: Memory) -> None:
    first = [p.title for p in memory.recall(QUESTION, k=3).passages]
    without = [p.title for p in memory.recall(QUESTION, k=3, recipe=Recipe(speaker=0)).passages]
    assert (first.index("Ida"), without.index("Ida")) == (0, 2)


@pytest.mark.parametrize("question", ["Which ships are in Bergen?", "Where did Vera go?", "how was it there?"])
def test_without_a_speaker_in_the_question_nothing_stands_aside(memory: Memory, question: str) -> None:
    assert set(causes(memory.recall(question, k=20)).values()) == {0.0}  # Vera spoke once: no more than a name


def test_a_title_of_many_documents_is_no_speaker(memory: Memory) -> None:
    for number in range(9):
        memory.add(f"Part {number} of the handbook.", title="Harbour Handbook")
    recall = memory.recall("What does the Harbour Handbook say of Bergen?", k=30)
    assert set(causes(recall).values()) == {0.0}


def test_a_snapshot_and_a_limit_change_nothing(memory: Memory, tmp_path: Path) -> None:
    before = causes(memory.recall(QUESTION, k=20))
    memory.close()
    with Memory.open(tmp_path / "m.db", encoder=HashEncoder(), pipeline=capitals()) as again:
        assert causes(again.recall(QUESTION, k=20)) == before
        only = again.recall(QUESTION, k=20, session="two")
        assert {p.session for p in only.passages} == {"two"}


def test_who_is_asked_about_tells_it_themselves(memory: Memory) -> None:
    found = memory.recall(QUESTION, k=20)
    lost = {passage.text: passage.causes["teller"] for passage in found.passages}
    own = {text for speaker, text in TURNS if speaker == "Ida"}
    others = {text for speaker, text in [*TURNS, *OTHERS] if speaker != "Ida"}
    assert {text for text in lost if lost[text]} == others
    assert {lost[text] for text in own} == {0.0}
    assert {lost[text] for text in others} == {-U.teller}
    assert all((BY_ANOTHER in passage.why) == (passage.causes["teller"] < 0) for passage in found.passages)
    without = memory.recall(QUESTION, k=20, recipe=Recipe(teller=0))
    assert {passage.causes["teller"] for passage in without.passages} == {0.0}


def test_of_two_who_are_asked_about_either_may_tell_it(memory: Memory) -> None:
    for number in range(4):
        memory.add(f"I have {number} kites.", title="Rolf", session="one", occurred_at=MOMENT)
    assert {p.causes["teller"] for p in memory.recall("What did Ida tell Rolf?", k=30).passages} == {0.0}
    assert {p.causes["teller"] for p in memory.recall("What has Rolf got?", k=30).passages} == {0.0, -U.teller}


def test_once_the_turns_are_forgotten_nobody_speaks(memory: Memory) -> None:
    for passage in memory.recall(QUESTION, k=20).passages:
        if passage.title == "Ida":
            memory.forget(passage.id)
    assert set(causes(memory.recall(QUESTION, k=20)).values()) == {0.0}
