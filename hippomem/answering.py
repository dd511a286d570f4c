"""Answers from recalled passages, with citations; at once or in pieces, from one recall or step by step.

Step by step is IRCoT (Trivedi et al., arXiv 2212.10509): a sentence of reasoning, a retrieval with what it leaves open,
the next sentence, until the answer is told or the steps are used up; then the passages of all steps are read together.
"""

from __future__ import annotations

import contextvars
import queue
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from hippomem.errors import ModelError
from hippomem.neocortex.chat import Chat, Reply, reply_of
from hippomem.neocortex.prompts import ANSWER, ANSWER_PHRASE, REASON, Prompt
from hippomem.neocortex.reader import (
    NOT_IN_MEMORY,
    READ_CHARS,
    ThoughtFilter,
    passages_as_data,
    read_answer,
    read_thought,
)
from hippomem.types import Answer, Path, Recall, RecalledPassage, SubQuestion, Usage

MOST_SHOWN = 20  # passages that are read together, where the first recall has no more
_END = object()


@dataclass(frozen=True, slots=True)
class Question:
    """What is read, and how: passages of one recall, with the thoughts that led to them."""

    text: str
    recall: Recall
    prompt: Prompt
    thoughts: tuple[str, ...] = ()

    @property
    def data(self) -> dict[str, Any]:
        """As the prompt takes it."""
        return passages_as_data(self.text, self.recall.passages, self.thoughts)

    def answer(self, reply: Reply | None) -> Answer:
        """What was replied; None where nobody was asked, because nothing was recalled."""
        if reply is None:
            return Answer(NOT_IN_MEMORY, (), self.recall, is_in_memory=False, usage=self.recall.usage)
        read = read_answer(reply.text, self.recall.passages)
        flags = (*read.flags, "it is cut off at the model's limit") if reply.is_cut else read.flags
        flags = (*flags, "a content filter of its server ended it") if reply.is_filtered else flags
        flags = (*flags, "it may have broken off: its server did not say that it ended") if reply.is_open else flags
        cut = [f"[{n}]" for n, passage in enumerate(self.recall.passages, 1) if len(passage.text) > READ_CHARS]
        if cut and not read.is_in_memory:
            flags = (*flags, f"of {', '.join(cut)} only the first {READ_CHARS:,} characters were read")
        usage = self.recall.usage + reply.usage
        return Answer(read.text, read.citations, self.recall, read.is_in_memory, flags, usage)


def prompt_for(style: str) -> Prompt:
    """The prompt for "sentence" or "phrase"."""
    return ANSWER_PHRASE if style == "phrase" else ANSWER


def ask(chat: Chat, question: Question) -> Answer:
    """One call; none where nothing was recalled. Raises ModelError where the model does not answer."""
    if not question.recall.passages:
        return question.answer(None)
    return question.answer(chat.ask(question.prompt, question.data))


def reasoned(chat: Chat, recall: Callable[[str], Recall], query: str, max_steps: int) -> tuple[Recall, tuple[str, ...]]:
    """The passages that `max_steps` of reasoning and retrieval lead to at most, and the thoughts.

    Where the model fails, it goes on with what there is, and `warnings` say so.
    """
    began = time.perf_counter()
    first = recall(query)
    run = _Reasoning(chat, recall, query, first.usage, list(first.warnings), max(MOST_SHOWN, len(first.passages)))
    run.take(first)
    for _ in range(max_steps):
        if not run.passages or not run.step():
            break
    timings = {**run.timings, "total": 1e3 * (time.perf_counter() - began)}
    passages, paths = tuple(run.passages.values()), tuple(run.paths)
    found = Recall(query, passages, paths, timings, tuple(run.steps), run.usage, tuple(run.warnings))
    return found, tuple(step.planned for step in run.steps)


@dataclass
class _Reasoning:
    chat: Chat
    recall: Callable[[str], Recall]
    query: str
    usage: Usage
    warnings: list[str]
    most: int  # passages that are shown
    passages: dict[str, RecalledPassage] = field(default_factory=dict)
    paths: list[Path] = field(default_factory=list)
    steps: list[SubQuestion] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)

    def take(self, found: Recall) -> None:
        """Show what was recalled, as far as there is room."""
        for passage in found.passages:
            if passage.id not in self.passages and len(self.passages) < self.most:
                self.passages[passage.id] = passage
                self.paths += [path for path in found.paths if path.passage_id == passage.id]
        for stage, taken in found.timings.items():
            if stage != "total":
                self.timings[stage] = self.timings.get(stage, 0.0) + taken

    def step(self) -> bool:
        """One sentence and one retrieval; False where it was the last."""
        thoughts = [step.planned for step in self.steps]
        data = passages_as_data(self.query, tuple(self.passages.values()), thoughts) | {"thoughts": thoughts}
        began = time.perf_counter()
        try:
            reply = self.chat.ask(REASON, data)
        except ModelError as error:
            self.warnings.append(f"went on without reasoning: {error}")
            return False
        finally:
            self.timings["reason"] = self.timings.get("reason", 0.0) + 1e3 * (time.perf_counter() - began)
        self.usage += reply.usage
        thought = read_thought(reply.text)
        if thought.problem:
            self.warnings.append(f"went on without reasoning: {thought.problem}")
            return False
        step = SubQuestion(thought.text, thought.look_up, usage=reply.usage)
        is_new = all(thought.look_up.casefold() != earlier.query.casefold() for earlier in self.steps)
        if not thought.look_up or not is_new:
            self.steps.append(step)
            return False
        found = self.recall(thought.look_up)
        self.usage += found.usage
        self.warnings += [warning for warning in found.warnings if warning not in self.warnings]
        self.steps.append(replace(step, passages=tuple(passage.id for passage in found.passages)))
        self.take(found)
        return len(self.passages) < self.most


class AnswerStream:
    """An answer as it is written: iterate over its pieces, with `for` or `async for`; `answer` is the whole of it.

    `recall` is there from the beginning. `answer` waits for what is still to come. Raises ModelError where the model
    fails on the way.
    """

    def __init__(self, chat: Chat, question: Question) -> None:
        """Not for users: see `Memory.ask_stream`."""
        self.recall = question.recall
        self._reading = _Reading(chat, question)
        self._pieces = self._reading.pieces()
        self._turn = threading.Lock()  # a reader that was cancelled may still wait for its piece, on another thread

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        with self._turn:
            return next(self._pieces)

    async def __aiter__(self) -> AsyncIterator[str]:
        """The same in an event loop, which goes on meanwhile."""
        import asyncio

        while (piece := await asyncio.to_thread(next, self, None)) is not None:
            yield piece

    @property
    def answer(self) -> Answer:
        """The whole answer."""
        for _ in self:
            pass
        if self._reading.answer is None:
            raise ModelError("the answer broke off: ask again")
        return self._reading.answer


@dataclass
class _Reading:
    """An answer in the making. It does not know the stream that reads it: once nobody has that any more, it ends."""

    chat: Chat
    question: Question
    answer: Answer | None = None

    def pieces(self) -> Iterator[str]:
        """The pieces. What fails is asked again only before the first piece has come."""
        if not self.question.recall.passages:
            self.answer = self.question.answer(None)
            yield NOT_IN_MEMORY
            return
        began = time.monotonic()
        parts, piece = self.chat.tried(self._begin, self.question.prompt)
        shown_from = ThoughtFilter()
        text, message, is_wanted = "", None, True
        try:
            while piece is not _END:
                message = piece if message is None else message + piece
                written = reply_of(piece).text
                text += written
                if shown := shown_from.feed(written):
                    yield shown
                piece = self._next(parts)
            self.answer = self.question.answer(replace(reply_of(message or ""), text=text))
        except GeneratorExit:
            is_wanted = False
            raise
        except Exception as error:  # whatever a provider's package can raise
            raise self.chat.failure(error) from None
        finally:
            if is_wanted:
                self._enter(message, began)
            else:  # not here: this may be the garbage collector's work, in a thread that holds the store's lock
                rest = threading.Thread(target=self._settle, args=(parts, message, began), daemon=True)
                with suppress(RuntimeError):
                    if not sys.is_finalizing():  # then no thread runs any more, and its start would be waited for
                        rest.start()

    def _enter(self, message: Any, began: float) -> None:
        usage = reply_of(message).usage if message is not None else Usage()
        self.chat.enter(self.question.prompt, usage, time.monotonic() - began, message is not None)

    def _settle(self, parts: queue.Queue[Any], message: Any, began: float) -> None:
        """Where nobody wants the rest: it was asked for, and is paid for."""
        with suppress(Exception):
            while (piece := self._next(parts)) is not _END:
                message = piece if message is None else message + piece
        self._enter(message, began)

    def _begin(self) -> tuple[queue.Queue[Any], Any]:
        """The pieces to come, and the first of them."""
        parts: queue.Queue[Any] = queue.Queue()
        context = contextvars.copy_context()  # as for a call that is not streamed
        threading.Thread(target=context.run, args=(self._pump, parts), name="hippomem-chat", daemon=True).start()
        return parts, self._next(parts)

    def _pump(self, parts: queue.Queue[Any]) -> None:
        try:
            for piece in self.chat.stream(self.question.prompt, self.question.data):
                parts.put(piece)
        except BaseException as error:
            parts.put(error)
        else:
            parts.put(_END)

    def _next(self, parts: queue.Queue[Any]) -> Any:
        try:
            piece = parts.get(timeout=self.chat.timeout)
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(piece, BaseException):
            raise piece
        return piece
