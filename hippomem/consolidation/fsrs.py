"""FSRS-6 (open-spaced-repetition, py-fsrs 6) in float time: half a day is half a day.

    decay = -w20;  F = .9^(1/decay) - 1;  R(t, S) = (1 + F t/S)^decay;  interval = S/F (r^(1/decay) - 1)

Stability S is the time, in days, after which a memory is retrieved with probability .9; difficulty D lies in 1..10.
For a machine's memory the predicted retrievability is no probability (predicted .91, measured .39 in simulation): it
orders and spaces reviews, and measured recall is what is reported and decided on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from math import exp

from hippomem.consolidation.states import Grade, ReviewState, checked_now
from hippomem.errors import InvalidInputError

WEIGHTS = (
    0.212, 1.2931, 2.3065, 8.2956, 6.4133, 0.8334, 3.0194, 0.001, 1.8722, 0.1666, 0.796, 1.4835, 0.0614, 0.2629,
    1.6483, 0.6014, 1.8729, 0.5425, 0.0912, 0.0658, 0.1542,
)  # fmt: skip
# As py-fsrs bounds them.
LOWER = (0.001, 0.001, 0.001, 0.001, 1, 0.001, 0.001, 0.001, 0, 0, 0.001, 0.001, 0.001, 0.001, 0, 0, 1, 0, 0, 0, 0.1)
UPPER = (100, 100, 100, 100, 10, 4, 4, 0.75, 4.5, 0.8, 3.5, 5, 0.25, 0.9, 4, 1, 6, 2, 2, 0.8, 0.8)
LEAST_STABILITY = 0.001  # days
SAME_DAY = 1.0  # days below which a review is one of the same day


@dataclass(frozen=True, slots=True)
class Fsrs:
    """The FSRS-6 curve. Raises InvalidInputError that lists every parameter out of its bounds."""

    weights: tuple[float, ...] = WEIGHTS
    retention: float = 0.9  # the retrievability at which a memory falls due
    least_interval: float = 1 / 144  # days: ten minutes
    max_interval: float = 90.0  # days
    name: str = field(default="fsrs", init=False)

    def __post_init__(self) -> None:
        wrong = []
        if len(self.weights) != len(WEIGHTS):
            wrong.append(f"there are {len(self.weights)} weights, FSRS-6 has {len(WEIGHTS)}")
        for place, (w, low, high) in enumerate(zip(self.weights, LOWER, UPPER, strict=False)):
            if not low <= w <= high:
                wrong.append(f"w[{place}] = {w} is not in [{low}, {high}]")
        if not 0 < self.retention < 1:
            wrong.append(f"retention = {self.retention} is not between 0 and 1")
        if not 0 < self.least_interval <= self.max_interval:
            wrong.append(f"intervals {self.least_interval} to {self.max_interval} days are no range")
        if wrong:
            raise InvalidInputError("FSRS: " + "; ".join(wrong))

    @property
    def decay(self) -> float:
        """-w20."""
        return -self.weights[20]

    @property
    def factor(self) -> float:
        """F, by which R(S, S) = .9."""
        return float(0.9 ** (1 / self.decay) - 1)

    def retrievability(self, state: ReviewState, now: datetime) -> float:
        """R at `now`, 0 to 1."""
        return float((1 + self.factor * state.elapsed(now) / state.stability) ** self.decay)

    def interval(self, stability: float) -> float:
        """Days until a memory of this stability falls due."""
        days = stability / self.factor * (self.retention ** (1 / self.decay) - 1)
        return float(min(max(days, self.least_interval), self.max_interval))

    def first(self, now: datetime, grade: Grade = Grade.GOOD) -> ReviewState:
        """The state of what has just been learned, which counts as a first review with this grade.

        It is due at once: whether the writing of it worked is known only when it has been found once.
        """
        now = checked_now(now)
        stability = max(self.weights[grade - 1], LEAST_STABILITY)
        return ReviewState(now, now, stability, _clip(self._first_difficulty(grade)), reviews=1)

    def review(self, state: ReviewState, grade: Grade, now: datetime) -> ReviewState:
        """The state after a review at `now`."""
        now = checked_now(now)
        state = state.at(now)
        stability = self._stability(state, grade, now)
        done = state.reviewed(grade, now, self.interval(stability), stability)
        return replace(done, difficulty=self._difficulty(state.difficulty, grade))

    def _stability(self, state: ReviewState, grade: Grade, now: datetime) -> float:
        w, s, d = self.weights, state.stability, state.difficulty
        if state.elapsed(now) < SAME_DAY:
            growth = exp(w[17] * (grade - 3 + w[18])) * s ** -w[19]
            new = s * (max(1.0, growth) if grade > Grade.AGAIN else growth)
        elif grade == Grade.AGAIN:
            forgotten = 1 - self.retrievability(state, now)
            long = w[11] * d ** -w[12] * ((s + 1) ** w[13] - 1) * exp(w[14] * forgotten)
            new = min(long, s / exp(w[17] * w[18]))
        else:
            forgotten = 1 - self.retrievability(state, now)
            growth = exp(w[8]) * (11 - d) * s ** -w[9] * (exp(w[10] * forgotten) - 1)
            growth *= w[15] if grade == Grade.HARD else 1
            growth *= w[16] if grade == Grade.EASY else 1
            new = s * (1 + growth)
        return float(max(new, LEAST_STABILITY))

    def _first_difficulty(self, grade: Grade) -> float:
        return self.weights[4] - exp(self.weights[5] * (grade - 1)) + 1

    def _difficulty(self, difficulty: float, grade: Grade) -> float:
        w = self.weights
        damped = difficulty - w[6] * (grade - 3) * (10 - difficulty) / 9
        return _clip(w[7] * self._first_difficulty(Grade.EASY) + (1 - w[7]) * damped)


def _clip(difficulty: float) -> float:
    return min(max(difficulty, 1.0), 10.0)
