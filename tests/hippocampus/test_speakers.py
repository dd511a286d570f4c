"""Turns and notes are compared with a question without the names of those who talk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hippomem import Memory, Passage, Recipe
from hippomem.hippocampus.recipe import U
from hippomem.hippocampus.sought import Sought
from hippomem.hippocampus.speakers import unnamed, without_names
from hippomem.neocortex.neural_memory.memory import VOTE
from hippomem.storage import learning
from hippomem.testing import HashEncoder, capitals

TURNS = (
    ("Ida", "I slept at my aunt's."),
    ("Rolf", "Lucky you, Ida. Was there breakfast?"),
    ("Ida", "She made pancakes."),
    ("Rolf", "With jam?"),
    ("Ida", "Yes, of the yellow kind."),
    ("Rolf", "I like those best, Ida."),
) * 2
DOCUMENT = ("Ida Glacier", "Ida Glacier calves into a lake. Breakfast is served on the shore.")
QUESTION, REST = "What did Ida have for breakfast?", "What did have for breakfast?"

Opened = Callable[..., Memory]


@pytest.fixture
def talk(fast: Opened) -> Memory:
    memory = fast()
    for number, (speaker, text) in enumerate(TURNS):
        memory.add(text + " " * (number // 6), title=speaker, session=f"s{number // 6}")
    memory.add(DOCUMENT[1], title=DOCUMENT[0])
    return memory


def cosines(memory: Memory, question: str, **constants: float) -> dict[str, float]:
    """What the cosine gave to each passage, by id."""
    found = memory.recall(question, k=30, recipe=Recipe(alone=0, **constants)).passages  # type: ignore[arg-type]
    return {passage.id: passage.causes["cosine"] for passage in found}


def rest_of(memory: Memory, question: str, recipe: Recipe = U) -> str | None:
    with memory._lock, memory._synced() as (view, _):
        return unnamed(view, question, recipe)


def is_turn(passage: Passage) -> bool:
    return passage.session is not None


@pytest.mark.parametrize("ways", [{}, {"everything": 1}, {"everything": 1, "nearest": 2, "near_likeness": False}])
def test_turns_are_compared_with_the_question_without_the_name_and_documents_are_not(
    talk: Memory, ways: dict[str, float]
) -> None:
    assert rest_of(talk, QUESTION) == REST
    ours = cosines(talk, QUESTION, **ways)
    whole, rest = (cosines(talk, question, unnamed=False, **ways) for question in (QUESTION, REST))
    assert len(ours) > 4
    for id_, cosine in ours.items():
        other = rest if is_turn(talk.get(id_)) else whole
        if id_ in other:
            assert cosine == pytest.approx(other[id_], abs=1e-4)
    turns = [id_ for id_ in ours if is_turn(talk.get(id_)) and id_ in whole]
    assert any(abs(ours[id_] - whole[id_]) > 0.1 for id_ in turns)


def test_what_others_say_to_one_does_not_come_first_for_the_name(talk: Memory) -> None:
    first = talk.recall("What did Ida say of pancakes?", k=1).passages[0]
    assert first.text.startswith("She made pancakes")


def test_nothing_is_left_out_where_nobody_talks(fast: Opened, talk: Memory) -> None:
    documents = fast(namespace="documents")
    for number in range(9):
        documents.add(f"Part {number} tells of Ida and her glacier.", title="Ida", source="book")
    assert rest_of(documents, QUESTION) is None
    assert rest_of(talk, "What is the glacier's name?") is None
    assert rest_of(talk, "Ida, Ida's?") is None  # then nothing would be asked
    assert rest_of(talk, QUESTION, Recipe(names=False)) is rest_of(talk, QUESTION, Recipe(unnamed=False)) is None


def test_of_notes_those_that_many_name_are_the_ones_who_talk(fast: Opened) -> None:
    memory = fast()
    for number in range(12):  # of one thing after the other, with a question each
        thing = f"thing{number}"
        for text in (f"Ida, {thing} again, or no {thing}?", f"I had {thing}, {thing}.", f"No {thing} without {thing}."):
            memory.add(text)
    memory.add("Bodo has a harbour.")
    assert rest_of(memory, QUESTION) == REST
    assert rest_of(memory, QUESTION, Recipe(addressed=0.5)) is None
    assert rest_of(memory, "What did Bodo build?") is None


def test_a_question_about_documents_is_encoded_once(
    fast: Opened, monkeypatch: pytest.MonkeyPatch, talk: Memory
) -> None:
    asked: list[str] = []
    encode = HashEncoder.encode_query

    def noted(self: HashEncoder, text: str) -> np.ndarray:
        asked.append(text)
        return encode(self, text)

    monkeypatch.setattr(HashEncoder, "encode_query", noted)
    documents = fast(namespace="documents")
    documents.add(DOCUMENT[1], title=DOCUMENT[0])
    documents.recall(QUESTION)
    assert asked == [QUESTION]
    asked.clear()
    for _ in range(2):
        talk.recall(QUESTION)
    assert asked == [QUESTION, REST]
    asked.clear()
    talk.recall("And Ida, breakfast?", method="dense")
    assert asked == ["And Ida, breakfast?"]


@pytest.mark.sqlite
def test_feedback_is_known_by_what_was_asked_and_not_about_whom(talk: Memory, tmp_path: Path) -> None:
    def stored(memory: Memory) -> np.ndarray:
        with memory._store.read() as connection:
            (row,) = learning.event_rows(connection, memory._number, memory._encoder_number)
        return np.asarray(row.vector)

    useful = talk.recall("pancakes", k=1).passages[0]
    talk.feedback(QUESTION, [useful])
    np.testing.assert_allclose(stored(talk), HashEncoder().encode_query(REST), atol=1e-6)
    other = talk.recall("What did Rolf have for breakfast?", k=20)
    assert next(p for p in other.passages if p.id == useful.id).causes["learned"] > 0.9 * VOTE
    talk.close()
    Memory.reencode(tmp_path / "m.db", encoder=HashEncoder(32))
    with Memory.open(tmp_path / "m.db", encoder=HashEncoder(32), pipeline=capitals()) as again:
        np.testing.assert_allclose(stored(again), HashEncoder(32).encode_query(REST), atol=1e-6)


@pytest.mark.parametrize(
    ("question", "names", "rest"),
    [
        ("What did Ida paint?", ["Ida"], "What did paint?"),
        ("Where is Ida's dog, and Ida?", ["Ida"], "Where is dog, and ?"),
        ("Where is Ida's dog?", ["Ida s"], "Where is dog?"),
        ("Is Idaho far, IDA?", ["Ida"], "Is Idaho far, IDA?"),
        ("Do Ida and Ida Lund ski?", ["Ida", "Ida Lund"], "Do and ski?"),
        ("Was malt José’s Hund?", ["Jose"], "Was malt Hund?"),
        ("Was malt Jose\u0301?", ["Jose"], "Was malt ?"),
        ("Что пишет Анна?", ["Анна"], "Что пишет ?"),
        ("田中さんは何をしましたか", ["田中"], "さんは何をしましたか"),
        ("½ Ida ﬁsh?", ["Ida"], "½ ﬁsh?"),
        ("Ida (the painter)", ["Ida the"], "painter)"),
        ("a+b? [Ida]", ["Ida"], "a+b? [ ]"),
    ],
)
def test_names_are_left_out_as_they_are_written(question: str, names: list[str], rest: str) -> None:
    assert without_names(question, names) == rest


def test_what_feedback_moves_is_moved_alike() -> None:
    rng = np.random.default_rng(0)
    vector, told, moved = (v / np.linalg.norm(v) for v in rng.normal(size=(3, 8)).astype(np.float32))
    assert Sought(vector).moved_to(moved) == Sought(moved)
    assert Sought(vector).key is vector
    assert Sought(vector, told).key is told
    np.testing.assert_allclose(Sought(vector, told).moved_to(told).vector, vector, rtol=1e-6)
    found = Sought(vector, told).moved_to(moved)
    assert found.of_told is moved
    assert np.linalg.norm(found.vector) == pytest.approx(1)
    assert found.vector @ moved > vector @ moved
    assert np.isfinite(Sought(vector, -vector).moved_to(-2 * vector).vector).all()
