"""Extraction by a chat model, as a step of consolidation: jobs are claimed, asked about, and their answers applied.

For each call there are three transactions. One claims its jobs and enters the call in the ledger; one keeps the answer
and what it cost, as soon as it is there; one puts the triples into the graph and ends the jobs. Killed between any two,
the next worker goes on from there: an answer that is kept is not asked for again. Calls that are in flight when a
process is killed are all that can be paid for twice.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from hippomem.consolidation.round import Round
from hippomem.errors import HippomemError
from hippomem.extraction_calls import Claim, Claims, Found
from hippomem.learning import EXTRACT, as_learned, learn
from hippomem.neocortex.chat import Chat, Reply
from hippomem.neocortex.faults import Fault, Kind, fault_of
from hippomem.neocortex.openie import Extracted, grounded, read_extraction, read_extractions
from hippomem.neocortex.prices import Price, charged
from hippomem.neocortex.prompts import EXTRACT as EXTRACT_PROMPT
from hippomem.neocortex.prompts import PLAIN_PASSAGE
from hippomem.storage import ledger
from hippomem.storage.jobs import Work
from hippomem.storage.outages import Outage
from hippomem.threads import starting
from hippomem.types import StepReport, Usage

T = TypeVar("T")
log = logging.getLogger("hippomem")
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before another attempt, doubled each time; a random half of it less
LONGEST_FAULT = 300.0  # the same after failures of the server
PATIENCE = 60.0  # a round waits so long for an attempt that is due later, and leaves it to the next one otherwise
OUTAGE_PATIENCE = 15.0  # and so long, until the next answer, for a server that fails
GRACE = 5.0  # for calls in flight when a round is stopped
MAX_NOTES = 20
OWN = frozenset({Kind.refused, Kind.odd})  # failures that may be of this very call alone
# The state of each outage, by database and model, that was logged last: one worker opens namespaces again and again.
_said: dict[tuple[str, str], tuple[datetime, int]] = {}


@dataclass
class _Tally:
    """What one round did so far. It is written to by the thread for the store alone."""

    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("passages", "triples", "dropped", "repeated", "cached", "retried", "dead"), 0
        )
    )
    usage: Usage = field(default_factory=Usage)
    notes: list[str] = field(default_factory=list)
    error: str | None = None
    waited: float = 0.0  # for a server that fails, in a row
    retries: list[datetime] = field(default_factory=list)  # when what failed is due again
    # One at a time: the store takes one writer, and a language pipeline is not made for several threads.
    hands: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "hippomem-extract-store"))

    def note(self, text: str) -> None:
        if len(self.notes) < MAX_NOTES:
            self.notes.append(text)


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a call failed for, what that means, and seconds that it took."""

    error: Exception
    fault: Fault
    seconds: float


class ExtractionStep:
    """Reads with a chat model what it has not read yet. Any number may run, in any processes."""

    name = EXTRACT

    def __init__(self, claims: Claims, chat: Chat, price: Price | None, concurrency: int) -> None:
        self._claims = claims
        self._chat = chat
        self._price = price
        self._concurrency = concurrency

    def next_due(self) -> datetime | None:
        """When there is something to read; None where there is nothing. Says so where a server that fails is why not
        now: whoever asks is about to wait.
        """
        if (outage := self._claims.outage()) is not None:
            self._log(outage)
        return self._claims.next_due()

    def run(self, round: Round) -> StepReport:
        """Read what is due, several calls at a time. Raises ModelError where the model cannot be set up."""
        self._chat.load()
        tally = _Tally()
        failed: list[BaseException] = []

        def work() -> None:
            try:
                with starting():
                    asyncio.run(self._run(round, tally))
            except BaseException as error:
                failed.append(error)

        # On a thread of its own: the caller may have an event loop, and one cannot run inside another.
        context = contextvars.copy_context()  # the caller's callbacks and tracing go along
        thread = threading.Thread(target=context.run, args=(work,), name="hippomem-extract", daemon=True)
        with starting():
            thread.start()
        try:
            thread.join()
        except BaseException:  # Ctrl-C: what is in flight is given back before we go
            round.stopping.set()
            thread.join(2 * GRACE)
            raise
        if failed:
            if not isinstance(failed[0], HippomemError):
                raise failed[0]
            tally.error = tally.error or str(failed[0])
        outage = self._claims.outage() if tally.error is None else None
        if outage is not None:
            tally.error = outage.told(self._claims.now())
        is_done = tally.error is None and not self._claims.is_due()
        for line in self._claims.elsewhere() if is_done else ():
            tally.note(line)
        return StepReport(
            self.name,
            dict(tally.counts),
            tally.usage,
            tuple(tally.notes),
            tally.error,
            is_done,
            again_at=outage.until if outage else None,
        )

    async def _run(self, round: Round, tally: _Tally) -> None:
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                pause: float | None = None
                asked_at = self._claims.now()
                if not self._is_over(round, tally) and len(running) < self._concurrency:
                    free, units, tokens = self._concurrency - len(running), round.units_left(), round.tokens_left()
                    found = await self._by_hand(tally, partial(self._claim, free, units, tokens, tally))
                    for claim in found.claims:
                        round.spend(units=len(claim.works), tokens=claim.expected_tokens)
                        running.add(asyncio.create_task(self._one(claim, round, tally)))
                    if not found.claims:
                        pause = self._pause(asked_at, found, not running, tally)
                is_idle = not running
                if is_idle and (pause is None or self._is_over(round, tally)):
                    return
                await self._wait(running, pause, round)
                if is_idle and self._claims.now() <= asked_at:  # a clock that stands still would be waited for for ever
                    return
        finally:
            await self._give_up(running)
            tally.hands.shutdown()

    async def _by_hand(self, tally: _Tally, call: Callable[[], T]) -> T:
        # Who is cancelled while an answer waits for the store leaves it in the queue: it is paid for, and is kept.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(tally.hands, call))

    def _claim(self, calls: int, units: int | None, tokens: int | None, tally: _Tally) -> Found:
        found = self._claims.claim(calls, units, tokens)
        tally.counts["dead"] += found.buried
        return found

    def _is_over(self, round: Round, tally: _Tally) -> bool:
        return round.is_over or tally.error is not None

    def _pause(self, asked_at: datetime, found: Found, is_idle: bool, tally: _Tally) -> float | None:
        """Seconds until there may be more to claim than at `asked_at`; None where this round does not wait for it."""
        if found.outage is not None:
            self._log(found.outage)
            rest = max(0.01, (found.outage.until - self._claims.now()).total_seconds())
            tally.waited += rest if is_idle else 0.0
            return rest if tally.waited <= OUTAGE_PATIENCE else None
        tally.retries = [moment for moment in tally.retries if moment > asked_at]
        moments = [*tally.retries, *([found.again_at] if found.again_at else [])]
        pause = max(0.01, (min(moments) - self._claims.now()).total_seconds()) if moments else None
        return pause if pause is not None and pause <= PATIENCE else None

    def _log(self, outage: Outage) -> None:
        """Say once what each failure means."""
        about, state = (self._claims.writer.store_.id, outage.model), (outage.since, outage.failures)
        if _said.get(about) != state:
            _said[about] = state
            log.warning("extract: %s", outage.told(self._claims.now()))

    async def _wait(self, running: set[asyncio.Task[None]], pause: float | None, round: Round) -> None:
        """Until a call has ended, a pause is over, or the round is stopped."""
        began = time.monotonic()
        while not round.stopping.is_set():
            rest = 0.2 if pause is None else min(0.2, pause - (time.monotonic() - began))
            if rest <= 0:
                return
            if not running:
                if round.is_over:  # its seconds are used up: nothing is waited for that it will not begin
                    return
                await asyncio.sleep(rest)
                continue
            done, _ = await asyncio.wait(running, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
            running -= done
            for task in done:
                task.result()  # what the store raised ends the round
            if done:
                return
        done, _ = await asyncio.wait(running, timeout=GRACE) if running else (set(), None)
        running -= done
        for task in running:
            task.cancel()

    async def _give_up(self, running: set[asyncio.Task[None]]) -> None:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _one(self, claim: Claim, round: Round, tally: _Tally) -> None:
        """One claim, from the call to the graph."""
        if claim.kept is not None:
            read = [read_extraction(claim.kept[work.content]) for work in claim.works]
            found = [(work, grounded(one, work.title, work.text)) for work, one in zip(claim.works, read, strict=True)]
            await self._by_hand(tally, partial(self._apply, claim, found, tally))
            return
        began = time.monotonic()
        try:
            future = self._chat.begin(claim.prompt, claim.data)
        except RuntimeError:  # there is no thread for it, and nobody was asked
            back = partial(self._claims.give_back, claim, 0.0, "no thread could be started", is_counted=False)
            await self._by_hand(tally, back)
            raise
        try:
            outcome = await self._outcome(future, round, tally)
        except asyncio.CancelledError:
            back = partial(self._claims.give_back, claim, 0.0, "its worker was stopped", is_counted=False)
            await self._by_hand(tally, back)
            raise
        if isinstance(outcome, _Failure):
            round.spend(tokens=-claim.expected_tokens)
            await self._by_hand(tally, partial(self._failed, claim, outcome, tally))
            return
        reply = outcome
        used = reply.usage.input_tokens + reply.usage.output_tokens or claim.expected_tokens  # where nobody counted
        round.spend(tokens=used - claim.expected_tokens)
        await self._by_hand(tally, partial(self._answered, claim, reply, time.monotonic() - began, tally))

    async def _outcome(self, future: Future[Reply], round: Round, tally: _Tally) -> Reply | _Failure:
        """What was replied, or why nothing was. Where it may be what was asked, a plain text is asked about: if that
        fails alike, all would.
        """
        began = time.monotonic()
        try:
            return await self._reply(future)
        except Exception as error:  # whatever a provider's package can raise
            failure = _Failure(error, fault_of(error), time.monotonic() - began)
        if failure.fault.kind not in OWN:
            return failure
        number = await self._by_hand(tally, self._claims.begin_beside)
        began = time.monotonic()
        try:
            usage = (await self._reply(self._chat.begin(EXTRACT_PROMPT, PLAIN_PASSAGE))).usage
            spent = self._spent(usage, time.monotonic() - began)
        except Exception as error:
            usage, spent = Usage(), ledger.Spent("failed", seconds=time.monotonic() - began)
            fault = fault_of(error)
            failure = replace(failure, fault=Fault(Kind.setup) if fault.kind in OWN else fault)
        round.spend(tokens=usage.input_tokens + usage.output_tokens)
        tally.usage += usage
        await self._by_hand(tally, partial(self._claims.end_beside, number, spent))
        return failure

    async def _reply(self, future: Future[Reply]) -> Reply:
        return await asyncio.wait_for(asyncio.wrap_future(future), self._chat.timeout)

    def _spent(self, usage: Usage, seconds: float) -> ledger.Spent:
        cost = charged(usage, self._price)
        return ledger.Spent("answered", usage.input_tokens, usage.output_tokens, seconds, cost)

    def _answered(self, claim: Claim, reply: Reply, seconds: float, tally: _Tally) -> None:
        tally.waited = 0.0
        tally.usage += reply.usage
        count = len(claim.works)
        early = "cut off at the model's limit" if reply.is_cut else ""
        early = "ended by a content filter of its server" if reply.is_filtered else early
        read = read_extractions(reply.text, count, bool(early)) if count > 1 else [read_extraction(reply.text)]
        if early and count == 1 and not read[0].problem:  # asked again, it would be again
            advice = ": raise max_tokens (llm_options)" if reply.is_cut else ""
            tally.note(f"{claim.works[0].passage_id}: its answer was {early}{advice}")
        # What an answer says about another passage than its own is not even kept.
        read = [grounded(one, work.title, work.text) for work, one in zip(claim.works, read, strict=True)]
        found = list(zip(claim.works, read, strict=True))
        usable = [(work, extracted) for work, extracted in found if not extracted.problem]
        spent = self._spent(reply.usage, seconds)
        if self._claims.record(claim, spent, {work.content: extracted.as_json() for work, extracted in usable}):
            log.warning("extract: the chat model %r answers again", self._claims.kind.model)
        if usable:
            self._apply(claim, usable, tally)
        if len(usable) < len(found):
            problem = next(extracted.problem for _, extracted in found if extracted.problem)
            self._put_off(claim, Fault(Kind.odd), problem + (f" (it was {early})" if early else ""), tally)

    def _failed(self, claim: Claim, failure: _Failure, tally: _Tally) -> None:
        error, fault = failure.error, failure.fault
        self._claims.record(claim, ledger.Spent("failed", seconds=failure.seconds), {}, is_servers=fault.is_servers)
        reason = str(self._chat.failure(error))
        if fault.kind == Kind.setup:
            told = f"{reason}; it answers no plain text either, so no job has lost an attempt"
            tally.error = tally.error or (reason if fault_of(error).kind == Kind.setup else told)
        self._put_off(claim, fault, reason, tally, self._chat.cause(error))

    def _put_off(self, claim: Claim, fault: Fault, reason: str, tally: _Tally, cause: str = "") -> None:
        if fault.is_servers:
            pause = _pause(max(work.attempts + work.faults for work in claim.works), LONGEST_FAULT, fault)
            back, dead = self._claims.server_failed(claim, fault, reason, cause, pause)
        else:
            pause = _pause(max(work.attempts for work in claim.works), LONGEST_PAUSE, fault)
            # Which of several passages was refused, nobody knows: each is asked about alone next.
            is_final = fault.kind == Kind.refused and len(claim.works) == 1
            is_counted = fault.kind != Kind.setup
            back, dead = self._claims.give_back(claim, pause, reason, is_counted=is_counted, is_final=is_final)
        tally.counts["retried"] += back
        tally.counts["dead"] += dead
        if back:
            tally.retries.append(self._claims.now() + timedelta(seconds=pause))
        if dead:
            tally.note(f"{', '.join(work.passage_id for work in claim.works)}: dead: {reason}")
        log.info("extract: call %d: %s", claim.token, reason)

    def _apply(self, claim: Claim, found: list[tuple[Work, Extracted]], tally: _Tally) -> None:
        model = self._claims.kind.model
        learned = [(work, as_learned(extracted, model)) for work, extracted in found]
        done = learn(self._claims.writer, claim.token, learned)
        tally.counts["passages"] += len(done)
        tally.counts["cached"] += len(done) if claim.kept is not None else 0
        for work, extracted in found:
            if work.number not in done:  # forgotten meanwhile, or in the hands of another worker
                continue
            tally.counts["triples"] += len(extracted.triples)
            tally.counts["dropped"] += extracted.dropped
            tally.counts["repeated"] += extracted.repeated
            if extracted.dropped:
                log.info(
                    "extract: %s: %d triples kept; dropped: %d malformed, %d on what is not in the text",
                    work.passage_id,
                    len(extracted.triples),
                    extracted.malformed,
                    extracted.elsewhere,
                )


def _pause(failures: int, longest: float, fault: Fault) -> float:
    """Seconds before another attempt after so many that failed, and this one."""
    pause: float = min(longest, FIRST_PAUSE * 2.0**failures) * random.uniform(0.5, 1.0)  # noqa: S311
    return max(pause, fault.wait or 0.0)
