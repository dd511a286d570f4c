"""AsyncMemory: Memory for programs with an event loop. A parity test holds the two equal."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar

from hippomem.answering import AnswerStream
from hippomem.clock import Clock
from hippomem.errors import ClosedError, HippomemError
from hippomem.hippocampus.recipe import Recipe
from hippomem.ingest.inputs import Input
from hippomem.ingest.progress import ProgressCallback, StepCallback
from hippomem.memory import Memory
from hippomem.settings import Settings
from hippomem.threads import starting
from hippomem.types import (
    Answer,
    Budget,
    Change,
    Diagnosis,
    Estimate,
    Event,
    Forgotten,
    IngestReport,
    Job,
    LearningEvent,
    Passage,
    Recall,
    Report,
    Triple,
)

if TYPE_CHECKING:
    import networkx

WAITING = 32  # calls that wait for a chat model at the same time
P = ParamSpec("P")
T = TypeVar("T")


class AsyncMemory:
    """Each method does what the method of Memory with its name does, and raises what that one raises.

    Calls run one after another on a thread that belongs to this memory, so the event loop goes on meanwhile; recalls
    that wait for a chat model run beside it. A call that is cancelled before its turn never runs; one that runs already
    is carried through (Python cannot stop a thread), only nobody waits for it any more, and the memory stays usable.
    """

    def __init__(self, memory: Memory, executor: ThreadPoolExecutor) -> None:
        """Not for users: see `open` and `load`."""
        self.settings = memory.settings
        self._memory = memory
        self._executor = executor
        self._thinking = ThreadPoolExecutor(WAITING, "hippomem-thinking")  # has no thread until it is needed
        self._closing: Future[None] | None = None

    @classmethod
    async def open(
        cls,
        db: str | os.PathLike[str] | None = None,
        *,
        namespace: str | None = None,
        settings: Settings | None = None,
        encoder: Any = None,
        pipeline: Any = None,
        llm: Any = None,
        clock: Clock | None = None,
        background: bool = False,
    ) -> Self:
        """Memory.open on a thread. What is opened after a cancellation is closed again."""
        options = {"encoder": encoder, "pipeline": pipeline, "llm": llm, "clock": clock, "background": background}
        return await cls._made(Memory.open, db, namespace=namespace, settings=settings, **options)

    @classmethod
    async def load(
        cls,
        dump: str | os.PathLike[str],
        db: str | os.PathLike[str],
        *,
        namespace: str | None = None,
        settings: Settings | None = None,
        progress: bool | StepCallback = False,
    ) -> Self:
        """Memory.load on a thread. What is opened after a cancellation is closed again."""
        return await cls._made(Memory.load, dump, db, namespace=namespace, settings=settings, progress=progress)

    @classmethod
    async def reencode(
        cls,
        db: str | os.PathLike[str],
        *,
        settings: Settings | None = None,
        encoder: Any = None,
        progress: bool = False,
    ) -> int:
        """Memory.reencode on a thread."""
        return await asyncio.to_thread(
            _carried, Memory.reencode, db, settings=settings, encoder=encoder, progress=progress
        )

    async def add(
        self,
        text: str,
        *,
        title: str = "",
        source: str = "",
        session: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        occurred_at: datetime | None = None,
        triples: Iterable[Triple | tuple[str, str, str]] | None = None,
    ) -> Event:
        """Memory.add on the memory's thread; it also consumes `triples` there."""
        return await self._run(
            self._memory.add,
            text,
            title=title,
            source=source,
            session=session,
            metadata=metadata,
            occurred_at=occurred_at,
            triples=triples,
        )

    async def ingest(
        self,
        sources: Input | Iterable[Input],
        *,
        progress: bool | ProgressCallback = False,
        workers: int | None = None,
    ) -> IngestReport:
        """Memory.ingest on the memory's thread; it also consumes `sources` and tells its `progress` there."""
        return await self._run(self._memory.ingest, sources, progress=progress, workers=workers)

    async def recall(
        self,
        query: str,
        k: int = 5,
        *,
        as_of: datetime | None = None,
        session: str | None = None,
        source: str | None = None,
        method: Literal["graph", "dense"] = "graph",
        decompose: bool = False,
        iterative: bool = False,
        max_steps: int = 4,
        about: str | Passage | Iterable[str | Passage] = (),
        context: int = 0,
        recipe: Recipe | None = None,
        learned: bool = True,
        recognise: bool = False,
        deep: bool = False,
    ) -> Recall:
        """Memory.recall on the memory's thread; where it asks the chat model, on one of its own, after all earlier
        calls: later ones need not wait for the chat model.
        """
        recall = partial(
            self._memory.recall,
            query,
            k,
            as_of=as_of,
            session=session,
            source=source,
            method=method,
            decompose=decompose,
            iterative=iterative,
            max_steps=max_steps,
            about=about,
            context=context,
            recipe=recipe,
            learned=learned,
            recognise=recognise,
            deep=deep,
        )
        return await (self._run_beside(recall) if decompose or iterative or recognise else self._run(recall))

    async def ask(
        self,
        question: str,
        k: int = 5,
        *,
        as_of: datetime | None = None,
        session: str | None = None,
        source: str | None = None,
        deep: bool = False,
        decompose: bool = False,
        iterative: bool = False,
        max_steps: int = 4,
        style: Literal["sentence", "phrase"] = "sentence",
    ) -> Answer:
        """Memory.ask on a thread of its own, after all earlier calls."""
        call = partial(
            self._memory.ask,
            question,
            k,
            as_of=as_of,
            session=session,
            source=source,
            deep=deep,
            decompose=decompose,
            iterative=iterative,
            max_steps=max_steps,
            style=style,
        )
        return await self._run_beside(call)

    async def ask_stream(
        self,
        question: str,
        k: int = 5,
        *,
        as_of: datetime | None = None,
        session: str | None = None,
        source: str | None = None,
        deep: bool = False,
        decompose: bool = False,
        iterative: bool = False,
        max_steps: int = 4,
        style: Literal["sentence", "phrase"] = "sentence",
    ) -> AnswerStream:
        """Memory.ask_stream on a thread of its own: `async for piece in await memory.ask_stream(…)`."""
        call = partial(
            self._memory.ask_stream,
            question,
            k,
            as_of=as_of,
            session=session,
            source=source,
            deep=deep,
            decompose=decompose,
            iterative=iterative,
            max_steps=max_steps,
            style=style,
        )
        return await self._run_beside(call)

    async def estimate(self, sources: Input | Iterable[Input], *, progress: bool = False) -> Estimate:
        """Memory.estimate on the memory's thread; it also consumes `sources` there."""
        return await self._run(self._memory.estimate, sources, progress=progress)

    async def jobs(
        self, state: Literal["waiting", "running", "done", "dead"] | None = None, limit: int = 100
    ) -> tuple[Job, ...]:
        """Memory.jobs on the memory's thread."""
        return await self._run(self._memory.jobs, state, limit)

    async def retry_jobs(self, passage_ids: Iterable[str] | None = None, *, renew: bool = False) -> int:
        """Memory.retry_jobs on the memory's thread."""
        return await self._run(self._memory.retry_jobs, passage_ids, renew=renew)

    async def consolidate(
        self,
        now: datetime | None = None,
        budget: Budget | int | None = None,
        *,
        dry_run: bool = False,
        progress: bool | StepCallback = False,
    ) -> Report:
        """Memory.consolidate on a thread of its own, after all earlier calls; it calls `progress` there."""
        return await self._run_beside(
            partial(self._memory.consolidate, now, budget, dry_run=dry_run, progress=progress)
        )

    async def undo(self, sequence: int) -> Passage:
        """Memory.undo on the memory's thread."""
        return await self._run(self._memory.undo, sequence)

    async def feedback(
        self, found: Recall | Answer | str, useful: Iterable[str | Passage] | None = None, *, confidence: float = 1.0
    ) -> LearningEvent:
        """Memory.feedback on the memory's thread."""
        return await self._run(self._memory.feedback, found, useful, confidence=confidence)

    async def get(self, id: str) -> Passage:
        """Memory.get on the memory's thread."""
        return await self._run(self._memory.get, id)

    async def passages(
        self, *, source: str | None = None, session: str | None = None, limit: int | None = None, offset: int = 0
    ) -> tuple[Passage, ...]:
        """Memory.passages on the memory's thread."""
        return await self._run(self._memory.passages, source=source, session=session, limit=limit, offset=offset)

    async def sources(self, below: str = "") -> tuple[str, ...]:
        """Memory.sources on the memory's thread."""
        return await self._run(self._memory.sources, below)

    async def annotate(self, target: str | Iterable[str], metadata: Mapping[str, Any]) -> tuple[Passage, ...]:
        """Memory.annotate on the memory's thread."""
        return await self._run(self._memory.annotate, target, metadata)

    async def update(self, id: str, text: str) -> Event:
        """Memory.update on the memory's thread."""
        return await self._run(self._memory.update, id, text)

    async def history(self, id: str) -> tuple[Change, ...]:
        """Memory.history on the memory's thread."""
        return await self._run(self._memory.history, id)

    async def forget(self, target: str | Passage | Iterable[str | Passage]) -> Forgotten:
        """Memory.forget on the memory's thread."""
        return await self._run(self._memory.forget, target)

    async def stats(self) -> dict[str, Any]:
        """Memory.stats on the memory's thread."""
        return await self._run(self._memory.stats)

    async def graph(self) -> networkx.MultiDiGraph:
        """Memory.graph on the memory's thread."""
        return await self._run(self._memory.graph)

    async def export(self, path: str | os.PathLike[str], *, progress: bool | StepCallback = False) -> int:
        """Memory.export on the memory's thread."""
        return await self._run(self._memory.export, path, progress=progress)

    async def doctor(self, *, progress: bool | StepCallback = False) -> Diagnosis:
        """Memory.doctor on the memory's thread."""
        return await self._run(self._memory.doctor, progress=progress)

    async def close(self) -> None:
        """Close when all earlier calls are through. A second call waits for the first; a cancelled one still closes."""
        if self._closing is None:
            self._closing = self._executor.submit(self._close)
            self._executor.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(self._closing))

    def _close(self) -> None:
        self._thinking.shutdown()
        self._memory.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self._submitted(partial(call, *args, **kwargs)))

    async def _run_beside(self, call: Callable[[], T]) -> T:
        result: Future[T] = Future()

        def run() -> None:
            # What was cancelled before its turn, or could not be begun, asks nobody.
            if not result.done() and result.set_running_or_notify_cancel():
                try:
                    found = _carried(call)
                except BaseException as error:
                    result.set_exception(error)
                else:
                    result.set_result(found)

        def begin() -> None:
            try:
                with starting():
                    self._thinking.submit(context.run, run)
            except HippomemError as error:  # who waits is told; it is begun by the next one that gets a thread
                result.set_exception(error)

        context = contextvars.copy_context()  # the caller's callbacks of the chat model go along
        self._submitted(begin)
        return await asyncio.wrap_future(result)

    def _submitted(self, call: Callable[[], T]) -> Future[T]:
        try:
            with starting():
                return self._executor.submit(_carried, call)
        except RuntimeError:  # it is shut down, which another thread may do at any moment
            raise ClosedError("this memory is closed: open it again with AsyncMemory.open(...)") from None

    @classmethod
    async def _made(cls, make: Callable[P, Memory], *args: P.args, **kwargs: P.kwargs) -> Self:
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hippomem")
        with starting():
            making = executor.submit(partial(_carried, make, *args, **kwargs))
        try:
            return cls(await asyncio.wrap_future(making), executor)
        except BaseException:
            making.add_done_callback(_close_unwanted)
            executor.shutdown(wait=False)
            raise


def _carried(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `call` returns or raises, but for the StopIteration of a user's callback or model: asyncio's futures do not
    take it, and whoever awaits them would wait for ever."""
    try:
        return call(*args, **kwargs)
    except StopIteration as error:
        raise RuntimeError("StopIteration was raised where nothing is iterated over") from error


def _close_unwanted(making: Future[Memory]) -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().close()
