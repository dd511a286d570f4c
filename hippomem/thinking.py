"""What a memory does with a chat model and by itself: the part of `Memory` that reads, extracts and consolidates."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal
from weakref import ref

from hippomem.answering import AnswerStream, Question, prompt_for, reasoned
from hippomem.answering import ask as answer
from hippomem.checks import check_style, checked_budget, checked_count, checked_labels, checked_moment, checked_recall
from hippomem.clock import Clock
from hippomem.consolidation.round import Round, Step, run_round
from hippomem.consolidation.worker import Worker
from hippomem.errors import ClosedError, InvalidInputError, StoreError
from hippomem.estimating import estimate
from hippomem.extracting import ExtractionStep
from hippomem.extraction_calls import Claims, Limits
from hippomem.ingest.inputs import Input
from hippomem.ingest.progress import StepBar, StepCallback
from hippomem.learning import EXTRACT as EXTRACT_JOB
from hippomem.neocortex.chat import Chat, none_set, resolve_chat
from hippomem.neocortex.prices import charged, price_of
from hippomem.neocortex.prompts import EXTRACT
from hippomem.settings import Settings
from hippomem.storage import jobs, outages, reviews
from hippomem.storage.jobs import Kind
from hippomem.storage.ledger import Call, Spent
from hippomem.storage.ledger import enter as enter_call
from hippomem.storage.store import Store
from hippomem.storage.updates import named_now
from hippomem.types import Answer, Budget, Estimate, Job, Recall, Report, Usage
from hippomem.writing import Writer

MODEL_CHARS = 255
GRACE_SECONDS = 10.0  # for what runs when a memory is closed
log = logging.getLogger("hippomem")


def chat_of(settings: Settings) -> Chat | None:
    """The chat model that is set, None without one. Nothing is loaded. Raises InvalidInputError where it is none."""
    return resolve_chat(
        settings.llm,
        settings.llm_base_url,
        settings.llm_api_key,
        settings.llm_timeout,
        settings.llm_retries,
        settings.llm_structured,
        settings.llm_options,
    )


def extraction_kind(chat: Chat) -> Kind:
    """The job that each passage is for, where this model is set."""
    return Kind(EXTRACT_JOB, EXTRACT.identity, chat.identity[:MODEL_CHARS])


def steps_with_chat(chat: Chat, writer: Writer, settings: Settings) -> list[Step]:
    """What a chat model does in a round of consolidation. From here on, all that it is asked is in the ledger."""
    price = price_of(chat.identity, settings.llm_prices, chat.is_own_server)

    def enter(purpose: str, usage: Usage, seconds: float, is_answered: bool) -> None:
        outcome = "answered" if is_answered else "failed"
        spent = Spent(outcome, usage.input_tokens, usage.output_tokens, seconds, charged(usage, price))
        try:
            number = writer.look_up(create=True)
            with writer.store_.write() as connection:
                enter_call(connection, number, Call(purpose, chat.identity[:MODEL_CHARS]), writer.clock.now(), spent)
        except StoreError as error:  # what was answered is worth more than a line about it
            log.warning("a call of the chat model could not be entered in the ledger: %s", error)

    chat.ledger = enter
    limits = Limits(
        settings.llm_requests_per_minute,
        settings.llm_tokens_per_minute,
        settings.llm_group_chars,
        settings.llm_share_answers,
    )
    claims = Claims(writer, extraction_kind(chat), limits, chat.timeout)
    return [ExtractionStep(claims, chat, price, settings.llm_concurrency)]


class Thinking:
    """Part of `Memory`, which sets what stands here."""

    settings: Settings
    _store: Store
    _writer: Writer
    _clock: Clock
    _steps: list[Step]
    _worker: Worker | None
    _chat: Chat | None
    recall: Callable[..., Recall]
    _check_open: Callable[[], None]

    def ask(
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
        """An answer from the `k` passages that a question leads to, with citations: [1] stands for the first of
        `recall.passages`, as `citations` say. It is made of the passages alone, of each the first 4,000 characters;
        where they do not tell, that is the answer (`is_in_memory`). One that cites nothing, or what was not shown, has
        `flags`.

        `style="phrase"` is the shortest answer. `iterative` reasons in between (IRCoT, arXiv 2212.10509): up to
        `max_steps` times a sentence and a recall with what it leaves open, k passages each; `as_of`, `session`,
        `source`, `deep` and `decompose` as for `recall`. Raises ModelError where no chat model is set, or it does not
        answer, and what `recall` raises.
        """
        options = {"as_of": as_of, "session": session, "source": source, "deep": deep, "decompose": decompose}
        return answer(*self._question_to_read(question, k, options, iterative, max_steps, style))

    def ask_stream(
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
        """The same, piece by piece as the model writes it: iterate over what comes back, then take its `answer`."""
        options = {"as_of": as_of, "session": session, "source": source, "deep": deep, "decompose": decompose}
        return AnswerStream(*self._question_to_read(question, k, options, iterative, max_steps, style))

    def _question_to_read(
        self, question: str, k: int, options: Mapping[str, Any], iterative: bool, max_steps: int, style: str
    ) -> tuple[Chat, Question]:
        check_style(style)
        k, max_steps, _ = checked_recall(k, "graph", max_steps, 0)
        if self._chat is None:
            raise none_set("ask needs")
        self._chat.load()

        def find(text: str) -> Recall:
            text = text[: self.settings.max_query_chars] if text is not question else text
            return self.recall(text, k, **options)

        found, thoughts = reasoned(self._chat, find, question, max_steps) if iterative else (find(question), ())
        return self._chat, Question(question, found, prompt_for(style), thoughts)

    def consolidate(
        self,
        now: datetime | None = None,
        budget: Budget | int | None = None,
        *,
        dry_run: bool = False,
        progress: bool | StepCallback = False,
    ) -> Report:
        """A round of what is due: one part of the report for each kind of work.

        Memories that are due are tested by their own cues, and archived where they fail; duplicates are
        merged, contradicted facts end, paths that were of use grow stronger. Nothing is deleted, and each deed can be
        undone (`undo`). With a chat model (`llm`), the triples of passages that it has not read yet; they take the
        place of those that the local extractor found.

        `budget` is a `Budget`, or how many units (passages to read, replays) at most. `now` is the moment that the
        round is about, for what falls due by a schedule; calls of a model go by the clock. With `dry_run` nothing is
        done, and the report says what would be. May be called by any number of threads and processes at once, and
        killed at any instant: what was done is done, and paid for once. A step that fails is told about in the report,
        which says when it can go on (`again_at`) where a model's server fails: a round waits for that some seconds.
        `progress` shows on a terminal which step is at work, or is a function that is told the step and the units done.
        Raises InvalidInputError for a budget or a moment that cannot be.
        """
        moment = checked_moment(now, "now") or self._clock.now()
        return self._round(moment, checked_budget(budget), threading.Event(), dry_run, progress)

    def estimate(self, sources: Input | Iterable[Input], *, progress: bool = False) -> Estimate:
        """What `ingest` of the same would bring, and what the chat model would then be asked and cost, before anything
        is stored or spent. It reads and cuts the files, and is as fast as that. Raises NotFoundError as `ingest` does.
        """
        self._check_open()
        return estimate(self._writer, self.settings, self._chat, sources, progress=progress)

    def jobs(
        self, state: Literal["waiting", "running", "done", "dead"] | None = None, limit: int = 100
    ) -> tuple[Job, ...]:
        """What the chat model is to do, is doing or has done, the latest first; all of it is counted in `stats`."""
        if state is not None and state not in jobs.STATES:
            raise InvalidInputError(f"state must be one of {', '.join(jobs.STATES)}, not {state!r}")
        limit = checked_count(limit, "limit")
        with self._store.read() as connection:
            return tuple(jobs.listed(connection, self._writer.number, state, limit))

    def retry_jobs(self, passage_ids: Iterable[str] | None = None, *, renew: bool = False) -> int:
        """Let dead jobs wait again, with all their attempts before them: those of these passages, or all, and with all
        the replays that came to nothing five times. `renew` also reads these again where another model or an earlier
        prompt has read them, with the model that is set, and only with that. Returns how many wait that did not before;
        `consolidate` or a worker does them. Raises ModelError to `renew` without a model.
        """
        ids = None if passage_ids is None else checked_labels(passage_ids, "passage ids")
        if renew and self._writer.kind is None:
            raise none_set("renew needs")
        number = self._writer.look_up()
        with self._store.write() as connection:
            now = self._clock.now()
            ids = None if ids is None else [named_now(connection, number, id_) for id_ in ids]
            outages.lift(connection, now)
            count = jobs.retry(connection, number, now, ids)
            count += reviews.revive(connection, number) if ids is None else 0
            if renew and self._writer.kind is not None:
                count += jobs.renew(connection, number, self._writer.kind, now, ids)
        if self._worker is not None:
            self._worker.wake()
        return count

    def _round(
        self,
        now: datetime,
        budget: Budget,
        stopping: threading.Event,
        is_dry: bool = False,
        progress: bool | StepCallback = False,
    ) -> Report:
        self._check_open()
        with StepBar("consolidating", progress) as bar:
            return run_round(self._steps, Round(now, budget, stopping, is_dry, bar.tell))

    def _new_worker(self, told: Callable[[Report], None] | None = None, progress: bool = False) -> Worker:
        """Rounds one after the other, as `hippomem worker` and `background` run them.

        Between them it does not hold the memory: one that is dropped ends its thread, and not the other way round.
        """
        kept, clock = ref(self), self._clock

        def ours() -> Thinking:
            if (memory := kept()) is None:
                raise ClosedError("this memory was dropped")
            return memory

        return Worker(
            lambda stopping: ours()._round(clock.now(), Budget(), stopping, progress=progress),
            lambda: ours()._next_due(),
            clock,
            told,
        )

    def _next_due(self) -> datetime | None:
        self._check_open()
        moments = [moment for step in self._steps if (moment := step.next_due()) is not None]
        return min(moments, default=None)

    def _outages(self) -> list[str]:
        """Which chat models' servers fail, for people to read."""
        with self._store.read() as connection:
            now = self._clock.now()
            return [outage.told(now) for outage in outages.current(connection, now).values()]

    def _stop_working(self) -> None:
        if self._worker is not None:
            self._worker.stop(GRACE_SECONDS)
