"""Reciprocal rank fusion, against its formula."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippomem.hippocampus.fusion import reciprocal_rank_fusion

RANKINGS = st.lists(st.lists(st.integers(0, 12), unique=True, max_size=10), max_size=5)


def test_an_example_by_hand() -> None:
    fused = reciprocal_rank_fusion([["a", "b"], ["b", "c"]], k=1, weights=[1.0, 0.5])
    assert [one.id for one in fused] == ["b", "a", "c"]
    assert fused[0].score == pytest.approx(1 / 3 + 0.5 / 2)
    assert fused[0].shares == {0: pytest.approx(1 / 3), 1: pytest.approx(1 / 4)}
    assert fused[2].shares == {1: pytest.approx(0.5 / 3)}


@given(RANKINGS, st.floats(0, 100))
def test_it_is_the_sum_over_the_rankings(rankings: list[list[int]], k: float) -> None:
    fused = reciprocal_rank_fusion(rankings, k=k)
    assert {one.id for one in fused} == {item for ranking in rankings for item in ranking}
    for one in fused:
        expected = sum(1 / (k + ranking.index(one.id) + 1) for ranking in rankings if one.id in ranking)
        assert one.score == pytest.approx(expected)
        assert sum(one.shares.values()) == pytest.approx(one.score)
    scores = [one.score for one in fused]
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(scores))


@given(st.lists(st.integers(), unique=True, max_size=10), st.integers(1, 4))
def test_the_same_ranking_several_times_stays_as_it_is(ranking: list[int], times: int) -> None:
    assert [one.id for one in reciprocal_rank_fusion([ranking] * times)] == ranking


def test_equals_keep_the_order_of_the_rankings() -> None:
    assert [one.id for one in reciprocal_rank_fusion([["b"], ["a"], ["c"]])] == ["b", "a", "c"]
    assert reciprocal_rank_fusion([["a", "a", "b"]])[1].score == pytest.approx(1 / 62)
    assert reciprocal_rank_fusion([]) == []
