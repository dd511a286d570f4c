"""Workers that read beside each other, each one batch at a time; they start when there is something for them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Protocol

from hippomem.analyse import Text
from hippomem.errors import ClosedError
from hippomem.threads import starting
from hippomem.workers.reading import Outcome


class Worker(Protocol):
    """A process, here or elsewhere, that reads."""

    def read(self, texts: Sequence[Text]) -> Outcome:
        """Wait for what it makes of the texts. Raises ModelError where it is lost."""

    def close(self) -> None:
        """End it, also while another thread waits for it, which then gets an error."""


class Pool:
    """`count` workers. A context manager; at its end they are ended, whatever they are at."""

    def __init__(self, count: int, start: Callable[[], Worker]) -> None:
        self.count = count
        self.seconds: defaultdict[str, float] = defaultdict(float)  # that each part of reading took
        self._start = start
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="hippomem-worker")
        self._own = threading.local()  # of each thread: its worker
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        self._is_closed = False

    def submit(self, texts: Sequence[Text]) -> Future[Outcome]:
        """Have texts read by the worker that is free first. What goes wrong is raised by the future's `result()`; here
        HippomemError, where no thread can wait for it."""
        with starting():
            return self._threads.submit(self._read, texts)

    def _read(self, texts: Sequence[Text]) -> Outcome:
        outcome = self._worker().read(texts)
        if outcome.error is not None:
            raise outcome.error
        with self._lock:
            for part, seconds in outcome.seconds.items():
                self.seconds[part] += seconds
        return outcome

    def _worker(self) -> Worker:
        if not hasattr(self._own, "worker"):
            worker = self._start()
            with self._lock:
                self._workers.append(worker)
                is_late = self._is_closed
            if is_late:
                worker.close()
                raise ClosedError("the ingest has ended")
            self._own.worker = worker
        own: Worker = self._own.worker
        return own

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._lock:
            self._is_closed = True
            started = list(self._workers)
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in started:
            worker.close()
        self._threads.shutdown()
