"""Reciprocal rank fusion: one ranking of several, by places alone."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Id = TypeVar("Id", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Fused(Generic[Id]):
    """An item with its score: the sum of `shares`, by the number of the ranking that gave each."""

    id: Id
    score: float
    shares: Mapping[int, float]


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[Id]], *, k: float = 60.0, weights: Sequence[float] | None = None
) -> list[Fused[Id]]:
    """Sum weight / (k + rank) over the rankings that hold an item, ranks from 1 (Cormack, Clarke and Büttcher, SIGIR
    2009, where k is 60), best first.

    The smaller k, the more the first places count. Of equals the one that an earlier ranking held first wins. An item
    counts once in a ranking.
    """
    shares: dict[Id, dict[int, float]] = {}
    for number, ranking in enumerate(rankings):
        weight = 1.0 if weights is None else weights[number]
        for rank, item in enumerate(dict.fromkeys(ranking), 1):
            shares.setdefault(item, {})[number] = weight / (k + rank)
    fused = [Fused(item, sum(own.values()), own) for item, own in shares.items()]
    # Rounded, so that the order of a sum does not decide between equals; the sort is stable.
    return sorted(fused, key=lambda one: -round(one.score, 12))
