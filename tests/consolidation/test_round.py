"""A round of steps within a budget, and the worker that runs rounds."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import ref

import pytest

from hippomem import Budget, InvalidInputError, Memory, Report, StepReport, StoreBusyError, SystemClock, Usage
from hippomem.consolidation.round import Round, run_round
from hippomem.consolidation.worker import Worker
from hippomem.testing import HashEncoder, capitals

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Count:
    """A step with so many things to do; each is one unit and two tokens."""

    name: str
    left: int
    fails: bool = False
    error: str | None = None  # after each thing done
    done: int = 0
    asked: list[Round] = field(default_factory=list)

    def run(self, round: Round) -> StepReport:
        self.asked.append(round)
        if self.fails:
            raise StoreBusyError("busy: try again")
        before = self.done
        while self.left and not round.is_over:
            self.left -= 1
            self.done += 1
            round.spend(units=1, tokens=2)
            if self.error:
                break
        counts = {"done": self.done - before}
        return StepReport(self.name, counts, Usage(1, 2, 3), (), self.error, is_done=not self.left)

    def next_due(self) -> datetime | None:
        return NOW if self.left else None


def test_steps_share_one_budget() -> None:
    first, second = Count("first", 3), Count("second", 3)
    report = run_round([first, second], Round(NOW, Budget(units=5)))
    assert [(part.name, part.counts["done"], part.is_done) for part in report.steps] == [
        ("first", 3, True),
        ("second", 2, False),
    ]
    assert not report.is_done
    assert report.usage == Usage(2, 4, 6)
    report = run_round([second, first], Round(NOW))
    assert report.is_done
    assert report["second"].counts["done"] == 1


@pytest.mark.parametrize(("budget", "done"), [(Budget(tokens=3), 2), (Budget(seconds=0), 0), (Budget(units=0), 0)])
def test_nothing_is_begun_past_the_budget(budget: Budget, done: int) -> None:
    step = Count("step", 5)
    report = run_round([step], Round(NOW, budget))
    assert (step.done, report.is_done) == (done, False)


def test_a_step_that_fails_does_not_keep_others_from_running() -> None:
    broken, sound = Count("broken", 1, fails=True), Count("sound", 1)
    report = run_round([broken, sound], Round(NOW))
    assert report["broken"].error == "busy: try again"
    assert sound.done == 1
    assert not report.is_done
    with pytest.raises(KeyError):
        _ = report["nothing"]


def working(step: Count, told: Callable[[Report], None] | None = None) -> Worker:
    return Worker(lambda stopping: run_round([step], Round(NOW, stopping=stopping)), step.next_due, SystemClock(), told)


def test_a_worker_works_until_nothing_is_left() -> None:
    step, reports = Count("step", 4), []
    working(step, reports.append).run(until_idle=True)
    assert (step.done, len(reports)) == (4, 1)


def test_a_worker_on_a_thread_is_woken_and_stopped() -> None:
    step, done = Count("step", 1), threading.Event()
    worker = working(step, lambda _: done.set())
    worker.start()
    assert done.wait(20)
    done.clear()
    step.left = 2
    worker.wake()
    assert done.wait(4)  # it would look by itself after five seconds
    assert worker._thread is not None
    assert worker._thread.is_alive()
    worker.stop(20)
    assert not worker._thread.is_alive()
    assert step.done == 3


def test_a_worker_ends_with_what_kept_failing() -> None:
    step = Count("step", 1, fails=True)
    worker = working(step)
    worker.run(until_idle=True)
    assert worker.error == "busy: try again"
    assert len(step.asked) == 1


def test_a_turn_ends_where_a_round_has_failed() -> None:
    step = Count("step", 5, error="the key is wrong")
    worker = working(step)
    assert worker.work() is None
    assert (step.done, worker.error) == (1, "the key is wrong")


def test_a_worker_outlives_any_number_of_failures() -> None:
    step = Count("step", 1, fails=True)

    def told(report: Report) -> None:
        worker.wake()  # as whatever is added does
        if len(step.asked) > 1100:
            worker.ask_to_stop()

    worker = working(step, told)
    worker.run()
    assert len(step.asked) == 1101


def test_without_a_chat_model_nothing_is_asked(fast: Callable[..., Memory]) -> None:
    memory = fast(background=True)
    memory.add("Ada met Bea in Oslo.")
    report = memory.consolidate(NOW + timedelta(days=400))
    assert [part.name for part in report.steps] == ["tidy", "replay neural", "replay graph"]
    assert report.usage.calls == 0
    assert report.is_done
    memory.close()


def test_a_memory_that_is_dropped_takes_its_worker_along() -> None:
    """It cannot be collected while its thread holds it, and goes on for ever, with its connections and its view."""
    memory = Memory.open(":memory:", encoder=HashEncoder(), pipeline=capitals(), background=True)
    memory.add("Ada met Bea in Oslo.")
    worker, left = memory._worker, ref(memory)
    assert worker is not None
    assert worker._thread is not None
    assert worker._thread.is_alive()
    del memory
    deadline = time.monotonic() + 60
    while left() is not None and time.monotonic() < deadline:  # a round that is under way holds it
        gc.collect()
        time.sleep(0.01)
    assert left() is None
    worker.wake()
    worker._thread.join(60)
    assert not worker._thread.is_alive()
    assert worker.error is None


@pytest.mark.parametrize("budget", [-1, 1.5, True, "many", Budget(seconds=float("nan")), Budget(tokens=-5)])
def test_what_is_no_budget(fast: Callable[..., Memory], budget: Any) -> None:
    with pytest.raises(InvalidInputError, match="budget"):
        fast().consolidate(budget=budget)
    with pytest.raises(InvalidInputError, match="now must be timezone-aware"):
        fast().consolidate(datetime(2026, 1, 1))


def test_a_round_tells_how_far_it_is(fast: Callable[..., Memory]) -> None:
    memory = fast()
    memory.add("Ada lives in Oslo.")
    heard: list[tuple[str, int]] = []
    memory.consolidate(progress=lambda step, units: heard.append((step, units)))
    assert [step for step, _ in heard][:2] == ["tidy", "replay neural"]
    memory.consolidate(budget=1, progress=lambda step, units: heard.append((step, units)))
    assert heard[-1] == ("replay graph", 1)
