"""A worker: rounds of consolidation one after the other, with pauses while nothing is due.

It is what `Memory.open(background=True)` runs on a thread and `hippomem worker` in a process. Any number may work on
one database.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from hippomem.clock import Clock
from hippomem.errors import ClosedError, HippomemError
from hippomem.threads import starting
from hippomem.types import Report

log = logging.getLogger("hippomem")
POLL_SECONDS = 5.0  # other processes add as well, and nobody wakes us then
IDLE_SECONDS = 3600.0  # what falls due later is not waited for `until_idle`, nor a server that fails for longer
LONGEST_PAUSE = 60.0  # after rounds that failed


@dataclass(frozen=True, slots=True)
class Waiting:
    """That rounds wait for a server that fails, with what they say; since when, on the monotonic clock."""

    error: str
    since: float

    def is_vain(self, clock: Clock) -> bool:
        """Whether nobody who wants to see an end waits for longer."""
        return clock.monotonic() - self.since > IDLE_SECONDS


class Worker:
    """Runs `consolidate`, which is told when to stop, whenever `next_due` has come.

    `told` hears of every round that had something to do.
    """

    def __init__(
        self,
        consolidate: Callable[[threading.Event], Report],
        next_due: Callable[[], datetime | None],
        clock: Clock,
        told: Callable[[Report], None] | None = None,
    ) -> None:
        self._consolidate = consolidate
        self._next_due = next_due
        self._clock = clock
        self._told = told
        self._stopping = threading.Event()
        self._waking = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0
        self.error: str | None = None  # of the last round, where that is nothing to wait for
        self.waiting: Waiting | None = None

    def start(self) -> None:
        """Run on a thread of its own, which ends with the process at the latest. Raises HippomemError where there can
        be none."""
        thread = threading.Thread(target=self.run, name="hippomem-worker", daemon=True)
        with starting():
            thread.start()
        self._thread = thread

    def wake(self) -> None:
        """Look for work now."""
        self._waking.set()

    def ask_to_stop(self) -> None:
        """Begin nothing more. Safe in a signal handler."""
        self._stopping.set()
        self._waking.set()

    def stop(self, timeout: float | None = None) -> None:
        """Ask to stop, and wait until what runs has ended, for `timeout` seconds at most."""
        self.ask_to_stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def run(self, until_idle: bool = False) -> None:
        """Work until asked to stop; `until_idle`: or until nothing is left that is due or will be soon, or has waited
        for a server that fails in vain."""
        while not self._stopping.is_set():
            self._waking.clear()
            due = self._seconds_to_work()
            if until_idle and (due is None or due > IDLE_SECONDS):
                return
            if until_idle and self.waiting is not None and self.waiting.is_vain(self._clock):
                self.error = self.waiting.error
                return
            if due == 0.0:
                did_something = self._round()
                if self._failures and until_idle:
                    return
                due = 0.0 if did_something else None  # what is due is in others' hands
            pause = POLL_SECONDS if due is None else min(due, POLL_SECONDS)
            if self._failures:
                pause = min(LONGEST_PAUSE, 2.0 ** min(self._failures, 10))  # of 1,024, a float is none
            if pause:
                self._waking.wait(pause)

    def work(self) -> float | None:
        """Rounds while there is something to do. Returns the seconds until there will be; None where nothing is known
        of, or what is due is in others' hands, or failed."""
        while not self._stopping.is_set():
            due = self._seconds_to_work()
            if due != 0.0:
                return due
            if not self._round() or self.error:  # what failed for all would go on to fail, one job after the other
                break
        return None

    def _round(self) -> bool:
        """Whether anything was done."""
        try:
            report = self._consolidate(self._stopping)
        except ClosedError:
            self.ask_to_stop()
            return False
        except HippomemError as error:
            log.warning("consolidation: %s", error)
            self.error, self._failures = str(error), self._failures + 1
            return False
        failed = [part.error for part in report.steps if part.error and part.again_at is None]
        self.error = failed[0] if failed else None
        self._failures = self._failures + 1 if failed else 0
        held_up = [part.error for part in report.steps if part.error and part.again_at is not None]
        since = self.waiting.since if self.waiting else self._clock.monotonic()
        self.waiting = Waiting(held_up[0], since) if held_up else None
        did_something = any(any(part.counts.values()) for part in report.steps)
        if self._told is not None and (did_something or failed or held_up):
            self._told(report)
        return did_something

    def _seconds_to_work(self) -> float | None:
        """0 where something is due, None where nothing is known of."""
        with suppress(ClosedError):
            try:
                moment = self._next_due()
            except ClosedError:
                self.ask_to_stop()
                raise
            except HippomemError as error:
                self.error, self._failures = str(error), self._failures + 1
                return None
            if moment is not None:
                return max(0.0, (moment - self._clock.now()).total_seconds())
        return None
