"""A question in other words than all passages: no word tells, so likeness counts for more."""

from __future__ import annotations

from pathlib import Path

import pytest

from hippomem import Memory, Recipe
from hippomem.testing import HashEncoder, capitals

DOCUMENTS = {
    "Isla": "Isla is a river in Scotland. It rises near Glas Maol and flows past Forter Castle to Perthshire.",
    "Tay": "Tay is the longest river in Scotland. It rises on Ben Lui and reaches the sea at Dundee.",
    "Alloa": "Alloa is a town on the Forth. Its brewery closed when the harbour had silted up.",
}
SAME, OTHER = "Which brewery closed when the harbour silted up?", "Where did people make beer long ago?"


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    memory = Memory.open(tmp_path / "m.db", encoder=HashEncoder(), pipeline=capitals())
    for title, text in DOCUMENTS.items():
        memory.add(text, title=title)
    return memory


def cosines(memory: Memory, question: str, **constants: float) -> dict[str, float]:
    found = memory.recall(question, k=9, recipe=Recipe(**constants))  # type: ignore[arg-type]
    return {passage.title or "": passage.causes["cosine"] for passage in found.passages}


def test_a_question_in_the_words_of_a_passage_is_left_to_them(memory: Memory) -> None:
    assert cosines(memory, SAME) == pytest.approx(cosines(memory, SAME, alone=0), abs=0.01)


@pytest.mark.parametrize("question", [OTHER, "And where was it?"])
def test_one_in_other_words_is_left_to_likeness(memory: Memory, question: str) -> None:
    found = memory.recall(question, k=3, method="dense").passages
    plain = {passage.title or "": passage.causes["cosine"] for passage in found}
    mean = sum(plain.values()) / len(plain)
    expected = {title: 6 * cosine + 8 * (cosine - mean) for title, cosine in plain.items()}
    assert cosines(memory, question) == pytest.approx(expected, abs=1e-4)


def test_between_the_two_it_counts_in_part(memory: Memory) -> None:
    shares = [cosines(memory, SAME, unmet=unmet, met=1.0)["Alloa"] for unmet in (0.0, 0.2, 0.9)]
    assert cosines(memory, SAME)["Alloa"] < shares[0] < shares[1] <= shares[2]


def test_a_name_that_only_facts_hold_is_left_to_the_graph(memory: Memory) -> None:
    named = "Who keeps bees beside Heron House?"
    assert cosines(memory, named) != pytest.approx(cosines(memory, named, alone=0), abs=0.01)
    memory.add("It was sold in spring.", title="Alder", triples=[("Alder", "owns", "Heron House")])
    assert cosines(memory, named)["Tay"] == pytest.approx(cosines(memory, named, alone=0)["Tay"], abs=0.01)
