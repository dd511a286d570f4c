"""Ingests under way: each runs on a thread to its end, whether or not its client still listens."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi.encoders import jsonable_encoder

from hippomem import HippomemError, IngestReport
from hippomem_server.problems import Problem, problem_of

AT_ONCE = 4
BEAT_SECONDS = 15.0
Tell = Callable[[int, int | None, int], None]
log = logging.getLogger("hippomem")


class _StoppingError(Exception):
    """The server stops; what is stored is stored."""


class Jobs:
    """The ingests of one server. `stop` has them end after the transaction that is under way."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._limiter: CapacityLimiter | None = None

    def stop(self) -> None:
        """From any thread, or from a signal's handler."""
        self._stopping.set()

    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    async def ended(self) -> None:
        """Wait until all have ended."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, work: Callable[[Tell], IngestReport], done: Callable[[], None]) -> AsyncIterator[bytes]:
        """Begin an ingest on a thread, and tell of it as server-sent events: `progress` after each transaction, with
        the bytes read, of how many, and the passages stored; at the end `report`, or a `problem`. `done` is called
        then.
        """
        events: asyncio.Queue[bytes | None] = asyncio.Queue()
        task = asyncio.create_task(self._run(work, done, events))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _told(events)

    async def _run(
        self, work: Callable[[Tell], IngestReport], done: Callable[[], None], events: asyncio.Queue[bytes | None]
    ) -> None:
        loop = asyncio.get_running_loop()

        def tell(read: int, total: int | None, passages: int) -> None:
            state = {"read": read, "total": total, "passages": passages}
            loop.call_soon_threadsafe(events.put_nowait, _event("progress", state))
            if self._stopping.is_set():
                raise _StoppingError

        self._limiter = self._limiter or CapacityLimiter(AT_ONCE)
        try:
            report = await anyio.to_thread.run_sync(work, tell, limiter=self._limiter)
            last = _event("report", report)
        except HippomemError as error:
            last = _event("problem", problem_of(error))
        except _StoppingError:
            told = "the server is stopping: send the same again, and it goes on from there"
            last = _event("problem", Problem(title="Service Unavailable", status=503, detail=told))
        except Exception:
            log.exception("an ingest failed")
            told = "an error of the server; its log has more"
            last = _event("problem", Problem(title="Internal Server Error", status=500, detail=told))
        finally:
            with suppress(OSError):  # a temporary file that stays is no reason to tell nothing
                done()
        events.put_nowait(last)
        events.put_nowait(None)


async def _told(events: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    while True:
        try:
            event = await asyncio.wait_for(events.get(), BEAT_SECONDS)
        except TimeoutError:
            yield b": still at work\n\n"  # what lies between gives up on a silent connection
            continue
        if event is None:
            return
        yield event


def _event(kind: str, data: Any) -> bytes:
    # In ASCII, and without line feeds, which would end it.
    return f"event: {kind}\ndata: {json.dumps(jsonable_encoder(data))}\n\n".encode()
