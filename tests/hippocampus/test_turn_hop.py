"""What goes on after a leading turn: the next that the one asked about says, or the next but one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hippomem import Memory, Recipe
from hippomem.hippocampus.ranking import Learned, rank
from hippomem.hippocampus.recipe import U
from hippomem.hippocampus.sought import Sought
from hippomem.testing import HashEncoder, capitals

NEXT = "told next, after a leading passage"
LEADS = "The ferry to Bodo was cancelled because of the storm."
TALK = (
    ("Ida", LEADS),
    ("Rolf", "What did you do?"),
    ("Ida", "I slept at my aunt's."),
    ("Rolf", "Lucky you."),
    ("Ida", "She made pancakes."),
    ("Rolf", "With jam?"),
    ("Ida", "Yes, of the yellow kind."),
    ("Rolf", "I like those best."),
    ("Ida", "Me too."),
    ("Rolf", "My own aunt cannot cook."),
    ("Ida", "Poor you."),
    ("Rolf", "It is late."),
)
QUESTION = "What did Ida say about the cancelled ferry to Bodo in the storm?"
UNTOLD = "Why was the ferry to Bodo cancelled, was there a storm?"  # names nobody who speaks

Opened = Callable[..., Memory]


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    memory = Memory.open(tmp_path / "m.db", encoder=HashEncoder(), pipeline=capitals())
    for speaker, text in TALK:
        memory.add(text, title=speaker, session="one")
    return memory


def hops(memory: Memory, question: str, **constants: float) -> dict[str, float]:
    """What the hop gives to each turn that it gives something."""
    found = memory.recall(question, k=30, recipe=Recipe(**constants)).passages  # type: ignore[arg-type]
    assert all((NEXT in passage.why) == (passage.causes["turn hop"] > 0) for passage in found)
    return {passage.text: passage.causes["turn hop"] for passage in found if passage.causes["turn hop"]}


def test_the_next_but_one_is_by_the_same_speaker(memory: Memory) -> None:
    assert memory.recall(QUESTION, k=1).passages[0].text == LEADS
    for question in (QUESTION, UNTOLD):
        assert hops(memory, question, hop_from=1) == {"I slept at my aunt's.": U.turn_hop}
    assert hops(memory, QUESTION, turn_hop=0) == {}


def test_the_next_that_the_one_asked_about_says(memory: Memory) -> None:
    """After a turn of the other's that is the first; and of one's own that go on, too."""
    asked = "Did Rolf say that the ferry to Bodo was cancelled because of the storm?"
    assert memory.recall(asked, k=1).passages[0].text == LEADS
    assert hops(memory, asked, hop_from=1) == {"What did you do?": pytest.approx(U.turn_hop * U.unasked)}
    memory.add("The sauna in Narvik was closed.", title="Ida", session="two")
    memory.add("So I swam in the sea.", title="Ida", session="two")
    memory.add("Was it cold?", title="Rolf", session="two")
    of_her = hops(memory, "Why did Ida say that the sauna in Narvik was closed?", hop_from=1)
    assert of_her == {"So I swam in the sea.": pytest.approx(U.turn_hop * U.unasked)}


def test_it_is_worth_less_where_nobody_asked_and_the_later_the_leading_turn_comes(memory: Memory) -> None:
    leading = memory.recall(QUESTION, k=U.hop_from, recipe=Recipe(turn_hop=0)).passages
    texts = [text for _, text in TALK]
    expected: dict[str, float] = {}
    for place, passage in enumerate(leading, 1):
        at = texts.index(passage.text)
        onward = next((i for i in (at + 1, at + 2) if TALK[i : i + 1] and TALK[i][0] == "Ida"), None)
        if onward:
            worth = U.turn_hop / place * (1 if texts[onward - 1].endswith("?") else U.unasked)
            expected[texts[onward]] = max(worth, expected.get(texts[onward], 0))
    assert len(set(expected.values())) > 3
    assert hops(memory, QUESTION) == pytest.approx(expected, abs=1e-5)


def test_what_feedback_lifts_leads_nowhere(memory: Memory) -> None:
    vector, recipe = HashEncoder().encode_query(QUESTION), Recipe(hop_from=1)
    lifted = Learned(vector, np.array([7], np.int64), np.array([50], np.float32), np.array([1], np.int64))
    with memory._lock, memory._synced() as (view, _):
        for learned in (None, lifted):
            ranking = rank(view, QUESTION, Sought(vector), 1, recipe=recipe, learned=learned)
            assert ranking.order.tolist() == [7 if learned else 0]
            assert ranking.rows[np.nonzero(ranking.terms["turn hop"])[0]].tolist() == [2]


def test_a_session_ends_where_it_ends(memory: Memory) -> None:
    memory.add("The lighthouse of Vardo is red.", title="Ida", session="two")
    memory.add("Is it?", title="Rolf", session="two")
    memory.add("Bread is baked at four.", title="Ida", session="three")
    assert hops(memory, "Which colour is the lighthouse of Vardo?", hop_from=1) == {}


def test_documents_do_not_go_on(fast: Opened, tmp_path: Path) -> None:
    memory = fast()
    (tmp_path / "ferries.txt").write_text(" ".join(f"The ferry to Bodo left {n} times." for n in range(200)))
    memory.ingest([tmp_path / "ferries.txt"])
    assert memory.stats()["passages"] > 3
    assert hops(memory, UNTOLD) == {}


def test_what_goes_on_is_found_in_a_large_memory_too(memory: Memory) -> None:
    """There only some passages are scored: what comes after the most likely ones is among them."""
    for number in range(60):
        memory.add(f"Lot {number}: forty crates of herring for the harbour, weighed and salted.", title=f"Lot {number}")
    small = Recipe(everything=0, nearest=5, candidates=2, postings=1, walked=1)
    for recipe in (Recipe(), small):
        found = {p.text: p.causes["turn hop"] for p in memory.recall(UNTOLD, k=80, recipe=recipe).passages}
        assert found["I slept at my aunt's."] == pytest.approx(U.turn_hop)
    assert len(found) < len(TALK) + 60
