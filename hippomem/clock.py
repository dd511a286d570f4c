"""Time as a parameter: aware UTC for what is recorded, monotonic seconds for what is measured."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from hippomem.errors import InvalidInputError


class Clock(Protocol):
    """Where the library gets its time from."""

    def now(self) -> datetime:
        """The current moment, timezone-aware UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back, for durations."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class SimulatedClock:
    """A clock that moves only when told to; for tests and simulations."""

    moment: datetime = field(default_factory=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    elapsed: float = 0.0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.elapsed

    def advance(self, step: timedelta) -> None:
        """Move on by `step`; a negative step moves the calendar back, never `monotonic()`."""
        self.moment += step
        self.elapsed += max(0.0, step.total_seconds())


MONTHS = "January February March April May June July August September October November December".split()


def month_in_words(moment: datetime) -> str:
    """ "May 2023", in English whatever the locale."""
    return f"{MONTHS[moment.month - 1]} {moment.year}"


def date_in_words(moment: datetime) -> str:
    """ "8 May 2023", in English whatever the locale."""
    return f"{moment.day} {month_in_words(moment)}"


def as_utc(moment: datetime, name: str) -> datetime:
    """`moment` in UTC. Raises InvalidInputError where it has no timezone: guessing one misdates memories."""
    if moment.tzinfo is None:
        raise InvalidInputError(f"{name} must be timezone-aware, for example datetime.now(UTC)")
    return moment.astimezone(UTC)
