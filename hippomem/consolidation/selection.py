"""Which memories are replayed when the budget is not enough for all: FSRS + floor.

A quarter of the budget goes to those replayed longest ago (the floor: by retrievability alone a cohort can starve,
worst-cohort recall .33 against .49 of uniform replay). Then those that are due, the most retrievable first: these are
saved by one replay, what is nearly lost costs more. What is left goes to the least retrievable of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from hippomem.consolidation.curves import Curve
from hippomem.consolidation.states import ReviewState

FLOOR = 0.25  # of the budget
OVERLOAD = 2.0  # due over budget: more than this
OVERLOAD_DAYS = 3.0  # for so long


@dataclass(frozen=True, slots=True)
class Chosen:
    """A memory to replay and the reason: "floor", "due" or "slack"."""

    place: int
    reason: str


def select(
    states: Sequence[ReviewState],
    curve: Curve,
    now: datetime,
    budget: int,
    floor: float = FLOOR,
    rng: np.random.Generator | None = None,
) -> list[Chosen]:
    """At most `budget` of the states, each once, in the order of their replay.

    Equals are ordered by their place. With the uniform curve and an `rng` it is a draw without replacement.
    """
    budget = min(budget, len(states))
    if budget <= 0:
        return []
    if curve.name == "uniform" and rng is not None:
        return [Chosen(int(place), "uniform") for place in rng.choice(len(states), budget, replace=False)]
    moment = now.timestamp()
    last = np.array([min(s.last_review.timestamp(), moment) for s in states])
    likely = np.array([curve.retrievability(s, now) for s in states])
    is_due = np.array([s.at(now).due <= now for s in states])
    return _ordered(last, likely, is_due, budget, floor)


def _ordered(
    last: NDArray[np.float64], likely: NDArray[np.float64], is_due: NDArray[np.bool_], budget: int, floor: float
) -> list[Chosen]:
    chosen: dict[int, str] = {}

    def take(order: NDArray[np.int64], number: int, reason: str) -> None:
        for place in order.tolist():
            if number <= 0:
                return
            if place not in chosen:
                chosen[place] = reason
                number -= 1

    take(np.argsort(last, kind="stable"), round(floor * budget), "floor")
    due = np.nonzero(is_due)[0]
    take(due[np.argsort(-likely[due], kind="stable")], budget - len(chosen), "due")
    take(np.argsort(likely, kind="stable"), budget - len(chosen), "slack")
    return [Chosen(place, reason) for place, reason in chosen.items()]
