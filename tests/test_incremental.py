"""A memory that grew step by step equals one made at once: same graph, same recall, whatever the order."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hippomem import Document, Memory
from hippomem.hippocampus.catchup import differences, rebuilt
from hippomem.testing import HashEncoder, capitals

NAMES = ["Ada Thorne", "Bea", "Oslo", "Northlight Labs", "Bergen", "Москва", "北京大学", "The Grey Heron", "Thorne"]
NOUNS = ["ship captain", "ships", "librarian"]
texts = st.builds(
    lambda a, b, c, verb, noun: f"{a} {verb} {b}. Later {c} was seen there, {noun}.",
    st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(["met", "left", "owns"]),
    st.sampled_from(NOUNS),
)  # fmt: skip
titles = st.sampled_from([*NAMES, "", "Bea (ship)", "Ship", "Ship captain", "Librarian (work)"])


def _open(db: Path | str = ":memory:") -> Memory:
    return Memory.open(db, encoder=HashEncoder(), pipeline=capitals())


def _shape(memory: Memory) -> tuple[Any, ...]:
    graph = memory.graph()
    edges = sorted((a, b, tuple(sorted(data.items()))) for a, b, data in graph.edges(data=True))
    return sorted((n, tuple(sorted(d.items()))) for n, d in graph.nodes(data=True)), edges


def _ranked(memory: Memory, question: str) -> dict[str, float]:
    return {p.id: p.score for p in memory.recall(question, 50).passages}


class Grows(RuleBasedStateMachine):
    """Adds, updates, forgets, re-adds, saves and reopens; after each, the view equals its rebuild, and at the end the
    memory equals a new one that was given what is left in another order."""

    @initialize()
    def start(self) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "grown.db"
        self.memory = _open(self.path)
        self.held: dict[str, tuple[str, str]] = {}

    @rule(text=texts, title=titles)
    def add(self, text: str, title: str) -> None:
        self.held[self.memory.add(text, title=title).id] = (text, title)

    @rule(batch=st.lists(st.tuples(texts, titles), min_size=1, max_size=5))
    def ingest(self, batch: list[tuple[str, str]]) -> None:
        self.memory.ingest([Document(text=text, title=title) for text, title in batch])
        self.held |= {p.id: (p.text, p.title) for p in self._stored()}

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        if self.held:
            id_ = data.draw(st.sampled_from(sorted(self.held)))
            self.memory.forget(id_)
            del self.held[id_]

    @rule(data=st.data(), text=texts)
    def update(self, data: st.DataObject, text: str) -> None:
        if self.held:
            id_ = data.draw(st.sampled_from(sorted(self.held)))
            if any(t == text and other != id_ for other, (t, _) in self.held.items()):
                return
            _, title = self.held.pop(id_)
            self.held[self.memory.update(id_, text).id] = (text, title)

    @rule()
    def save_and_reopen(self) -> None:
        self.memory.recall("Ada")
        if self.memory._snapshots and self.memory._view:
            self.memory._snapshots.save(self.memory._view)
        self.memory.close()
        self.memory = _open(self.path)

    @invariant()
    def equals_its_rebuild(self) -> None:
        with self.memory._synced() as (view, connection):
            fresh = rebuilt(connection, self.memory._number, self.memory._encoder_number)
            assert list(differences(view, fresh)) == []
            np.testing.assert_allclose(
                np.sort(view.graph.inverse_passage_weight[view.graph.alive]),
                np.sort(fresh.graph.inverse_passage_weight),
                rtol=1e-5,
            )

    def _equals_a_fresh_one(self) -> None:
        assert {p.id for p in self._stored()} == set(self.held)
        # Notes without a title are each other's neighbours in the order in which they were told; no other order counts.
        notes = [self.held[p.id] for p in self.memory.passages() if not p.title]
        with _open() as fresh:
            for text, title in sorted(held for held in self.held.values() if held[1]) + notes:
                fresh.add(text, title=title)
            assert _shape(fresh) == _shape(self.memory)
            for question in ("Where is Ada Thorne?", "Кто в Москва?", "who met whom"):
                ours, theirs = _ranked(self.memory, question), _ranked(fresh, question)
                assert ours.keys() == theirs.keys()
                assert ours == pytest.approx(theirs, abs=1e-4)

    def _stored(self) -> list[Any]:
        graph = self.memory.graph()
        return [self.memory.get(n) for n, kind in graph.nodes(data="kind") if kind == "passage"]

    def teardown(self) -> None:
        if hasattr(self, "memory"):
            try:
                self._equals_a_fresh_one()
            finally:
                self.memory.close()
                self.folder.cleanup()


Grows.TestCase.settings = settings(
    max_examples=8, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)
TestGrows = Grows.TestCase


@pytest.mark.parametrize(
    "harm",
    [
        lambda view, row: view.remove([int(view.numbers[row])]),
        lambda view, row: view.chains.remove([row]),
        lambda view, _: view.graph.log._masks.array.__setitem__(slice(-1, None), 1 << 40),
        lambda view, row: view.graph.passage_weight.__setitem__(row, 9.0),
        lambda view, _: view.vectors._grown.array.__imul__(-1),
        lambda view, _: view._sentences.array.__imul__(-1),
        lambda view, row: view.lexical.lengths.__setitem__(row, 99),
    ],
    ids=["passage", "neighbours", "edges", "weight", "vector", "sentences", "words"],
)
def test_what_a_view_has_otherwise_is_told(fast: Callable[..., Memory], harm: Callable[[Any, int], object]) -> None:
    memory = fast(":memory:")
    for text in ("Ada met Bea.", "Is Bea in Oslo?", "Ada left for Bergen, and Bea for Oslo."):
        event = memory.add(text, session="s")
    memory.recall("Ada")
    assert memory.doctor().ok
    view = memory._view
    assert view is not None
    row = view.row_of(memory._writer.current(event.id)[0])
    assert row is not None
    harm(view, row)
    (wrong,) = (check for check in memory.doctor().checks if not check.ok)
    assert wrong.name == "views", wrong
    assert "passage" in wrong.detail


@pytest.mark.slow
def test_the_whole_corpus_in_any_batches_and_order(shared_data: Path) -> None:
    """1,890 passages in 1, 10 and 189 batches, shuffled, a fifth forgotten and added again in between."""
    with gzip.open(shared_data / "musique_train" / "musique_train_corpus.json.gz", "rt", encoding="utf-8") as file:
        corpus = json.load(file)
    with gzip.open(shared_data / "musique_train" / "musique_train.json.gz", "rt", encoding="utf-8") as file:
        questions = [question["question"] for question in json.load(file)][:20]
    shapes, recalls = [], []
    for batches in (1, 10, 189):
        shuffled = corpus[:]
        random.Random(batches).shuffle(shuffled)  # noqa: S311
        size = len(corpus) // batches
        with _open() as memory:
            for number in range(batches):
                batch = shuffled[number * size : (number + 1) * size if number + 1 < batches else None]
                memory.ingest(batch)
                if number % 5 == 2:
                    ids = [p.id for p in memory.recall(batch[0]["text"][:200], 10).passages]
                    for id_ in ids:
                        memory.forget(id_)
                    memory.ingest(shuffled[: (number + 1) * size])
            with memory._synced() as (view, connection):
                fresh = rebuilt(connection, memory._number, memory._encoder_number)
                assert list(differences(view, fresh)) == []
            shapes.append(_shape(memory))
            recalls.append([_ranked(memory, question) for question in questions])
            counts = memory.stats()
            assert counts["passages"] == len({(p["title"], p["text"].strip()) for p in corpus})
    assert shapes[0] == shapes[1] == shapes[2]
    for others in recalls[1:]:
        for ours, theirs in zip(recalls[0], others, strict=True):
            shared = ours.keys() & theirs.keys()
            assert len(shared) >= 49  # the fiftieth may tie
            assert {i: ours[i] for i in shared} == pytest.approx({i: theirs[i] for i in shared}, abs=1e-3)
