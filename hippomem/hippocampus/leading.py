"""Terms that depend on who speaks, and on which passages lead once the others are summed up: ranking.py says what they
are for.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hippomem.hippocampus.chains import NONE
from hippomem.hippocampus.recipe import Recipe
from hippomem.hippocampus.speakers import speakers as speakers_in
from hippomem.hippocampus.view import View

CROWDING = 50  # passages beyond the wanted ones that are looked at, at least
SPEAKING = 200  # likewise, for who speaks there

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


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


def title_hop(view: View, rows: Rows, score: Floats, named: Mapping[int, str], recipe: Recipe) -> Floats:
    """For passages whose title an entity of a leading one is, which the question does not name: the sooner that one
    comes, the more, from 1 down. Titles that many passages have, and entities that stand everywhere, lead nowhere.
    """
    bonus = np.zeros(len(rows), np.float32)
    graph = view.graph
    leading = rows[best(score, view.ties[rows], recipe.hop_from)]
    places, entities, _ = graph.edges_at(leading)
    onward = (graph.frequency[entities] <= recipe.hop_frequency) & graph.have_titles(entities)
    hops: dict[int, int] = {}  # from the row of a title to the leading place it is named at
    for place, entity in zip(places[onward].tolist(), entities[onward].tolist(), strict=True):
        same = graph.titled(entity, recipe.hop_titles + 1) if entity not in named else ()
        for titled in same if len(same) <= recipe.hop_titles else ():
            if titled != leading[place]:
                hops.setdefault(titled, place)
    titles = np.sort(np.fromiter(hops, np.int64, len(hops)))
    there = np.minimum(np.searchsorted(rows, titles), len(rows) - 1)
    known = rows[there] == titles
    bonus[there[known]] = [(hops[titled] + 1) ** -0.5 for titled in titles[known].tolist()]
    return bonus


def told_by_others(view: View, rows: Rows, named: Mapping[int, str], recipe: Recipe) -> NDArray[np.bool_]:
    """Which turns another tells than the one speaker whom the question names: what is asked about somebody, they mostly
    tell themselves.
    """
    others = np.zeros(len(rows), np.bool_)
    speakers = speakers_in(view.graph, named, recipe) if recipe.teller and view.chains.any else []
    if len(speakers) == 1:
        others = view.chains.say_who(rows) & ~view.graph.are_titled(rows, speakers)
    return others


def turn_hop(view: View, rows: Rows, score: Floats, named: Mapping[int, str], recipe: Recipe) -> Floats:
    """For turns that go on after a leading one: the first of the next two that is told by whom the question names, or
    where it names nobody who speaks, the second, as two take turns. The sooner that one comes, the more, from 1 down,
    and less where nobody asked for it. Memory goes on rather than back, too (Kahana, "Associative retrieval processes
    in free recall", 1996).
    """
    bonus = np.zeros(len(rows), np.float32)
    chains = view.chains
    if not recipe.turn_hop or not chains.any:
        return bonus
    first, second = chains.onward(rows[best(score, view.ties[rows], recipe.hop_from)])
    told = second
    if speakers := speakers_in(view.graph, named, recipe):
        told = np.where(view.graph.are_titled(second, speakers), second, NONE)
        told = np.where(view.graph.are_titled(first, speakers), first, told)
    worth = np.float32(1) / np.arange(1, len(told) + 1, dtype=np.float32)
    there = np.minimum(np.searchsorted(rows, told), len(rows) - 1)
    known = rows[there] == told
    worth[known] *= np.where(chains.are_answers(told[known]), np.float32(1), np.float32(recipe.unasked))
    np.maximum.at(bonus, there[known], worth[known])
    return bonus


def stand_aside(view: View, rows: Rows, score: Floats, named: Mapping[int, str], recipe: Recipe, k: int) -> Floats:
    """1 for all but the leading passages that name a speaker whom the question names, or are told where that one is
    seen to speak; 0 for all where there is no such speaker. A memory of one conversation stays as it was; one that
    holds documents too has many that name something else in the question, and are about somebody else.
    """
    aside = np.zeros(len(rows), np.float32)
    graph, chains = view.graph, view.chains
    if not recipe.speaker or not chains.are_told(rows).any():
        return aside
    speakers = speakers_in(graph, named, recipe)
    if not speakers:
        return aside
    leading = best(score, view.ties[rows], k + SPEAKING)
    every = chains.with_neighbours(rows[leading])
    places, entities, masks = graph.edges_at(every)
    names = np.isin(entities, speakers)
    says = names & _are_in_title(masks) & chains.are_told(every)[places]
    if says.any():
        aside[:] = 1
        near = np.isin(rows[leading], every[places[names]]) | chains.among(rows[leading], every[places[says]])
        aside[leading[near]] = 0
    return aside


def are_crowded(view: View, rows: Rows, score: Floats, named: Mapping[int, str], recipe: Recipe, k: int) -> Floats:
    """1 for passages whose title names what the question names, where `crowd` that do so score higher: what they add
    is worth less than what the question does not name. Turns do not crowd; their title is who speaks.
    """
    graph = view.graph
    subjects = [entity for entity in named if len(graph.titled(entity, recipe.hop_titles + 1)) <= recipe.hop_titles]
    crowded = np.zeros(len(rows), np.float32)
    looked_at = k + CROWDING if subjects and recipe.crowding else 0
    while looked_at:
        leading = best(score, view.ties[rows], looked_at)
        crowded[leading] = _crowded(view, rows[leading], subjects, recipe)
        if len(leading) < looked_at or looked_at - np.count_nonzero(crowded) >= k:
            break
        # Too few are left to be the first k: what comes after these would take their places for not being looked at.
        looked_at *= 4
    return crowded


def _crowded(view: View, rows: Rows, subjects: list[int], recipe: Recipe) -> Floats:
    """The same of these passages alone, which come best first."""
    crowded = np.zeros(len(rows), np.float32)
    untold = np.flatnonzero(~view.chains.are_told(rows))
    places, entities, masks = view.graph.edges_at(rows[untold])
    is_subject = np.isin(entities, subjects) & _are_in_title(masks)
    about: dict[int, list[int]] = {}
    for place, subject in zip(places[is_subject].tolist(), entities[is_subject].tolist(), strict=True):
        about.setdefault(place, []).append(subject)
    told = dict.fromkeys(subjects, 0)
    for place, own in about.items():
        crowded[untold[place]] = max(told[subject] for subject in own) >= recipe.crowd
        for subject in own:
            told[subject] += 1
    return crowded


def _are_in_title(masks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Of the lines that an entity stands in, as bits: whether the title is one."""
    return np.asarray((masks < 0) | (masks & 1 > 0))
