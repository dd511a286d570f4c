"""Recall above the size of local walks: the same as the exact one where nothing is cut, and stable where it is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hippomem import Memory, Recall, Recipe
from hippomem.testing import capitals
from hippomem_eval.synthetic import SyntheticCorpus
from hippomem_eval.synthetic_encoder import SyntheticEncoder

SIZE = 300
CORPUS = SyntheticCorpus(SIZE, 3)
QUESTIONS = [question.text for question in CORPUS.questions(25)]
RECORDS = list(CORPUS.records(0, SIZE))
WHOLE = Recipe(everything=0, nearest=SIZE, postings=10**6, walked=SIZE, epsilon=0)
LOCAL = Recipe(everything=0, nearest=60, postings=200, walked=40)


@pytest.fixture
def filled(fast: Callable[..., Memory], tmp_path: Path) -> Callable[[Iterable[list[dict[str, str]]]], Memory]:
    def make(batches: Iterable[list[dict[str, str]]]) -> Memory:
        name = tmp_path / f"{random.random()}.db"  # noqa: S311
        memory = fast(name, encoder=SyntheticEncoder(), pipeline=capitals())
        for batch in batches:
            memory.ingest(batch)
        return memory

    return make


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    """A memory of all records, to be asked only."""
    db = tmp_path_factory.mktemp("whole") / "m.db"
    with Memory.open(db, encoder=SyntheticEncoder(), pipeline=capitals()) as memory:
        memory.ingest(RECORDS)
        yield memory


def told(recall: Recall) -> list[tuple[str, float]]:
    return [(p.title, round(p.score, 2)) for p in recall.passages]


def test_with_nothing_cut_it_is_the_exact_recall(whole: Memory) -> None:
    for question in QUESTIONS:
        exact, local = whole.recall(question, 10), whole.recall(question, 10, recipe=WHOLE)
        assert [p.id for p in local.passages] == [p.id for p in exact.passages]
        for ours, theirs in zip(local.passages, exact.passages, strict=True):
            assert ours.score == pytest.approx(theirs.score, abs=2e-3)
            assert ours.causes == pytest.approx(theirs.causes, abs=2e-3)
            assert ours.why == theirs.why


def test_what_is_cut_costs_little(whole: Memory) -> None:
    same = 0
    for question in QUESTIONS:
        exact = {p.id for p in whole.recall(question, 5).passages}
        local = {p.id for p in whole.recall(question, 5, recipe=LOCAL).passages}
        same += len(exact & local)
    assert same >= 0.8 * 5 * len(QUESTIONS)


@pytest.mark.slow
def test_the_order_of_arrival_does_not_matter(filled: Callable[..., Memory], whole: Memory) -> None:
    shuffled = random.Random(7).sample(RECORDS, SIZE)  # noqa: S311
    batches = filled([shuffled[:50], shuffled[50:51], shuffled[51:200], shuffled[200:]])
    for question in QUESTIONS:
        assert told(batches.recall(question, 8, recipe=LOCAL)) == told(whole.recall(question, 8, recipe=LOCAL))


def test_what_was_forgotten_leaves_no_trace(filled: Callable[..., Memory]) -> None:
    memory, never = filled([RECORDS]), filled([RECORDS[:288]])
    gone = {record["title"] for record in RECORDS[288:]}
    for passage in memory.recall("All of them", SIZE, recipe=WHOLE).passages:
        if passage.title in gone:
            memory.forget(passage.id)
    for question in QUESTIONS:
        assert told(memory.recall(question, 8, recipe=LOCAL)) == told(never.recall(question, 8, recipe=LOCAL))


def test_a_session_is_found_whole_however_far_it_is(fast: Callable[..., Memory]) -> None:
    memory = fast(encoder=SyntheticEncoder())
    memory.ingest(RECORDS)
    for number in range(12):
        memory.add(f"zebra note {number}", session="aside")
    few = Recipe(everything=5, nearest=20, postings=0, walked=5)
    for recipe in (few, LOCAL):
        found = memory.recall(QUESTIONS[0], 20, session="aside", recipe=recipe).passages
        assert {p.session for p in found} == {"aside"}
        assert len(found) == 12


def test_walks_that_are_to_bring_nothing_bring_nothing(whole: Memory) -> None:
    near = Recipe(everything=0, nearest=5, postings=0, walked=0)
    assert len(whole.recall(QUESTIONS[0], SIZE, recipe=near).passages) == 5
    assert len(whole.recall(QUESTIONS[0], SIZE, recipe=replace(near, walked=50)).passages) > 5
