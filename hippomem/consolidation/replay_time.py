"""The time that replay goes by: the clock's, without its jumps.

From one round to the next it goes on as far as the clock did: never back, and by `MOST` at the most. So a clock that
goes back loses nothing, and one that jumps ahead (or a machine that slept for a year) makes due what a week makes due,
not everything at once. A daylight change is no jump: all times are UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hippomem.storage.reviews import Schedule

MOST = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class ReplayTime:
    """`wall` is the clock at the last round, `moment` what it counted as."""

    wall: datetime
    moment: datetime

    @classmethod
    def after(cls, last: Schedule | None, now: datetime) -> ReplayTime:
        """The time of a round at `now`, after the last one; the clock's where there was none."""
        return cls(last.wall, last.moment).at(now) if last else cls(now, now)

    def at(self, now: datetime) -> ReplayTime:
        """The time of a round at `now`."""
        now = now.astimezone(UTC)
        step = min(max(now - self.wall, timedelta()), MOST)
        try:
            return ReplayTime(now, self.moment + step)
        except OverflowError:
            return ReplayTime(now, self.moment)

    def clock_at(self, moment: datetime) -> datetime:
        """What the clock will show at a moment of this time, if it does not jump."""
        try:
            return self.wall + (moment - self.moment)
        except OverflowError:
            return datetime.max.replace(tzinfo=UTC)

    def moment_of(self, clock: datetime) -> datetime:
        """What a reading of the clock counts as: for one from before the last round, as far back."""
        return self.moment - max(self.wall - clock, timedelta()) if clock <= self.wall else self.moment
