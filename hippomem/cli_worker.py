"""What `hippomem worker` runs: rounds for one namespace, or for several in turn, until stopped."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING

import typer

from hippomem import cli_output as out
from hippomem.errors import StoreError
from hippomem.types import Report

if TYPE_CHECKING:
    from hippomem.consolidation.worker import Worker
    from hippomem.memory import Memory

log = logging.getLogger("hippomem")
LOOK_SECONDS = 60.0  # what the log does not tell of, as jobs that are retried, is found after so long


@dataclass
class OneNamespace:
    """A worker for one memory."""

    memory: Memory

    def run(self, rounds: list[Report], until_idle: bool, is_silent: bool) -> str | None:
        """Work until stopped, or idle. Returns what the last round failed with."""
        running = self.memory._new_worker(_teller(rounds, is_silent), progress=not is_silent)
        with _stopped_by_signals(running.ask_to_stop):
            running.run(until_idle)
        return running.error


@dataclass(frozen=True, slots=True)
class Look:
    """What a look into a namespace came to: after which change it was, how many seconds there was nothing to do (None
    where nothing was known of), and when to look again, on the monotonic clock, though nothing changes."""

    change: int
    rest: float | None
    again: float


@dataclass
class InTurn:
    """A worker for several memories of one database, one after the other: what is due in one, then the next. Only one
    is open at a time, and none where nothing can have come up since it was last. `names` are theirs; all that there
    are, where it is empty."""

    memory: Memory
    names: Sequence[str]
    opened: Callable[[str], AbstractContextManager[Memory]]
    _looks: dict[str, Look] = field(default_factory=dict)

    def run(self, rounds: list[Report], until_idle: bool, is_silent: bool) -> str | None:
        """Work until stopped, or idle everywhere. Returns what a round of the last turn failed with."""
        from hippomem.consolidation.worker import IDLE_SECONDS, POLL_SECONDS

        stopping = threading.Event()
        current: list[Worker] = []
        waiting = None  # for a server, which is the same for all

        def stop() -> None:
            stopping.set()
            for worker in current:
                worker.ask_to_stop()

        error = None
        with _stopped_by_signals(stop):
            while not stopping.is_set():
                done, rests, error = len(rounds), [], None
                try:
                    for name, change in self._last_changes().items():
                        if stopping.is_set():
                            break
                        if (look := self._valid_look(name, change)) is not None:
                            rests.append(look.rest)
                            continue
                        with self.opened(name) as memory:
                            worker = memory._new_worker(_teller(rounds, is_silent, name), progress=not is_silent)
                            current[:] = [worker]
                            worker.waiting = waiting
                            rests.append(worker.work())
                            waiting = worker.waiting
                            error = error or worker.error
                        if not worker.error:
                            self._remember(name, change, rests[-1])
                except StoreError as failure:  # as of a database whose server is started anew: there is a next turn
                    log.warning("consolidation: %s", failure)
                    error = error or str(failure)
                if until_idle and waiting is not None and waiting.is_vain(self.memory._clock):
                    error = error or waiting.error
                is_idle = len(rounds) == done and not any(rest is not None and rest <= IDLE_SECONDS for rest in rests)
                if until_idle and (is_idle or error):
                    break
                if len(rounds) == done or error:  # else look again at once: meanwhile more may have come to the first
                    stopping.wait(POLL_SECONDS)
        return error

    def _last_changes(self) -> dict[str, int]:
        """The namespaces of a turn, each with the last change that its log tells of."""
        from hippomem.storage import reads

        with self.memory._store.read() as connection:
            last = reads.last_sequences(connection)
        return {name: last.get(name, 0) for name in self.names} if self.names else last

    def _valid_look(self, name: str, change: int) -> Look | None:
        look = self._looks.get(name)
        is_valid = look and look.change == change and self.memory._clock.monotonic() < look.again
        return look if is_valid else None

    def _remember(self, name: str, change: int, rest: float | None) -> None:
        wait = LOOK_SECONDS if rest is None else min(rest, LOOK_SECONDS)
        self._looks[name] = Look(change, rest, self.memory._clock.monotonic() + wait)


def _teller(rounds: list[Report], is_silent: bool, name: str = "") -> Callable[[Report], None]:
    def told(report: Report) -> None:
        rounds.append(report)
        if not is_silent:
            if name:
                typer.echo(f"namespace {out.visible(name)}")
            out.print_round(report)

    return told


@contextmanager
def _stopped_by_signals(ask_to_stop: Callable[[], None]) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        ask_to_stop()

    before = [(name, signal.signal(name, stop)) for name in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for name, handler in before:
            signal.signal(name, handler)
