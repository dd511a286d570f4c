"""Recipe U: passages ranked by a product of experts, that is a sum of logarithms, cosines and word scores.

    f(p) = .7 r [ln x1 - max] + .7 r [ln x2 - max] + 6 D(p)
         + 3 L(p) / max(F, 4.5) + min(0, ln((1 + w(p)) / 40) + t(p)) - .5 asks(p)
         - others(p) + 2.5 bonus(p) + 1.25 onward(p) - 3 aside(p) - 3 crowded(p)

x1 is personalized PageRank (HippoRAG, arXiv 2405.14831) from everything the question suggests: passages by cosine,
entities that it names, entities of the sentences most like it. x2 is the same from the named entities alone. D is the
cosine of question and passage, of turns and notes that of the question without the names of those who talk
(speakers.py), L the BM25 of the question's words that name no entity (each word is used once, by the graph or here), F
that of all its words in the passage that matches them best, w the number of words, and the bonus the title hop: a
passage titled by an entity that a leading passage names. A turn goes onward where it is what the one asked about says
next after a leading one. A turn that asks, and answers nothing, is seldom an answer; one that follows a
question is whole however short it is, and t spares who is brief beside the one they talk with, as a user beside an
assistant. Where the question names who speaks in a conversation, and nobody else who does, turns lose by it that others
tell; and a passage stands aside that neither names such a one nor is told where they speak. One is crowded where two
that lead it are about the same thing that the question names. D, L and F are smoothed over what was said before and
after (chains.py).

r in [0, 1] is how far the graph knows the passage, by the weight s of its edges: r = s^8 / (s^8 + 4.7^8). What is
missing of 1 goes to the mean logarithm of the five passages most like the question, weighted by their r and no lower
than -6, so a note that names nothing is neither punished nor favoured for it. Of turns of a conversation x1 tells half
as much: it ends at what all of them talk about. Of one that nothing was said around either, its own words are all there
is: there cosines count (1 - r) 8 more above or below the mean of these five, L has (1 - r) of the words that name
something, few words are no fault, and what a walk brings it above that mean of the logarithms counts, up to 2. Cosines
count 8 more everywhere where a question is in other words than all passages: where the best match has less than a tenth
of what its words tell together, and less of the 8 up to 16 %. Each expert is a term of its own in `Ranking.terms`,
another one another entry.

Up to `everything` passages all of them are scored, after two walks over the whole graph. Above, the seeds are cut to
the passages most like the question and the walks are local (push.py), and what is scored are those passages, those
that the question's rarest words bring, and those on which the walks left most: a recall then costs nearly the same
whatever the size of the memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hippomem.hippocampus.about import with_names_of
from hippomem.hippocampus.arrays import merged
from hippomem.hippocampus.chains import NONE
from hippomem.hippocampus.keys import plain
from hippomem.hippocampus.leading import are_crowded, best, stand_aside, title_hop, told_by_others, turn_hop
from hippomem.hippocampus.lexical import MOST
from hippomem.hippocampus.lexical import terms as terms_of
from hippomem.hippocampus.names import linked_names
from hippomem.hippocampus.recipe import Recipe, U
from hippomem.hippocampus.sought import Sought
from hippomem.hippocampus.spelling import corrected
from hippomem.hippocampus.vectors import inner_products
from hippomem.hippocampus.view import View
from hippomem.hippocampus.walks import walk
from hippomem.storage.rows import LAST_BIT

HALF = 0.5  # by itself to more than this, a passage is whole however short it is
LOGARITHMS = np.log1p(np.arange(MOST + 1, dtype=np.float32))  # of every number of words and one
FULL = 1e30  # so many times what counts half, or infinitely many, are known in full
LEAST = 1e-3  # of a leading passage's weight in their mean: where the graph knows none of them, all count alike

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Learned:
    """What earlier feedback says about a question: `vector` (d,), where to look instead of at the question's own, and
    `votes` (r,) for the passages at `rows` (r,), added to their scores; `queries` (r,) is how many spoke for each.
    """

    vector: Floats
    rows: Rows
    votes: Floats
    queries: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Scored passages: `rows` (n,), ascending, and their `score` (n,), -inf where not eligible; `terms` (n,) each sum
    up to it. Rows that are not among them were too far from the question to be looked at.

    `named` are the entities of the question with its words for them, `order` the best rows, `seconds` by stage,
    `learned` what earlier feedback said, `about` the entities of what the question is about without naming them.
    """

    rows: Rows
    score: Floats
    terms: Mapping[str, Floats]
    named: Mapping[int, str]
    order: Rows
    seconds: Mapping[str, float]
    learned: Learned | None = None
    about: frozenset[int] = frozenset()

    def queries(self, row: int) -> int:
        """How many earlier queries like this one spoke for or against a passage."""
        if self.learned is None:
            return 0
        return int(self.learned.queries[self.learned.rows == row].sum())

    def at(self, rows: Rows) -> list[tuple[float, dict[str, float]]]:
        """The score of each of some of `rows` (n,), and what each term gave to it."""
        places = np.searchsorted(self.rows, rows)
        given = np.stack([term[places] for term in self.terms.values()], axis=1).tolist()
        causes = [dict(zip(self.terms, own, strict=True)) for own in given]
        return list(zip(self.score[places].tolist(), causes, strict=True))


def rank(
    view: View,
    question: str,
    asked: Sought,
    k: int,
    eligible: Flags | None = None,
    recipe: Recipe = U,
    learned: Learned | None = None,
    about: Rows | None = None,
) -> Ranking:
    """Score passages for a question, with what they are compared with; `eligible` (rows,) limits what may win. What
    the passages at `about` name counts as named by the question (about.py).

    `learned` moves what passages are compared with (not the seeds on entities), and adds a term of its own.
    """
    watch = _Watch()
    graph, alive = view.graph, view.graph.alive
    if recipe.spelling:
        question = corrected(
            question,
            lambda word: view.lexical.count(word, alive),
            lambda text: list(linked_names(text, graph.find).values()),
        )
    named = linked_names(question, graph.find) if recipe.names else {}
    told, untold = _asked(question, named.values() if recipe.words_once else ())
    watch.lap("link")

    is_local = graph.rows > recipe.everything
    sought = asked if learned is None else asked.moved_to(learned.vector)
    near, likeness = view.nearest(sought, recipe.nearest if is_local else None)
    if not recipe.near_likeness:
        likeness = view.cosine_of(near, sought)
    lead = best(likeness, view.ties[near], recipe.candidates)
    watch.lap("dense")

    named_seeds = _shares({entity: 1.0 / float(graph.frequency[entity]) for entity in named})
    if about is not None:
        named_seeds = with_names_of(graph, named_seeds, about)
    suggested_seeds = _suggested(view, asked, near[lead], recipe)
    passage_seeds, entity_seeds = _seeds(likeness, named_seeds, suggested_seeds, recipe.passage_share)
    watch.lap("sentences")

    rows = wanted = None
    if is_local:
        worded = view.chains.with_neighbours(view.lexical.leading(untold, recipe.postings, alive))
        voted = near[:0] if learned is None else learned.rows
        onward = [told[told != NONE] for told in view.chains.onward(near[lead])] if view.chains.any else []
        wanted = merged(near, worded, voted, *onward, *_of_eligible(view, asked, eligible, recipe))
    walks = [walk(graph, (near, passage_seeds), entity_seeds, wanted, recipe.epsilon)]
    if wanted is not None:
        wanted = merged(wanted, walks[0].heaviest(recipe.walked))
    if named_seeds:
        walks.append(walk(graph, (near[:0], passage_seeds[:0]), named_seeds, wanted, recipe.epsilon))
    rows = near if wanted is None else merged(wanted, walks[-1].heaviest(recipe.walked))
    watch.lap("walk")

    terms: dict[str, Floats] = {}
    reliance = _reliance(graph.passage_weight[rows], recipe)
    is_alone = view.chains.are_alone(rows)
    by_itself = (1 - reliance) * is_alone
    leading = np.searchsorted(rows, near[lead[: recipe.compared]])
    believed = reliance * np.where(is_alone, np.float32(1), np.float32(recipe.walk_of_turns))
    kinds = (("walk", recipe.walk, believed), ("named walk", recipe.named_walk, reliance))
    for (name, weight, trust), masses in zip(kinds, walks, strict=False):
        relative = _relative(masses.at(rows), leading, reliance, trust, by_itself, recipe)
        terms[name] = np.float32(weight) * relative
    cosine = _likeness(view, sought, rows, near, likeness, recipe)
    words, unmet = _words(view, told, untold, rows, by_itself, recipe)
    apart = np.maximum(by_itself, unmet) * (cosine - cosine[leading].mean())
    terms["cosine"] = np.asarray(recipe.cosine * cosine + recipe.alone * apart, np.float32)
    terms["words"] = np.float32(recipe.words) * words
    terms["brevity"] = np.float32(recipe.brevity) * _shortness(view, rows, by_itself, recipe)
    terms["asking"] = np.float32(0) - np.float32(recipe.asking) * view.chains.are_asking(rows)
    terms["teller"] = np.float32(0) - np.float32(recipe.teller) * told_by_others(view, rows, named, recipe)
    if learned is not None and len(learned.rows):
        terms["learned"] = np.zeros(len(rows), np.float32)
        terms["learned"][np.searchsorted(rows, learned.rows)] = learned.votes
    watch.lap("terms")

    score = np.asarray(np.sum(list(terms.values()), axis=0, dtype=np.float32))
    terms["title hop"] = np.float32(recipe.title_hop) * title_hop(view, rows, score, named, recipe)
    score = score + terms["title hop"]
    # What earlier feedback lifts answers by itself: nothing goes on from there.
    unlearned = score - terms["learned"] if "learned" in terms else score
    terms["turn hop"] = np.float32(recipe.turn_hop) * turn_hop(view, rows, unlearned, named, recipe)
    score = score + terms["turn hop"]
    if eligible is not None:
        score = np.where(eligible[rows], score, np.float32(-np.inf))
    terms["speaker"] = np.float32(0) - np.float32(recipe.speaker) * stand_aside(view, rows, score, named, recipe, k)
    score = score + terms["speaker"]
    terms["crowding"] = np.float32(0) - np.float32(recipe.crowding) * are_crowded(view, rows, score, named, recipe, k)
    score = score + terms["crowding"]
    order = rows[best(score, view.ties[rows], k)]
    watch.lap("hop")
    told_of = frozenset(named_seeds).difference(named)
    return Ranking(rows, score, terms, named, order, watch.seconds, learned, told_of)


def dense(
    view: View,
    question: str,
    vector: Floats,
    k: int,
    eligible: Flags | None = None,
) -> Ranking:
    """Similarity search alone, for comparison: the same shape with one term, the cosine."""
    watch = _Watch()
    there = view.graph.alive if eligible is None else view.graph.alive & eligible
    order, cosine = (np.empty(0, np.int64), np.empty(0, np.float32))
    if view.vectors is not None:
        order, cosine = view.vectors.search(vector, k, there)
    ascending = np.argsort(order)
    score = cosine[ascending]
    named = linked_names(question, view.graph.find)
    watch.lap("dense")
    return Ranking(order[ascending], score, {"cosine": score}, named, order, watch.seconds)


def _of_eligible(view: View, asked: Sought, eligible: Flags | None, recipe: Recipe) -> list[Rows]:
    """What is eligible, where it is so little that all of it can be scored, else what is most like the question."""
    if eligible is None or view.vectors is None:
        return []
    there = view.graph.alive & eligible
    if np.count_nonzero(there) <= recipe.everything:
        return [np.nonzero(there)[0]]
    vectors = [asked.vector] if asked.of_told is None else [asked.vector, asked.of_told]
    return [view.vectors.search(vector, recipe.nearest, there)[0] for vector in vectors]


def _seeds(
    likeness: Floats,
    named: dict[int, float],
    suggested: dict[int, float],
    passage_share: float,
) -> tuple[Floats, dict[int, float]]:
    low, high = float(likeness.min()), float(likeness.max())
    closeness = ((likeness - low) / (high - low)) ** 2 if high > low else np.ones_like(likeness)
    passages = (closeness / closeness.sum()).astype(np.float32)
    groups = [seeds for seeds in (named, suggested) if seeds]
    if not groups:
        return passages, {}
    share = (1 - passage_share) / len(groups)
    entities: dict[int, float] = {}
    for seeds in groups:
        for entity, value in seeds.items():
            entities[entity] = entities.get(entity, 0.0) + share * value
    return np.float32(passage_share) * passages, entities


def _asked(question: str, names: Iterable[str]) -> tuple[list[int], list[int]]:
    """The words of the question that count: those that only stand in names it was linked by, and all others."""
    rest = asked = plain(question)
    for name in names:
        at = f" {rest} ".find(f" {name} ")  # "Doe" is no part of "Does"
        at = at if at >= 0 else rest.find(name)  # of a script without spaces
        rest = f"{rest[:at]} {rest[at + len(name) :]}" if at >= 0 else rest
    untold = list(dict.fromkeys(terms_of(rest)))
    return [term for term in dict.fromkeys(terms_of(asked)) if term not in untold], untold


def _likeness(view: View, sought: Sought, rows: Rows, near: Rows, known: Floats, recipe: Recipe) -> Floats:
    """The cosine of all `rows`, of which it is `known` for those `near`."""
    if len(rows) == len(near):
        return known
    likeness = np.empty(len(rows), np.float32)
    is_near = np.zeros(len(rows), np.bool_)
    is_near[np.searchsorted(rows, near)] = True
    likeness[is_near] = known
    measure = view.likeness_of if recipe.near_likeness else view.cosine_of
    likeness[~is_near] = measure(rows[~is_near], sought)
    return likeness


def _words(
    view: View, told: list[int], untold: list[int], rows: Rows, by_itself: Floats, recipe: Recipe
) -> tuple[Floats, np.float32]:
    """How well the words that name nothing match, and as far as a passage is `by_itself` those that name something,
    which no walk tells of it; against all words at their best. Where these match little, as a word does that happens
    to stand in one of fifty notes, that tells little; but what can match at all is less the fewer passages there are.

    And how far the question is in other words than any passage, 0 to 1, by the share of their rarity that the best has.
    Names that stand in no text, but in facts, are not missed there: the graph knows them.
    """

    def scores(wanted: list[int]) -> Floats:
        def alone(some: Rows) -> Floats:
            return view.lexical.scores_of(some, wanted, view.graph.alive)

        return view.chains.smooth_some(rows, alone) if recipe.near_words else alone(rows)

    matching = scores(untold)
    naming = scores(told) if told else np.float32(0)
    best_match = float((matching + naming).max())
    all_there = view.lexical.rarities([*told, *untold], view.graph.alive)
    of_facts = [term for term in told if not len(view.lexical.postings(term, view.graph.alive)[0])]
    share = (best_match + len(of_facts) * view.lexical.rarity(0)) / all_there if all_there > 0 else 0.0
    unmet = np.float32(1 - min(max((share - recipe.unmet) / (recipe.met - recipe.unmet), 0), 1))
    matching = matching + by_itself * naming
    most = max(best_match, min(recipe.matched, recipe.matched_words * view.lexical.rarity(1)))
    return (matching / np.float32(most) if most > 0 else matching), unmet


def _shortness(view: View, rows: Rows, by_itself: Floats, recipe: Recipe) -> Floats:
    """ln((1 + words) / 40) where that is below 0 and a passage is not whole as it is: a note by itself, or an answer.
    One who is brief beside the other says as much in fewer words.
    """

    def lengths(some: Rows) -> Floats:
        return np.asarray(LOGARITHMS[view.lexical.sizes[some]])

    shortness: Floats = np.minimum(0, lengths(rows) - np.log(np.float32(recipe.brief)))
    shortness[(by_itself > HALF) | view.chains.are_answers(rows)] = 0
    short = np.nonzero(shortness)[0]
    if recipe.terse and view.chains.any:
        spared = np.float32(recipe.terse) * view.chains.terseness(rows[short], lengths)
        shortness[short] = np.minimum(0, shortness[short] + spared)
    return shortness


def _reliance(weight: NDArray[np.float64], recipe: Recipe) -> Floats:
    """How far the graph knows each passage, 0 to 1, by the weight of its edges: Hill's equation."""
    if recipe.known <= 0:
        return np.ones(len(weight), np.float32)
    with np.errstate(over="ignore"):
        strength = np.minimum((np.maximum(weight, 0) / recipe.known) ** recipe.steepness, FULL)
    return np.asarray(strength / (1 + strength), np.float32)


def _suggested(view: View, asked: Sought, candidates: Rows, recipe: Recipe) -> dict[int, float]:
    """Seeds on the entities of the sentences most like the question, weighted by likeness and rarity."""
    rows, lines, vectors = view.sentences_of(candidates)
    if not len(rows):
        return {}
    likeness = inner_products(vectors, asked.vector)
    if asked.of_told is not None:
        told = view.chains.are_told(rows)
        likeness[told] = inner_products(vectors[told], asked.of_told)
    low, high = float(likeness.min()), float(likeness.max())
    leading = best(likeness, view.ties[rows] + lines.astype(np.uint64), recipe.sentences)
    weights: dict[int, float] = {}
    for i, edges in zip(leading, view.graph.edges_of_rows(rows[leading].tolist()), strict=True):
        share = (float(likeness[i]) - low) / (high - low) if high > low else 1.0
        bit = 1 << min(int(lines[i]), LAST_BIT)
        for entity, mask in edges:
            if mask & bit:
                weights[entity] = weights.get(entity, 0.0) + share / float(view.graph.frequency[entity])
    # Equal weights are common: the key decides, so that the order in which memories came does not.
    chosen = sorted(weights, key=lambda entity: (-weights[entity], view.graph.keys.key(entity)))[: recipe.suggested]
    return _shares({entity: weights[entity] for entity in chosen if weights[entity] > 0})


def _relative(
    mass: Floats, leading: Rows, reliance: Floats, trust: Floats, by_itself: Floats, recipe: Recipe
) -> Floats:
    """ln of each mass over the largest; where there is little `trust` in it, drawn to the mean of those of the leading
    ones that the graph knows. What one `by_itself` has above that mean is told of it all the same.
    """
    logs = np.log(mass + np.float32(recipe.floor))
    logs -= logs.max()
    mean = max(np.average(logs[leading], weights=reliance[leading] + LEAST), -recipe.unknown)
    above = logs - np.float32(mean)
    raised = by_itself * np.clip(above, 0, np.float32(recipe.raised))
    return np.asarray(np.float32(mean) + trust * above + raised, np.float32)


def _shares(values: dict[int, float]) -> dict[int, float]:
    total = sum(values.values())
    return {key: value / total for key, value in values.items()}


class _Watch:
    """Seconds since the last lap, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now
