"""A simulated life of thirty days: what is experienced, what is asked, what of it is wrong.

Associations are arbitrary: a random key with a random value. (Natural question-to-fact pairs show no forgetting at all
in such a memory, .983 without any replay, so they would show no schedule either.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FACT, UPDATE, DUPLICATE, POISON = "fact", "update", "duplicate", "poison"


@dataclass(frozen=True, slots=True)
class Experience:
    """Something that happened: `item` is what it is about, `value` the number of what it says, `trust` 0 to 1."""

    number: int
    item: int
    day: int
    hour: float
    kind: str
    key: Floats
    value: int
    trust: float


@dataclass(frozen=True, slots=True)
class Life:
    """All of it: experiences in the order of time, `values` (v, d), `truth[day, item]` the value that holds at the end
    of a day (-1 before the item is known), `queries[day]` the items asked for.
    """

    days: int
    experiences: Sequence[Experience]
    keys: Floats
    values: Floats
    truth: NDArray[np.int64]
    queries: Sequence[NDArray[np.int64]]

    @property
    def first_day(self) -> NDArray[np.int64]:
        """The day on which each item was first experienced: (items,)."""
        return np.asarray((self.truth >= 0).argmax(axis=0), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a life. Shares are of the items."""

    items: int = 600
    days: int = 30
    dimension: int = 384
    updates: float = 0.05
    duplicates: float = 0.10
    poison: float = 0.05
    bursts: int = 3  # days with four times as much as others
    queries: int = 60  # a day
    topics: int = 20  # keys of one topic are alike, and interfere
    topic: float = 0.8  # length of what a topic's keys share, to 1 of what is their own
    zipf: float = 1.1


def live(plan: Plan, seed: int) -> Life:
    """A life: the same plan and seed give the same one."""
    rng = np.random.default_rng(seed)
    shared = _unit(rng, plan.topics, plan.dimension)[rng.integers(plan.topics, size=plan.items)]
    keys = _normalised(plan.topic * shared + _unit(rng, plan.items, plan.dimension))
    truth = np.full((plan.days, plan.items), -1, np.int64)
    weight = np.ones(plan.days)
    weight[rng.choice(plan.days, min(plan.bursts, plan.days), replace=False)] = 4.0
    day_of = np.sort(rng.choice(plan.days, plan.items, p=weight / weight.sum()))
    day_of[0] = 0
    experiences: list[tuple[int, float, int, str, Floats, int, float]] = []
    for item, day in enumerate(day_of.tolist()):
        truth[day:, item] = item
        experiences.append((day, rng.uniform(8, 20), item, FACT, keys[item], item, rng.uniform(0.5, 1)))
    next_value = plan.items
    # Only what has been known for a day is updated, repeated or contradicted.
    old = np.nonzero(day_of < plan.days - 2)[0]
    for kind, share in ((UPDATE, plan.updates), (DUPLICATE, plan.duplicates), (POISON, plan.poison)):
        for item in rng.choice(old, min(len(old), round(share * plan.items)), replace=False).tolist():
            day = int(rng.integers(day_of[item] + 1, plan.days))
            value, key = int(truth[day, item]), _near(rng, keys[item])
            trust = rng.uniform(0.5, 1)
            if kind != DUPLICATE:
                value, next_value = next_value, next_value + 1
            if kind == UPDATE:
                truth[day:, item] = value
            if kind == POISON:
                trust = rng.uniform(0, 0.6)
            experiences.append((day, rng.uniform(8, 20), item, kind, key, value, trust))
    experiences.sort(key=lambda e: (e[0], e[1]))
    made = [
        Experience(number, item, day, hour, kind, key, value, trust)
        for number, (day, hour, item, kind, key, value, trust) in enumerate(experiences)
    ]
    return Life(plan.days, made, keys, _unit(rng, next_value, plan.dimension), truth, _queries(rng, plan, day_of))


def _queries(rng: np.random.Generator, plan: Plan, day_of: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """A day's queries: Zipf over what is known, in an order of popularity that has nothing to do with age."""
    popularity = rng.permutation(plan.items).astype(np.float64) + 1
    asked = []
    for day in range(plan.days):
        known = np.nonzero(day_of <= day)[0]
        weight = popularity[known] ** -plan.zipf
        asked.append(rng.choice(known, plan.queries, p=weight / weight.sum()).astype(np.int64))
    return asked


def _near(rng: np.random.Generator, key: Floats) -> Floats:
    """The same cue in other words: cosine about .98."""
    return _normalised(key + 0.2 * _unit(rng, 1, len(key))[0])


def _unit(rng: np.random.Generator, number: int, dimension: int) -> Floats:
    return _normalised(rng.normal(size=(number, dimension)))


def _normalised(vectors: NDArray[np.floating]) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), dtype=np.float32)
