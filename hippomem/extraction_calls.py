"""Which passages the next calls of extraction are for: claims, within the limits of the provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from hippomem.neocortex.faults import Fault
from hippomem.neocortex.faults import Kind as FaultKind
from hippomem.neocortex.prices import BYTES_PER_TOKEN, count_tokens
from hippomem.neocortex.prompts import EXTRACT, EXTRACT_SEVERAL, Prompt
from hippomem.storage import jobs, ledger, outages
from hippomem.storage.jobs import MOST_FAULTS, Work
from hippomem.storage.ledger import Call, Spent
from hippomem.storage.outages import Outage
from hippomem.writing import Writer

LEASE_MARGIN = 30.0  # seconds beyond the time-out of a call: for reading its answer, and waiting to write
SHORT_CHARS = 400  # a passage that may share a call: the instructions are longer than it
MOST_IN_ONE = 8
KEPT_IN_ONE = 50  # answers that are there already, applied in one claim
# Characters that a model writes for each that it reads: 1.49 in GPT-3.5's answers about 1,890 passages.
WRITTEN_PER_READ = 1.5
# By database and model, as one worker opens namespaces again and again: the newest call that this process was answered,
_answered: dict[tuple[str, str], int] = {}
# and since then, which was the first that the server failed (`token`). Where others were answered after that one, it is
# only from here that it fails, and only this process pauses; until then there are no `failures`.
_failing: dict[tuple[str, str], Outage] = {}


@dataclass(frozen=True, slots=True)
class Limits:
    """Calls and tokens a minute over all processes of a database; characters of passages that share a call (0: each
    has its own); whether answers that other namespaces paid for may be used.
    """

    requests: int | None = None
    tokens: int | None = None
    group_chars: int = 0
    share: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """Jobs that are ours until the lease ends: for one call, or with the answers that are there (`kept`). A probe is to
    find out whether a server works again.
    """

    token: int
    works: tuple[Work, ...]
    expected_tokens: int = 0
    kept: Mapping[str, str] | None = None
    is_probe: bool = False

    @property
    def prompt(self) -> Prompt:
        """What is asked about them."""
        return prompt_for(self.works)

    @property
    def data(self) -> dict[str, Any]:
        """What goes along."""
        return data_of(self.works)


@dataclass(frozen=True, slots=True)
class Found:
    """New claims, how many jobs had no attempt left, when there is more room where the limits leave none, and what
    outage holds up the rest.
    """

    claims: tuple[Claim, ...] = ()
    buried: int = 0
    again_at: datetime | None = None
    outage: Outage | None = None


@dataclass(slots=True)
class Claims:
    """The jobs of one namespace, as one worker sees them. Safe to use from several threads."""

    writer: Writer
    kind: jobs.Kind
    limits: Limits
    timeout: float

    def now(self) -> datetime:
        """The clock's time."""
        return self.writer.clock.now()

    def next_due(self) -> datetime | None:
        """When something can be claimed: at once, where a passage has no job yet; not before the end of a pause."""
        return self._next(self.now())[0]

    def outage(self) -> Outage | None:
        """What holds up all that there is to do, until when; None where nothing is left to do, or can be done now."""
        now = self.now()
        moment, outage = self._next(now)
        return replace(outage, until=moment) if outage and moment and moment > now else None

    def _next(self, now: datetime) -> tuple[datetime | None, Outage | None]:
        with self.writer.store_.read() as connection:
            number = self.writer.number
            is_missing = jobs.is_missing(connection, number, self.kind)
            moment = now if is_missing else jobs.next_due(connection, number, self.kind)
            outage = self._known(connection, now)
        if moment is not None:
            # What lies too far ahead was written before the clock went back.
            moment = now if moment > now + jobs.AHEAD else moment
            moment = max(moment, outage.until) if outage else moment
        return moment, outage

    def is_due(self) -> bool:
        """Whether something can be claimed at this moment."""
        moment = self.next_due()
        return moment is not None and moment <= self.now()

    def elsewhere(self) -> list[str]:
        """What there is to do that is not ours to do now, or was given up."""
        with self.writer.store_.read() as connection:
            number = self.writer.number
            count, until = jobs.in_hand(connection, number, self.kind, self.now())
            others = jobs.reserved(connection, number, self.kind)
            dead = jobs.counts(connection, number)["dead"]
        told = [f"{_jobs(number)} for {model} to read again" for model, number in others.items()]
        if until is not None:
            end = f"until {until:%Y-%m-%d %H:%M:%S}Z at the latest, should it have been killed"
            told.append(f"another worker has {_jobs(count, 'in hand')}, {end}")
        if dead:
            told.append(f"{_jobs(dead, 'dead')}, which retry_jobs (hippomem jobs retry) lets wait again")
        return told

    def claim(self, calls: int, units: int | None, tokens: int | None) -> Found:
        """Claims for at most so many calls, passages and tokens."""
        if not self.is_due():
            return Found(outage=self.outage())
        with self.writer.store_.write() as connection:
            number, now = self.writer.number, self.now()
            outage = self._known(connection, now)
            if outage and outage.until > now:  # somebody was faster
                return Found(outage=outage)
            jobs.enqueue_missing(connection, number, self.kind, now)
            buried = jobs.bury(connection, number, self.kind, now)
            limit = min(calls * MOST_IN_ONE, units if units is not None else calls * MOST_IN_ONE)
            works = (
                self._probe(connection, now, limit) if outage else jobs.due(connection, number, self.kind, now, limit)
            )
            ends = now + timedelta(seconds=self.timeout + LEASE_MARGIN)
            kept = ledger.answered(
                connection,
                number,
                self.kind.prompt,
                self.kind.model,
                {work.content for work in works},
                self.limits.share,
            )
            claims = []
            ready = [work for work in works if work.content in kept][:KEPT_IN_ONE]
            if ready:
                for work in ready:
                    token = ledger.enter(connection, number, self._call(work.ingest), now, Spent("cached"))
                ledger.keep_answers(
                    connection,
                    number,
                    self.kind.prompt,
                    self.kind.model,
                    {work.content: kept[work.content] for work in ready},
                )
                jobs.claim(connection, number, self.kind, ready, token, ends)
                claims.append(Claim(token, tuple(ready), kept=kept))
            room = ledger.room(connection, self.kind.model, self.limits.requests, self.limits.tokens, now)
            new = [work for work in works if work.content not in kept]
            groups = packed(new, self.limits.group_chars)[:calls]
            is_spent = False
            for group in groups[: room.requests]:
                expected = sum(tokens_each_way(group))
                is_spent = tokens is not None and tokens < expected
                if is_spent or not self._fits(expected, room.tokens):
                    break
                token = ledger.begin(connection, number, self._call(group[0].ingest, expected), now)
                jobs.claim(connection, number, self.kind, group, token, ends)
                claims.append(Claim(token, group, expected, is_probe=outage is not None))
                if outage:
                    self._hold(connection, ends, now)
                room = ledger.room(connection, self.kind.model, self.limits.requests, self.limits.tokens, now)
                tokens = None if tokens is None else tokens - expected
            # More room in a minute is of no use to whom the budget stops.
            return Found(tuple(claims), buried, room.again_at if groups and not claims and not is_spent else None)

    def record(self, claim: Claim, spent: Spent, answers: Mapping[str, str], *, is_servers: bool = False) -> bool:
        """Enter how a call ended, and keep what it answered. Returns whether that ended an outage, which only a failure
        that `is_servers` does not.
        """
        with self.writer.store_.write() as connection:
            ledger.end(connection, claim.token, spent)
            ledger.keep_answers(connection, self.writer.number, self.kind.prompt, self.kind.model, answers)
            if spent.outcome == "answered":
                _answered[self._server] = max(claim.token, _answered.get(self._server, 0))
            if is_servers:
                return False
            here = _failing.pop(self._server, None)
            return outages.end(connection, self.kind.model, claim.token) or bool(here and here.failures)

    def begin_beside(self) -> int:
        """Enter a call that is for no job, as lost until `end_beside` says how it ended. Returns its number."""
        with self.writer.store_.write() as connection:
            return ledger.enter(connection, self.writer.number, self._call(None), self.now(), Spent("lost"))

    def end_beside(self, number: int, spent: Spent) -> None:
        """Enter how a call ended that was for no job."""
        with self.writer.store_.write() as connection:
            ledger.end(connection, number, spent)

    def server_failed(self, claim: Claim, fault: Fault, reason: str, cause: str, pause: float) -> tuple[int, int]:
        """Give back a claim that was failed by the server, for `pause` seconds, and until the server is asked again.

        That is no attempt of the job, unless others were answered here since it was failed before: then it seems to be
        what the server fails of, as long as no other is failed. What other processes are answered tells nothing, as it
        may be from here that the server is not reached. Nor is it one where the server has too much to do, which may
        meet the same one again and again. But it is, where a job has had too much of all that.

        Returns how many wait for another attempt, and how many are dead.
        """
        with self.writer.store_.write() as connection:
            now, model = self.now(), self.kind.model
            known = outages.find(connection, model, now)
            work, is_busy = claim.works[0], fault.kind == FaultKind.busy
            since = work.token if work.faults and not known else claim.token
            is_suspect = not known and work.faults > 1 and work.attempts > 0
            is_well = not is_busy and (is_suspect or _answered.get(self._server, 0) > since)
            if is_well:
                outages.end(connection, model, claim.token)
            elif not is_busy and self._fails_here(connection, claim, cause, now):
                if claim.is_probe:
                    outages.hold(connection, model, now, now)
            else:
                token = ledger.newest(connection) if is_busy else claim.token
                wait = fault.wait or 0.0
                outages.fail(connection, model, token, cause, now, wait, is_probe=claim.is_probe)
            is_counted = work.faults >= MOST_FAULTS or (work.faults > 0 and is_well)
            due, reason = now + timedelta(seconds=pause), self._tellable(connection, claim, reason)
            return jobs.give_back(connection, claim.token, due, reason, is_counted=is_counted, is_fault=True)

    def give_back(
        self, claim: Claim, pause: float, reason: str, *, is_counted: bool, is_final: bool = False
    ) -> tuple[int, int]:
        """Give back what is left of a claim; how many wait for another attempt, and how many are dead."""
        with self.writer.store_.write() as connection:
            due = self.now() + timedelta(seconds=pause)
            ledger.lose(connection, [claim.token])
            if claim.is_probe:
                self._hold(connection, self.now(), self.now())
            reason = self._tellable(connection, claim, reason)
            return jobs.give_back(connection, claim.token, due, reason, is_counted=is_counted, is_final=is_final)

    @property
    def _server(self) -> tuple[str, str]:
        return self.writer.store_.id, self.kind.model

    def _known(self, connection: Connection, now: datetime) -> Outage | None:
        """The outage that this process goes by."""
        everywhere, here = outages.find(connection, self.kind.model, now), _failing.get(self._server)
        if here is None or not here.failures:
            return everywhere
        if here.until > now + outages.AHEAD:  # the clock has gone back
            here = replace(here, until=now)
        return max(filter(None, (here, everywhere)), key=lambda outage: outage.until)

    def _hold(self, connection: Connection, until: datetime, now: datetime) -> None:
        """Let nobody ask before `until` whom the outage holds up: a probe is under way, or (`now`) is no more."""
        outages.hold(connection, self.kind.model, until, now)
        if (here := _failing.get(self._server)) is not None:
            _failing[self._server] = replace(here, until=min(until, now + outages.AHEAD))

    def _fails_here(self, connection: Connection, claim: Claim, cause: str, now: datetime) -> bool:
        """Whether a server that has failed this process answers others. Then this process alone pauses."""
        first = _failing.setdefault(self._server, Outage(self.kind.model, now, now, 0, claim.token, cause))
        if not ledger.was_answered_after(connection, self.kind.model, first.token):
            return False
        if claim.is_probe or not first.failures:  # what was under way before tells nothing new
            failures, until = first.failures + 1, now + outages.pause_after(first.failures + 1)
            reason = f"{cause}, here, while others are answered"
            _failing[self._server] = replace(first, until=until, failures=failures, reason=reason)
        return True

    def _tellable(self, connection: Connection, claim: Claim, reason: str) -> str:
        """Why a call failed: in its words, which may quote any of what it was about, where all of that is there."""
        if jobs.are_there(connection, self.writer.number, claim.works):
            return reason
        return "the call failed, and some of what it was about was forgotten meanwhile"

    def _probe(self, connection: Connection, now: datetime, limit: int) -> list[Work]:
        """The job that goes first after a pause: one that no server has failed, for another may be why it fails."""
        number, limit = self.writer.number, min(limit, 1)
        untried = jobs.due(connection, number, self.kind, now, limit, is_untried=True)
        return untried or jobs.due(connection, number, self.kind, now, limit)

    def _call(self, ingest: str | None, expected_tokens: int = 0) -> Call:
        return Call(self.kind.name, self.kind.model, ingest, expected_tokens)

    def _fits(self, expected: int, left: int | None) -> bool:
        """Whether there is room for a call; for one that is larger than the whole limit, where nothing else is under
        way."""
        return left is None or expected <= left or left == self.limits.tokens


def _jobs(count: int, what: str = "") -> str:
    return f"{count:,} job{'' if count == 1 else 's'} {what or ('waits' if count == 1 else 'wait')}"


def packed(works: Sequence[Work], group_chars: int) -> list[tuple[Work, ...]]:
    """Passages by call: short ones of the same ingest share one; what failed before goes alone."""
    groups: list[list[Work]] = []
    open_: dict[str | None, tuple[list[Work], int]] = {}
    contents: set[str] = set()
    for work in works:
        size = len(work.title) + len(work.text)
        if work.content in contents:  # equal texts are asked about once: the second finds the answer kept
            continue
        contents.add(work.content)
        if size > SHORT_CHARS or work.attempts or work.faults or not group_chars:
            groups.append([work])
            continue
        group, filled = open_.get(work.ingest, ([], 0))
        if not group or len(group) >= MOST_IN_ONE or filled + size > group_chars:
            group, filled = [], 0
            groups.append(group)
        group.append(work)
        open_[work.ingest] = group, filled + size
    return [tuple(group) for group in groups]


def prompt_for(works: Sequence[Work]) -> Prompt:
    """What is asked about these."""
    return EXTRACT if len(works) == 1 else EXTRACT_SEVERAL


def data_of(works: Sequence[Work]) -> dict[str, Any]:
    """Passages as the prompts take them."""
    if len(works) == 1:
        return {"title": works[0].title, "text": works[0].text}
    return {"passages": [{"number": n, "title": w.title, "text": w.text} for n, w in enumerate(works, 1)]}


def tokens_each_way(works: Sequence[Work]) -> tuple[int, int]:
    """The tokens that a call reads, and those that it writes, roughly."""
    asked = "".join(text for _, text in prompt_for(works).messages(data_of(works)))
    size = sum(len((work.title + work.text).encode()) for work in works)
    return count_tokens(asked), round(size * WRITTEN_PER_READ / BYTES_PER_TOKEN)
