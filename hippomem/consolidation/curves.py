"""The forgetting curves to choose from. FSRS-6 is the default; the others are the baselines it is measured against.

A curve says when a memory falls due and how retrievable it is meanwhile; which of those that are due are replayed is
the selection's business (selection.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from math import exp
from typing import Protocol

from hippomem.consolidation.fsrs import Fsrs
from hippomem.consolidation.states import Grade, ReviewState, checked_now
from hippomem.errors import InvalidInputError


class Curve(Protocol):
    """A forgetting curve with the intervals that follow from it."""

    @property
    def name(self) -> str:
        """What it is chosen by."""

    def first(self, now: datetime, grade: Grade = Grade.GOOD) -> ReviewState:
        """The state of what has just been learned."""

    def review(self, state: ReviewState, grade: Grade, now: datetime) -> ReviewState:
        """The state after a review. Raises InvalidInputError where `now` has no time zone."""

    def retrievability(self, state: ReviewState, now: datetime) -> float:
        """How likely the memory is found, 0 to 1, as the curve predicts it."""


@dataclass(frozen=True, slots=True)
class Ebbinghaus:
    """R = exp(-t / S) (Ebbinghaus 1885): a success doubles S, a lapse halves it; due where R has fallen to .9."""

    first_stability: float = 10.0  # days: due after about one day
    most: float = 900.0
    name: str = field(default="ebbinghaus", init=False)

    def retrievability(self, state: ReviewState, now: datetime) -> float:
        """exp(-t / S)."""
        return exp(-state.elapsed(now) / state.stability)

    def first(self, now: datetime, grade: Grade = Grade.GOOD) -> ReviewState:
        """Due after a day, whatever the grade."""
        return self._after(ReviewState(now, now, self.first_stability), self.first_stability, grade, checked_now(now))

    def review(self, state: ReviewState, grade: Grade, now: datetime) -> ReviewState:
        """S times .5, 1.2, 2 or 3, by grade."""
        factor = {Grade.AGAIN: 0.5, Grade.HARD: 1.2, Grade.GOOD: 2.0, Grade.EASY: 3.0}[grade]
        now = checked_now(now)
        return self._after(state, min(max(state.stability * factor, 0.1), self.most), grade, now)

    def _after(self, state: ReviewState, stability: float, grade: Grade, now: datetime) -> ReviewState:
        return state.reviewed(grade, now, 0.10536 * stability, stability)  # -ln .9


@dataclass(frozen=True, slots=True)
class Leitner:
    """Boxes (Leitner 1972): a success moves a memory to the next box, a lapse to the first; each has its interval."""

    boxes: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)  # days
    name: str = field(default="leitner", init=False)

    def retrievability(self, state: ReviewState, now: datetime) -> float:
        """.5 to the power of t over the interval: half where it falls due. Only the order counts."""
        return float(0.5 ** (state.elapsed(now) / state.stability))

    def first(self, now: datetime, grade: Grade = Grade.GOOD) -> ReviewState:
        """The first box."""
        return self._in_box(ReviewState(now, now, self.boxes[0]), 0, grade, checked_now(now))

    def review(self, state: ReviewState, grade: Grade, now: datetime) -> ReviewState:
        """The box after this one, the same where it was HARD, the first where it was AGAIN."""
        step = {Grade.AGAIN: 0, Grade.HARD: state.step}.get(grade, state.step + 1)
        return self._in_box(state, min(step, len(self.boxes) - 1), grade, checked_now(now))

    def _in_box(self, state: ReviewState, box: int, grade: Grade, now: datetime) -> ReviewState:
        return replace(state.reviewed(grade, now, self.boxes[box], self.boxes[box]), step=box)


@dataclass(frozen=True, slots=True)
class Expanding:
    """Fixed, ever longer intervals, whatever the grade (Landauer and Bjork 1978)."""

    intervals: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)  # days
    name: str = field(default="expanding", init=False)

    def retrievability(self, state: ReviewState, now: datetime) -> float:
        """As Leitner's."""
        return float(0.5 ** (state.elapsed(now) / state.stability))

    def first(self, now: datetime, grade: Grade = Grade.GOOD) -> ReviewState:
        """Due after the first interval."""
        return self._at(ReviewState(now, now, self.intervals[0]), 0, grade, checked_now(now))

    def review(self, state: ReviewState, grade: Grade, now: datetime) -> ReviewState:
        """Due after the next interval."""
        return self._at(state, min(state.step + 1, len(self.intervals) - 1), grade, checked_now(now))

    def _at(self, state: ReviewState, step: int, grade: Grade, now: datetime) -> ReviewState:
        return replace(state.reviewed(grade, now, self.intervals[step], self.intervals[step]), step=step)


@dataclass(frozen=True, slots=True)
class Uniform:
    """No curve: everything is always due and as likely as anything else. Replay is then a draw (see selection.py)."""

    name: str = field(default="uniform", init=False)

    def retrievability(self, state: ReviewState, now: datetime) -> float:  # noqa: ARG002
        """.5, always."""
        return 0.5

    def first(self, now: datetime, grade: Grade = Grade.GOOD) -> ReviewState:
        """Due at once."""
        return ReviewState(now, now, 1.0).reviewed(grade, checked_now(now), 0.0, 1.0)

    def review(self, state: ReviewState, grade: Grade, now: datetime) -> ReviewState:
        """Due at once."""
        return state.reviewed(grade, checked_now(now), 0.0, 1.0)


CURVES: dict[str, type[Curve]] = {
    "fsrs": Fsrs,
    "ebbinghaus": Ebbinghaus,
    "leitner": Leitner,
    "expanding": Expanding,
    "uniform": Uniform,
}


def curve_called(name: str) -> Curve:
    """A curve with its defaults. Raises InvalidInputError where there is none of this name."""
    if name not in CURVES:
        raise InvalidInputError(f"there is no forgetting curve {name!r}: it is one of {', '.join(CURVES)}")
    return CURVES[name]()
