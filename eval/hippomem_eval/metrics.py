"""Retrieval measures, from the ranks at which a question's gold passages came; and how sure their means are.

A rank counts from 1; None stands for a gold passage that was not retrieved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hippomem import InvalidInputError

Ranks = Sequence[int | None]
CUTOFFS = (1, 2, 5, 10, 20)
ALL_GOLD_CUTOFF = 5
_RESAMPLES_AT_ONCE = 500  # bounds memory: at 10,000 questions, 40 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, or a mean difference, and the bounds of its confidence interval."""

    mean: float
    low: float
    high: float


def recall_at(ranks: Ranks, k: int) -> float:
    """The fraction of the gold passages among the first `k` (recall@k as in HippoRAG). `ranks` is not empty."""
    return sum(rank is not None and rank <= k for rank in ranks) / len(ranks)


def all_gold_at(ranks: Ranks, k: int) -> float:
    """1 where every gold passage is among the first `k`, else 0: a multi-hop reader needs them all."""
    return float(all(rank is not None and rank <= k for rank in ranks))


def reciprocal_rank(ranks: Ranks) -> float:
    """1 / the rank of the first gold passage, 0 where none was retrieved. Its mean over questions is MRR."""
    found = [rank for rank in ranks if rank is not None]
    return 1 / min(found) if found else 0.0


def scores(ranks: Ranks, k: int) -> dict[str, float]:
    """All of these of `k` passages, by name."""
    found = {f"recall@{cutoff}": recall_at(ranks, cutoff) for cutoff in CUTOFFS if cutoff <= k}
    if k >= ALL_GOLD_CUTOFF:
        found[f"all_gold@{ALL_GOLD_CUTOFF}"] = all_gold_at(ranks, ALL_GOLD_CUTOFF)
    return found | {"mrr": reciprocal_rank(ranks)}


def column(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """One measure of all questions."""
    return [float(row[name]) for row in rows]


def means(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> dict[str, float]:
    """The mean of each of these measures."""
    return {name: sum(column(rows, name)) / len(rows) for name in names}


def spread(values: ArrayLike) -> Mapping[str, float]:
    """Mean, median and 95th percentile (linear interpolation). Raises InvalidInputError without values."""
    array = _checked(values)
    p50, p95 = np.percentile(array, [50, 95])
    return {"mean": float(array.mean()), "p50": float(p50), "p95": float(p95)}


def bootstrap(values: ArrayLike, *, seed: int, resamples: int = 10_000, level: float = 0.95) -> Interval:
    """The mean of `values` and its percentile bootstrap interval (Efron and Tibshirani, 1993).

    The same seed gives the same interval. Raises InvalidInputError without values.
    """
    array = _checked(values)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, resamples - start)
        means[start : start + size] = array[rng.integers(len(array), size=(size, len(array)))].mean(axis=1)
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(array.mean()), float(low), float(high))


def clustered_bootstrap(
    values: ArrayLike, clusters: Sequence[str], *, seed: int, resamples: int = 10_000, level: float = 0.95
) -> Interval:
    """The mean of `values` and its interval where whole clusters are drawn: one drawn twice counts twice, with all of
    its values (Davison and Hinkley 1997, section 3.8).

    For questions on the same text, which are not independent. With few clusters it is a rough guide. Raises
    InvalidInputError without values, or where there is not one cluster's name for each.
    """
    array = _checked(values)
    if len(clusters) != len(array):
        raise InvalidInputError(f"{len(array)} values need as many clusters, not {len(clusters)}")
    names, members = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(members, weights=array)
    sizes = np.bincount(members).astype(np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, resamples - start)
        drawn = rng.integers(len(names), size=(size, len(names)))
        means[start : start + size] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(array.mean()), float(low), float(high))


def paired_bootstrap(
    values: ArrayLike, baseline: ArrayLike, *, seed: int, resamples: int = 10_000, level: float = 0.95
) -> Interval:
    """The mean of `values - baseline`, question by question, and its bootstrap interval.

    Pairing takes out how hard the questions are, which otherwise hides most differences. Raises InvalidInputError
    where the two are not of the same length.
    """
    first, second = _checked(values), _checked(baseline)
    if first.shape != second.shape:
        raise InvalidInputError(f"paired measures need the same questions: {len(first)} and {len(second)} values")
    return bootstrap(first - second, seed=seed, resamples=resamples, level=level)


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise InvalidInputError("there is nothing to measure: no values")
    return array
