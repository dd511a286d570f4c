"""HippoRAG 2 without its LLM filter, as a baseline (Gutiérrez et al., arXiv 2502.14802, and the authors' own code).

Index: the subjects and objects of the triples are phrase nodes, after the authors' text processing (lower case, all
but a-z, 0-9 and spaces to spaces). Edges: +1 each way for every triple between two phrases, 1 between a passage and
its phrases; phrases whose cosine is at least 0.8 are synonyms, joined by the cosine in place of the count of their
triples (at most 101 to a phrase, only from phrases of three letters or digits and more).
Query: the 5 facts whose embedding is most like the question's, scores min-max scaled over all facts; a phrase of
theirs is seeded with score / passages that have the phrase, averaged over the facts; the 5 best phrases stay. A
passage is seeded with 0.05 times its min-max scaled cosine. Personalized PageRank, damping 0.5, ranks the passages;
without any fact the cosine does.

Left out are the LLM that filters the 5 facts, and the instructions before questions, which are made for NV-Embed-v2
and which MiniLM does not know. Where the authors' code breaks a tie by chance, the first one wins here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hippomem_eval.material import Material, Questions, min_max, ranked, timed
from hippomem_eval.pagerank import PassageGraph
from hippomem_eval.ranking import Ranking
from hippomem_eval.vectors import vectors_of

Fact = tuple[str, str, str]

LINKED = 5  # facts, and then phrases, that seed the walk ("linking_top_k")
PASSAGE_WEIGHT = 0.05
SYNONYM = 0.8
DAMPING = 0.5
MOST_SYNONYMS = 101
_SHORTEST = 3
_ROWS_AT_ONCE = 512  # of the phrases' similarity matrix
_NOT_KEPT = re.compile(r"[^a-z0-9 ]")


class HippoRAG2:
    """HippoRAG 2 over the memory's passages and given triples: `facts` of each passage, in the same order."""

    def __init__(self, material: Material, facts: Sequence[Sequence[Fact]]) -> None:
        self._sources = material.sources
        self._vectors = material.vectors
        self._questions = Questions(material.encoder)
        own = [list(dict.fromkeys(tuple(map(processed, fact)) for fact in some)) for some in facts]
        self._facts = sorted({(s, r, o) for some in own for s, r, o in some})
        phrases = sorted({phrase for s, _, o in self._facts for phrase in (s, o)})
        self._fact_vectors = vectors_of([str(fact) for fact in self._facts], material.encoder, material.folder, "facts")
        phrase_vectors = vectors_of(phrases, material.encoder, material.folder, "phrases")
        first = len(self._sources)
        self._node = {phrase: first + i for i, phrase in enumerate(phrases)}
        weights: dict[tuple[int, int], float] = {}
        passages_with = np.zeros(first + len(phrases))
        for passage, some in enumerate(own):
            for subject, _, object_ in some:
                ends = self._node[subject], self._node[object_]
                for edge in (ends, ends[::-1]):
                    weights[edge] = weights.get(edge, 0.0) + 1.0
            for node in {self._node[phrase] for s, _, o in some for phrase in (s, o)}:
                weights[passage, node] = 1.0
                passages_with[node] += 1
        for a, b, cosine in synonyms(phrases, phrase_vectors):
            weights[first + a, first + b] = cosine
        self._passages_with = passages_with
        self._graph = PassageGraph(len(passages_with), first, list(weights), list(weights.values()), DAMPING)

    def recall(self, question: str, k: int) -> Ranking:
        """The `k` best passages by PageRank."""
        return timed(
            lambda: self._questions.vector(question), lambda vector: ranked(self._sources, self._scores(vector), k)
        )

    def _scores(self, question: NDArray[np.float32]) -> NDArray[np.float64]:
        dense = min_max(self._vectors @ question)
        if not self._facts:
            return np.asarray(dense, np.float64)
        seeds = self.phrase_seeds(question)
        seeds[: len(dense)] = PASSAGE_WEIGHT * dense
        return self._graph.ranks(seeds) if seeds.any() else np.asarray(dense, np.float64)

    def phrase_seeds(self, question: NDArray[np.float32]) -> NDArray[np.float64]:
        """The weight of each node before passages are seeded: (nodes,), zero but for at most `LINKED` phrases."""
        scores = min_max(self._fact_vectors @ question)
        seeds, times = np.zeros(self._graph.nodes), np.zeros(self._graph.nodes)
        for fact in np.argsort(-scores, kind="stable")[:LINKED]:
            subject, _, object_ = self._facts[fact]
            for node in (self._node[subject], self._node[object_]):
                seeds[node] += scores[fact] / self._passages_with[node]
                times[node] += 1
        linked = np.flatnonzero(times)
        seeds[linked] /= times[linked]
        seeds[linked[np.argsort(-seeds[linked], kind="stable")[LINKED:]]] = 0.0
        return seeds


def processed(phrase: str) -> str:
    """A phrase or relation as the authors' code normalises it; names in other scripts become empty there, so here."""
    return _NOT_KEPT.sub(" ", phrase.lower()).strip()


def synonyms(phrases: Sequence[str], vectors: NDArray[np.float32]) -> Iterator[tuple[int, int, float]]:
    """Pairs (phrase, phrase like it, cosine), one-way, as places in `phrases`; `vectors` are their (m, d)."""
    for start in range(0, len(phrases), _ROWS_AT_ONCE):
        cosines = vectors[start : start + _ROWS_AT_ONCE] @ vectors.T
        for row, column in zip(*np.nonzero(_allowed(cosines)), strict=True):
            phrase = start + int(row)
            if column != phrase and phrases[column] and len(phrases[phrase].replace(" ", "")) >= _SHORTEST:
                yield phrase, int(column), float(cosines[row, column])


def _allowed(cosines: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of each row's cosines are high enough and, with itself, among the highest that a phrase may have."""
    allowed = cosines >= SYNONYM
    for row in np.flatnonzero(allowed.sum(axis=1) > MOST_SYNONYMS + 1):
        allowed[row] = False
        best = np.argpartition(-cosines[row], MOST_SYNONYMS)[: MOST_SYNONYMS + 1]
        allowed[row, best] = True
    return allowed
