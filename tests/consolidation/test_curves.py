"""Forgetting curves: FSRS-6 against the package `fsrs`, float time, clocks that misbehave."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippomem import InvalidInputError
from hippomem.consolidation.curves import CURVES, Leitner, curve_called
from hippomem.consolidation.fsrs import WEIGHTS, Fsrs
from hippomem.consolidation.states import Grade, days_between

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_fsrs_6_equals_the_package_on_500_histories_of_whole_days() -> None:
    from fsrs import Card, Rating, Scheduler

    oracle = Scheduler(enable_fuzzing=False, learning_steps=(), relearning_steps=())
    ours = Fsrs(max_interval=36500.0)
    assert oracle.parameters == WEIGHTS
    rng = random.Random(5)  # noqa: S311
    compared = 0
    for _ in range(500):
        moment = NOW
        grade = rng.randint(1, 4)
        card = Card(card_id=1, due=moment)
        card, _log = oracle.review_card(card, Rating(grade), moment)
        state = ours.first(moment, Grade(grade))
        for _ in range(rng.randint(1, 25)):
            assert state.stability == pytest.approx(card.stability, rel=1e-9, abs=1e-9)
            assert state.difficulty == pytest.approx(card.difficulty, rel=1e-9, abs=1e-9)
            moment += timedelta(days=rng.choice((0, 1, 1, 2, 3, 7, 30, 200)))
            wanted = oracle.get_card_retrievability(card, moment)
            assert ours.retrievability(state, moment) == pytest.approx(wanted, abs=1e-9)
            grade = rng.choices((1, 2, 3, 4), (1, 1, 3, 1))[0]
            card, _log = oracle.review_card(card, Rating(grade), moment)
            state = ours.review(state, Grade(grade), moment)
            due = days_between(moment, card.due)
            assert due == max(1, round(days_between(moment, state.due)))  # the package rounds to whole days
            compared += 1
    assert compared > 4000


def test_half_a_day_is_half_a_day() -> None:
    curve = Fsrs()
    state = curve.first(NOW)
    at = [curve.retrievability(state, NOW + timedelta(days=d)) for d in (0, 0.5, 1, 1.5, 2)]
    assert at == sorted(at, reverse=True)
    assert len(set(at)) == 5
    assert at[0] == 1
    assert curve.retrievability(state, NOW + timedelta(days=state.stability)) == pytest.approx(0.9)
    early = curve.review(state, Grade.GOOD, NOW + timedelta(days=1.2)).stability
    late = curve.review(state, Grade.GOOD, NOW + timedelta(days=1.7)).stability
    assert late > early > state.stability


@pytest.mark.parametrize("name", sorted(CURVES))
@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.tuples(st.floats(-400, 400), st.integers(1, 4)), max_size=12))
def test_no_clock_breaks_a_curve(name: str, steps: list[tuple[float, int]]) -> None:
    curve = curve_called(name)
    moment = NOW
    state = curve.first(moment)
    for days, grade in steps:
        moment += timedelta(days=days)  # also back
        assert 0 <= curve.retrievability(state, moment) <= 1
        state = curve.review(state, Grade(grade), moment)
        assert state.stability > 0
        assert 1 <= state.difficulty <= 10
        assert moment <= state.due <= moment + timedelta(days=100)
    assert state.reviews == len(steps) + 1
    assert state.lapses == sum(grade == 1 for _, grade in steps)


def test_a_last_review_in_the_future_was_just_now() -> None:
    curve = Fsrs()
    ahead = curve.first(NOW + timedelta(days=365))  # the clock was a year ahead, and was put right
    state = ahead.at(NOW)
    assert state.last_review == NOW
    assert state.due == NOW
    later = curve.review(ahead, Grade.GOOD, NOW)
    assert later.last_review == NOW
    assert 0 < days_between(NOW, later.due) < 90


def test_a_daylight_change_takes_no_hour() -> None:
    oslo = ZoneInfo("Europe/Oslo")
    curve = Fsrs()
    before = datetime(2026, 3, 28, 12, tzinfo=oslo)  # the clocks go forward in the night
    state = curve.first(before)
    assert state.elapsed(datetime(2026, 3, 29, 12, tzinfo=oslo)) == pytest.approx(23 / 24)
    assert state.elapsed(datetime(2026, 3, 29, 10, tzinfo=UTC)) == pytest.approx(23 / 24)


def test_the_intervals_are_bounded() -> None:
    curve = Fsrs()
    state = curve.first(NOW, Grade.EASY)
    moment = NOW
    for _ in range(40):
        moment = state.due
        state = curve.review(state, Grade.EASY, moment)
    assert days_between(moment, state.due) == pytest.approx(90)
    for _ in range(40):
        state = curve.review(state, Grade.AGAIN, state.due)
    assert days_between(state.last_review, state.due) >= 1 / 144 - 1e-9


def test_leitner_moves_between_boxes() -> None:
    curve = Leitner()
    state = curve.first(NOW)
    for expected in (2, 4, 8, 16, 16):
        state = curve.review(state, Grade.GOOD, state.due)
        assert days_between(state.last_review, state.due) == expected
    assert days_between(NOW, curve.review(state, Grade.AGAIN, NOW).due) == 1


def test_what_is_out_of_bounds_is_listed() -> None:
    with pytest.raises(InvalidInputError, match=r"w\[0\] = -1 .*w\[20\] = 9 .*retention = 2"):
        Fsrs((-1, *WEIGHTS[1:20], 9), retention=2)
    with pytest.raises(InvalidInputError, match="one of fsrs, ebbinghaus"):
        curve_called("spiral")
    with pytest.raises(InvalidInputError, match="timezone-aware"):
        Fsrs().first(datetime(2026, 1, 1))
