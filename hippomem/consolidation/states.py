"""Grades and review states: what a schedule knows about one memory. All of it is immutable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from hippomem.errors import InvalidInputError

DAY = 86_400.0  # seconds


class Grade(IntEnum):
    """How well a memory was found, in FSRS's terms.

    AGAIN: its own cue does not bring it among the passages shown to a reader, or its score is not finite. HARD: found,
    but not first. GOOD: first. EASY: first with a margin, and used twice since the last review.
    """

    AGAIN = 1
    HARD = 2
    GOOD = 3
    EASY = 4


@dataclass(frozen=True, slots=True)
class ReviewState:
    """One memory in one channel. `stability` is in days, `difficulty` from 1 to 10; moments are aware UTC.

    `step` is a curve's own counter (Leitner's box), `reviews` and `lapses` count what there has been.
    """

    last_review: datetime
    due: datetime
    stability: float
    difficulty: float = 5.0
    step: int = 0
    reviews: int = 0
    lapses: int = 0

    def elapsed(self, now: datetime) -> float:
        """Days since the last review, in fractions; 0 where the clock has gone back."""
        return max(0.0, days_between(self.last_review, now))

    def at(self, now: datetime) -> ReviewState:
        """The state as it counts at `now`: a last review in the future (the clock has gone back) was just now."""
        if self.last_review <= now:
            return self
        return replace(self, last_review=now, due=now + (self.due - self.last_review))

    def reviewed(self, grade: Grade, now: datetime, interval: float, stability: float) -> ReviewState:
        """The state after a review, due in `interval` days."""
        lapses = self.lapses + (grade == Grade.AGAIN)
        due = after(now, interval)
        return ReviewState(now, due, stability, self.difficulty, self.step, self.reviews + 1, lapses)


def days_between(earlier: datetime, later: datetime) -> float:
    """Days from one moment to another, in fractions. Both aware: a daylight change in between does not count."""
    return (later.astimezone(UTC) - earlier.astimezone(UTC)).total_seconds() / DAY


def after(moment: datetime, days: float) -> datetime:
    """`days` after a moment; the last moment that there is where that is past it."""
    try:
        return moment + timedelta(days=days)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def checked_now(now: datetime) -> datetime:
    """`now` in UTC. Raises InvalidInputError where it has no time zone."""
    if not isinstance(now, datetime) or now.tzinfo is None:
        raise InvalidInputError("now must be a timezone-aware datetime, for example datetime.now(UTC)")
    return now.astimezone(UTC)
