"""A round of consolidation: its steps one after the other, within one budget, each told about in the report.

A step is anything with a `name` that can `run` a part of a round and say when it is next due. Steps find their work in
the database and claim it there, so that any number of processes can run rounds at once; a step that is killed leaves
work that another one takes up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from hippomem.errors import HippomemError
from hippomem.types import Budget, Report, StepReport

log = logging.getLogger("hippomem")


@dataclass
class Round:
    """What the steps of one round share: the moment that it is about, the budget and what is spent of it, whether it
    was asked to stop, and whether it is dry. Safe to use from several threads.
    """

    now: datetime
    budget: Budget = field(default_factory=Budget)
    stopping: threading.Event = field(default_factory=threading.Event)
    is_dry: bool = False  # only say what would be done
    told: Callable[[str, int], None] | None = None  # hears which step is at work, and how many units are done
    _step: str = ""
    _began: float = field(default_factory=time.monotonic)
    _units: int = 0
    _tokens: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def spend(self, units: int = 0, tokens: int = 0) -> None:
        """Count something as spent."""
        with self._lock:
            self._units += units
            self._tokens += tokens
        self._tell()

    def begin(self, step: str) -> None:
        """A step begins."""
        self._step = step
        self._tell()

    def _tell(self) -> None:
        if self.told is not None:
            self.told(self._step, self._units)

    def units_left(self) -> int | None:
        """How many more units may be done; None where it does not matter."""
        return None if self.budget.units is None else max(0, self.budget.units - self._units)

    def tokens_left(self) -> int | None:
        """How many more tokens of the chat model may be used; None where it does not matter."""
        return None if self.budget.tokens is None else max(0, self.budget.tokens - self._tokens)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be begun."""
        late = self.budget.seconds is not None and time.monotonic() - self._began >= self.budget.seconds
        return self.stopping.is_set() or late or self.units_left() == 0 or self.tokens_left() == 0


class Step(Protocol):
    """One kind of work."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    def run(self, round: Round) -> StepReport:
        """Do what is due until nothing is left or the round is over. Raises HippomemError where it cannot go on."""

    def next_due(self) -> datetime | None:
        """When there will be something to do, which may be past; None where nothing is known of."""


def run_round(steps: Sequence[Step], round: Round) -> Report:
    """Run all steps. One that fails is told about in the report, and does not keep the others from running."""
    began = time.perf_counter()
    parts = []
    for step in steps:
        # A step that cannot say what it would do is not run dry.
        if round.is_over or (round.is_dry and not getattr(step, "can_foretell", False)):
            parts.append(StepReport(step.name, is_done=False))
            continue
        mark = time.perf_counter()
        round.begin(step.name)
        try:
            part = step.run(round)
        except HippomemError as error:
            log.warning("consolidation: %s: %s", step.name, error)
            part = StepReport(step.name, error=str(error), is_done=False)
        parts.append(replace(part, seconds=time.perf_counter() - mark))
    return Report(tuple(parts), time.perf_counter() - began)
