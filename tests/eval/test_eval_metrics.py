"""Measures against values worked out by hand, and what must hold for any ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippomem import InvalidInputError
from hippomem_eval.metrics import (
    all_gold_at,
    bootstrap,
    clustered_bootstrap,
    paired_bootstrap,
    recall_at,
    reciprocal_rank,
    spread,
)

RANKS = st.lists(st.none() | st.integers(1, 30), min_size=1, max_size=6)
VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("ranks", "k", "expected"),
    [
        ([1, 3], 1, 0.5),
        ([1, 3], 2, 0.5),
        ([1, 3], 3, 1.0),
        ([2, None], 5, 0.5),
        ([None, None], 20, 0.0),
        ([4, 5, 6, 7], 5, 0.5),
        ([5], 5, 1.0),
        ([6], 5, 0.0),
    ],
)
def test_recall_is_the_fraction_of_gold_in_the_first_k(ranks: list[int | None], k: int, expected: float) -> None:
    assert recall_at(ranks, k) == expected


@pytest.mark.parametrize(
    ("ranks", "k", "expected"), [([1, 5], 5, 1.0), ([1, 6], 5, 0.0), ([1, None], 5, 0.0), ([3], 2, 0.0)]
)
def test_all_gold_needs_every_passage(ranks: list[int | None], k: int, expected: float) -> None:
    assert all_gold_at(ranks, k) == expected


@pytest.mark.parametrize(("ranks", "expected"), [([4, 2], 0.5), ([None, 10], 0.1), ([None], 0.0), ([1, None], 1.0)])
def test_reciprocal_rank_is_that_of_the_first_gold(ranks: list[int | None], expected: float) -> None:
    assert reciprocal_rank(ranks) == expected


@given(RANKS, st.integers(1, 30))
def test_recall_grows_with_k_and_bounds_all_gold(ranks: list[int | None], k: int) -> None:
    assert 0 <= recall_at(ranks, k) <= recall_at(ranks, k + 1) <= 1
    assert all_gold_at(ranks, k) == (recall_at(ranks, k) == 1)
    assert (reciprocal_rank(ranks) > 0) == (recall_at(ranks, 30) > 0)


def test_spread_by_hand() -> None:
    # Linear interpolation: the 95th percentile of 0..100 by tens lies half way between 90 and 100.
    assert spread(range(0, 101, 10)) == {"mean": 50.0, "p50": 50.0, "p95": 95.0}


@pytest.mark.parametrize("measure", [spread, lambda values: bootstrap(values, seed=0)])
def test_nothing_to_measure_is_an_error(measure: object) -> None:
    with pytest.raises(InvalidInputError, match="no values"):
        measure([])  # type: ignore[operator]


@given(VALUES, st.integers(0, 5))
def test_an_interval_holds_its_mean_and_lies_within_the_values(values: list[float], seed: int) -> None:
    interval = bootstrap(values, seed=seed, resamples=200)
    slack = 1e-12
    assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack
    assert interval.mean == pytest.approx(np.mean(values))


def test_the_interval_is_that_of_the_normal_approximation_at_many_values() -> None:
    values = np.random.default_rng(1).normal(0.5, 0.2, 2000)
    interval = bootstrap(values, seed=0, resamples=4000)
    margin = 1.96 * values.std(ddof=1) / np.sqrt(2000)
    assert interval.low == pytest.approx(values.mean() - margin, abs=margin / 10)
    assert interval.high == pytest.approx(values.mean() + margin, abs=margin / 10)


def test_the_seed_decides() -> None:
    values = [0.0, 0.5, 1.0, 1.0, 0.25]
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)
    assert bootstrap(values, seed=3, resamples=100) != bootstrap(values, seed=4, resamples=100)


def test_pairing_takes_out_what_is_common() -> None:
    hardness = np.random.default_rng(2).random(200)
    difference = paired_bootstrap(hardness + 0.1, hardness, seed=0)
    assert (difference.low, difference.high) == pytest.approx((0.1, 0.1))
    assert paired_bootstrap(hardness, hardness + 0.1, seed=0).mean == pytest.approx(-0.1)


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(InvalidInputError, match="2 and 1 values"):
        paired_bootstrap([1.0, 0.0], [1.0], seed=0)


def test_clusters_are_drawn_whole() -> None:
    # One cluster of two zeros, one of a single one: 0 0 | 1. Drawn are both (mean 1/3), or one of them twice.
    found = clustered_bootstrap([0, 0, 1], ["x", "x", "y"], seed=0)
    assert (found.mean, found.low, found.high) == (pytest.approx(1 / 3), 0.0, 1.0)
    # As many clusters as values: the bootstrap over values.
    values = np.arange(40) / 40
    apart = clustered_bootstrap(values, [str(i) for i in range(40)], seed=0)
    assert apart.low == pytest.approx(bootstrap(values, seed=1).low, abs=0.01)
    assert clustered_bootstrap([1, 2], ["x", "x"], seed=0).low == 1.5
    with pytest.raises(InvalidInputError, match="as many clusters"):
        clustered_bootstrap([1, 2], ["x"], seed=0)
