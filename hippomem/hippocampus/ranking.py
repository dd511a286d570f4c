"""Recipe U: passages ranked by a product of experts, that is a sum of logarithms, cosines and word scores.

    f(p) = .7 r [ln x1 - max] + .7 r [ln x2 - max] + 6 D(p)
         + 3 L(p) / max F + 1.5 min(0, ln((1 + w(p)) / 40)) + 2 bonus(p)

x1 is personalized PageRank (HippoRAG, arXiv 2405.14831) from everything the question suggests: passages by cosine,
entities that it names, entities of the sentences most like it. x2 is the same from the named entities alone. D is the
cosine of question and passage, L the BM25 of the question's words that name no entity (each word is used once, by the
graph or here), F that of all its words, w the number of words, and the bonus the title hop: a passage titled by an
entity that a leading passage names. D, L and F are smoothed over what was said before and after (chains.py).

r in [0, 1] is how far the graph knows the passage, by the weight s of its edges: r = s^4 / (s^4 + 4^4). What is
missing of 1 goes to the mean logarithm of the passages most like the question, so a note that names nothing is neither
punished nor favoured for it. Each expert is a term of its own in `Ranking.terms`; another one is another entry.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hippomem.hippocampus.keys import plain
from hippomem.hippocampus.lexical import terms as terms_of
from hippomem.hippocampus.names import linked_names
from hippomem.hippocampus.pagerank import personalized_pagerank
from hippomem.hippocampus.vectors import inner_products
from hippomem.hippocampus.view import View

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The constants, chosen on hotpotqa_train and musique_train; all but the cosine's are flat around these."""

    passage_share: float = 0.5  # of the seeds' mass; the rest is halved between named and suggested entities
    sentences: int = 5  # most like the question, from the best `candidates` passages
    candidates: int = 200
    suggested: int = 5  # entities of those sentences
    walk: float = 0.7
    named_walk: float = 0.7
    known: float = 4.0  # weight of edges at which the graph's word counts half: that of a title
    words: float = 3.0
    brevity: float = 1.5
    brief: int = 40  # words below which a passage is seldom an answer
    cosine: float = 6.0
    floor: float = 1e-8  # added to a mass before its logarithm
    title_hop: float = 2.0
    hop_from: int = 10  # leading passages
    hop_frequency: int = 100  # entities in more passages than this lead nowhere
    hop_titles: int = 5  # titles of more passages than this name a speaker or a source, not a subject


U = Recipe()


@dataclass(frozen=True, slots=True)
class Ranking:
    """All passages scored: `score` (rows,), -inf where not eligible; `terms` sum up to it.

    `named` are the entities of the question with its words for them, `order` the best rows, `seconds` by stage.
    """

    score: Floats
    terms: Mapping[str, Floats]
    named: Mapping[int, str]
    order: NDArray[np.int64]
    seconds: Mapping[str, float]


def rank(
    view: View,
    question: str,
    vector: Floats,
    k: int,
    eligible: NDArray[np.bool_] | None = None,
    recipe: Recipe = U,
) -> Ranking:
    """Score every passage for a question whose embedding is `vector` (d,); `eligible` (rows,) limits what may win."""
    watch = _Watch()
    graph, alive = view.graph, view.graph.alive
    named = linked_names(question, graph.find)
    watch.lap("link")

    cosine = view.likeness(vector)
    watch.lap("dense")

    words = _words(view, question, named.values(), alive)
    watch.lap("words")

    named_seeds = np.zeros(graph.nodes, np.float32)
    for entity in named:
        named_seeds[entity] = 1.0 / graph.frequency[entity]
    named_seeds = _normalised(named_seeds)
    candidates = best(np.where(alive, cosine, -np.inf).astype(np.float32), view.ties, recipe.candidates)
    suggested_seeds = _suggested(view, vector, candidates, recipe)
    passage_seeds, entity_seeds = _seeds(cosine, alive, named_seeds, suggested_seeds, recipe.passage_share)
    watch.lap("sentences")

    terms: dict[str, Floats] = {}
    mass, _ = personalized_pagerank(graph, passage_seeds, entity_seeds)
    reliance = _reliance(graph.passage_weight, recipe.known)
    logs = _log_relative(mass, alive, candidates, reliance, recipe.floor)
    terms["walk"] = np.float32(recipe.walk) * logs
    if named:
        mass, _ = personalized_pagerank(graph, np.zeros(graph.rows, np.float32), named_seeds)
        logs = _log_relative(mass, alive, candidates, reliance, recipe.floor)
        terms["named walk"] = np.float32(recipe.named_walk) * logs
    terms["cosine"] = np.float32(recipe.cosine) * cosine
    terms["words"] = np.float32(recipe.words) * words
    shortness = np.log((1 + view.lexical.sizes.astype(np.float32)) / np.float32(recipe.brief))
    terms["brevity"] = np.float32(recipe.brevity) * np.minimum(0, shortness)
    watch.lap("walk")

    barred = ~alive if eligible is None else ~(alive & eligible)
    score = np.sum(list(terms.values()), axis=0, dtype=np.float32)
    terms["title hop"] = np.float32(recipe.title_hop) * _title_hop(view, np.where(alive, score, -np.inf), named, recipe)
    score = np.where(barred, np.float32(-np.inf), score + terms["title hop"])
    order = best(score, view.ties, k)
    watch.lap("hop")
    return Ranking(score, terms, named, order, watch.seconds)


def dense(
    view: View,
    question: str,
    vector: Floats,
    k: int,
    eligible: NDArray[np.bool_] | None = None,
) -> Ranking:
    """Similarity search alone, for comparison: the same shape with one term, the cosine."""
    watch = _Watch()
    there = view.graph.alive if eligible is None else view.graph.alive & eligible
    rows, cosine = (np.empty(0, np.int64), np.empty(0, np.float32))
    if view.vectors is not None:
        rows, cosine = view.vectors.search(vector, k, there)
    score = np.full(view.graph.rows, -np.inf, np.float32)
    score[rows] = cosine
    named = linked_names(question, view.graph.find)
    watch.lap("dense")
    return Ranking(score, {"cosine": score}, named, rows, watch.seconds)


def best(score: Floats, ties: NDArray[np.uint64], k: int) -> NDArray[np.int64]:
    """The k rows with the highest finite score, best first. Of equals (to 1e-4: sums of floats depend on their order)
    a hash of the content decides, so that the order in which memories came does not.
    """
    score = np.rint(score * np.float32(1e4))
    finite = np.count_nonzero(np.isfinite(score))
    k = min(k, int(finite))
    if k == 0:
        return np.empty(0, np.int64)
    if k < len(score):
        threshold = np.partition(score, len(score) - k)[len(score) - k]
        rows = np.nonzero(score >= threshold)[0]
    else:
        rows = np.arange(len(score))
    return rows[np.lexsort((ties[rows], -score[rows]))][:k]


def _seeds(
    cosine: Floats, alive: NDArray[np.bool_], named: Floats, suggested: Floats, passage_share: float
) -> tuple[Floats, Floats]:
    live = cosine[alive]
    low, high = float(live.min()), float(live.max())
    closeness = ((cosine - low) / (high - low)) ** 2 if high > low else np.ones_like(cosine)
    passages = _normalised(np.where(alive, closeness, 0).astype(np.float32))
    groups = [seeds for seeds in (named, suggested) if seeds.any()]
    if not groups:
        return passages, named
    entities = np.sum(groups, axis=0) * ((1 - passage_share) / len(groups))
    return np.float32(passage_share) * passages, entities.astype(np.float32)


def _words(view: View, question: str, names: Iterable[str], alive: NDArray[np.bool_]) -> Floats:
    """L / max F: how well the words that name nothing match, against all words at their best."""
    asked = plain(question)
    rest = asked
    for name in names:
        rest = rest.replace(name, " ", 1)
    everything = view.chains.smooth(view.lexical.scores(terms_of(asked), alive))
    most = float(everything[alive].max())
    if most <= 0:
        return np.zeros_like(everything)
    return view.chains.smooth(view.lexical.scores(terms_of(rest), alive)) / np.float32(most)


def _reliance(weight: NDArray[np.float64], half: float) -> Floats:
    """How far the graph knows each passage, 0 to 1, by the weight of its edges: Hill's equation."""
    strength = (np.maximum(weight, 0) / half) ** 4
    return (strength / (1 + strength)).astype(np.float32)


def _suggested(view: View, vector: Floats, candidates: NDArray[np.int64], recipe: Recipe) -> Floats:
    """Seeds on the entities of the sentences most like the question, weighted by likeness and rarity."""
    seeds = np.zeros(view.graph.nodes, np.float32)
    rows, lines, vectors = view.sentences_of(candidates)
    if not len(rows):
        return seeds
    likeness = inner_products(vectors, vector)
    low, high = float(likeness.min()), float(likeness.max())
    leading = best(likeness, view.ties[rows] + lines.astype(np.uint64), recipe.sentences)
    weights: dict[int, float] = {}
    for i in leading:
        share = (float(likeness[i]) - low) / (high - low) if high > low else 1.0
        bit = 1 << min(int(lines[i]), 62)
        for entity, mask in view.graph.edges_of(int(rows[i])):
            if mask & bit:
                weights[entity] = weights.get(entity, 0.0) + share / float(view.graph.frequency[entity])
    # Equal weights are common: the key decides, so that the order in which memories came does not.
    chosen = sorted(weights, key=lambda entity: (-weights[entity], view.graph.keys.key(entity)))[: recipe.suggested]
    for entity in chosen:
        seeds[entity] = weights[entity]
    return _normalised(seeds)


def _title_hop(view: View, score: Floats, named: Mapping[int, str], recipe: Recipe) -> Floats:
    bonus = np.zeros(len(score), np.float32)
    for place, row in enumerate(best(score, view.ties, recipe.hop_from), 1):
        for entity, _ in view.graph.edges_of(int(row)):
            if entity in named or view.graph.frequency[entity] > recipe.hop_frequency:
                continue
            same = view.graph.titled(entity)
            for titled in same if len(same) <= recipe.hop_titles else ():
                if titled != row:
                    bonus[titled] = max(bonus[titled], place**-0.5)
    return bonus


def _log_relative(
    mass: Floats, alive: NDArray[np.bool_], candidates: NDArray[np.int64], reliance: Floats, floor: float
) -> Floats:
    """ln of each mass over the largest, drawn to the candidates' mean where the graph knows little of the passage."""
    logs = np.log(mass + np.float32(floor))
    logs -= logs[alive].max()
    mean = np.float32(logs[candidates].mean())
    return np.asarray(mean + reliance * (logs - mean), dtype=np.float32)


def _normalised(values: Floats) -> Floats:
    total = float(values.sum())
    return (values / total).astype(np.float32) if total > 0 else values


class _Watch:
    """Seconds since the last lap, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now
