"""Replay of one channel: claim what is due, test each memory by its own cue, archive those that fail, put off the rest.

Each replay is claimed (lease, fencing token), worked on outside any transaction, and written in one transaction that
the token guards. Killed at any instant, a replay has happened whole or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Connection

from hippomem.clock import Clock
from hippomem.consolidation.curves import Curve
from hippomem.consolidation.grades import Probe, grade_of
from hippomem.consolidation.replay_time import ReplayTime
from hippomem.consolidation.round import Round
from hippomem.consolidation.selection import OVERLOAD, OVERLOAD_DAYS, select
from hippomem.consolidation.states import Grade, ReviewState, after, days_between
from hippomem.consolidation.trust import TRUSTED
from hippomem.storage import reviews, statuses
from hippomem.storage.reviews import Review
from hippomem.storage.store import Store
from hippomem.types import StepReport

BATCH = 8  # claimed at once: each is held as long as the batch takes
ALONE = 2  # claims in vain, after which a row is claimed by itself
LIMIT = 1024  # rows that are considered of each kind
PER_ROUND = 256  # replays of a round without a budget of units
ENROLLED = 2000  # passages that one round takes into the schedule
FAILURES = 3  # in a row, after which a memory that its own cue never brings is archived
NOTES = 20
SPREAD = 0.1  # of an interval, so that what came together is not due together for ever
REST = 9.0  # times what a round took: by itself, replay uses a tenth of one core


@dataclass(frozen=True, slots=True)
class Found:
    """What a probe found of one passage: where it came, and the cue's words."""

    id: str
    probe: Probe
    cue: str
    trust: float = 1.0


# Writes a review in the caller's transaction, given whether it was learned again. False, with nothing written, where
# another claim came later: then the transaction is to write nothing else either.
Commit = Callable[[Connection, bool], bool]


class Channel(Protocol):
    """One of the memories that are replayed."""

    @property
    def name(self) -> str:
        """graph, neural."""

    def probe(self, passage: int) -> Found | None:
        """Look a passage up by its own cue; None where it is gone. Raises HippomemError."""

    def renew(self) -> bool:
        """Make anew what only came to forget by a makeshift. Whether that was due."""

    def carry_out(self, passage: int, found: Found, is_rehearsed: bool, commit: Commit) -> None:
        """Have the review written: `commit` in one transaction, together with what learning it again writes where
        `is_rehearsed` is asked for. So neither is ever done without the other, or twice."""


@dataclass
class ReplayStep:
    """The replay of a channel, as a step of a round."""

    channel: Channel
    store: Store
    namespace: Callable[[], int]
    clock: Clock
    curve: Curve
    switched: frozenset[str] = frozenset(("probe", "rehearse", "archive"))
    share: float = 1.0  # of the units that are left: what comes first leaves some to what comes after
    can_foretell: bool = field(default=True, init=False)
    _rests_until: float = field(default=float("-inf"), init=False)  # of the monotonic clock

    @property
    def name(self) -> str:
        """`replay graph`, `replay neural`."""
        return f"replay {self.channel.name}"

    def next_due(self) -> datetime | None:
        """When the next memory falls due, and not before this process has rested."""
        if "probe" not in self.switched:
            return None
        namespace = self.namespace()
        with self.store.read() as connection:
            due = reviews.next_due(connection, namespace, self.channel.name)
            known = reviews.schedule(connection, namespace)
            if due is None or known is None:
                return self.clock.now() if reviews.unenrolled(connection, namespace, self.channel.name, 1) else None
            now = self.clock.now()
            # A clock that has gone back is taken note of by a round, and not only when it is where it was.
            moment = now if known.wall > now else ReplayTime(known.wall, known.moment).clock_at(due)
        return max(moment, now + timedelta(seconds=max(0.0, self._rests_until - self.clock.monotonic())))

    def run(self, round: Round) -> StepReport:
        """Replay until nothing is due or the round is over.

        Of a budget of units nothing is kept back: what is not due is replayed too, what waited longest and what is
        least retrievable first, but none twice in half a day, or rounds by the hour would write without end.
        """
        if round.is_dry:
            return self._foretold(round) if "probe" in self.switched else StepReport(self.name)
        counts: Counter[str] = Counter()
        if self.channel.renew():
            counts["rebuilt"] = 1
        if "probe" not in self.switched:
            return StepReport(self.name, dict(counts))
        notes: list[str] = []
        began = self.clock.monotonic()
        plan, now, is_overloaded = self._plan(round)
        counts["overloaded"] = int(is_overloaded)
        waiting = list(_batches(plan))
        while waiting and not round.is_over:
            batch = waiting.pop(0)
            with self.store.write() as connection:
                chosen = [review for review, _ in batch]
                held = reviews.claim(connection, self.namespace(), self.channel.name, chosen, self.clock.now())
            try:
                for review, reason in batch:
                    if round.is_over:
                        break
                    if review.passage in held:
                        token = held.pop(review.passage)
                        self._replay(review, token, reason, ReplayTime(round.now, now), counts, notes, is_overloaded)
                        round.spend(units=1)
            finally:  # where one fails, the others are not to blame
                if held:
                    with self.store.write() as connection:
                        reviews.release(connection, self.namespace(), self.channel.name, held)
        # At least a second: what another one holds is due, and not to be had.
        rest = max(1.0, REST * (self.clock.monotonic() - began))
        self._rests_until = self.clock.monotonic() + rest
        is_done = not waiting and len(plan) < PER_ROUND
        return StepReport(self.name, dict(counts), notes=tuple(notes[:NOTES]), is_done=is_done)

    def _plan(self, round: Round) -> tuple[list[tuple[Review, str]], datetime, bool]:
        """What to replay in this round, in order, and why; the moment that it is for replay; whether in overload."""
        left = self._units(round)
        with self.store.write() as connection:
            namespace = self.namespace()
            if not namespace:
                return [], round.now, False
            time, is_overloaded = _advance(connection, namespace, round)
            self._enrol(connection, namespace, time)
            return self._chosen(connection, namespace, time.moment, left), time.moment, is_overloaded

    def _units(self, round: Round) -> int | None:
        left = round.units_left()
        return None if left is None else int(left * self.share)

    def _chosen(
        self, connection: Connection, namespace: int, moment: datetime, left: int | None
    ) -> list[tuple[Review, str]]:
        rows = reviews.candidates(
            connection, namespace, self.channel.name, moment, self.clock.now(), LIMIT, slack=left is not None
        )
        picks = select([state_of(row) for row in rows], self.curve, moment, PER_ROUND if left is None else left)
        return [(rows[pick.place], pick.reason) for pick in picks]

    def _enrol(self, connection: Connection, namespace: int, time: ReplayTime) -> None:
        new: dict[int, Mapping[str, Any]] = {}
        for number, recorded in reviews.unenrolled(connection, namespace, self.channel.name, ENROLLED):
            state = self.curve.first(time.moment_of(recorded))
            if self.channel.name == "graph":
                # The graph holds at once what is written to it: there is time, and not all at the same.
                wait = state.stability * (0.5 + _share_of(number))
                state = replace(state, due=after(state.last_review, wait))
            new[number] = _columns(state)
        reviews.enrol(connection, namespace, self.channel.name, new)

    def _replay(
        self,
        review: Review,
        token: int,
        reason: str,
        time: ReplayTime,
        counts: Counter[str],
        notes: list[str],
        is_overloaded: bool,
    ) -> None:
        found = self.channel.probe(review.passage)
        if found is None:
            return  # forgotten meanwhile, and its row with it
        with self.store.read() as connection:
            uses = reviews.uses_of(connection, self.namespace(), [review.passage]).get(review.passage, 0)
        grade = grade_of(found.probe, uses - review.uses)
        state, now = state_of(review), time.moment
        predicted = self.curve.retrievability(state, now)
        after_it = _spread(self.curve.review(state, grade, now), now, review.passage)
        failures = review.failures + 1 if grade == Grade.AGAIN else 0
        values = _columns(after_it) | {"failures": failures, "uses": uses}
        deeds: list[tuple[str, str]] = []
        outcome: list[bool] = []

        def commit(connection: Connection, is_rehearsed: bool) -> bool:
            deeds.clear()
            outcome.clear()
            namespace = self.namespace()
            if not reviews.finish(connection, namespace, self.channel.name, review.passage, token, values):
                return False
            line = {"at": time.wall, "grade": int(grade), "predicted": predicted, "reason": reason}
            name = self.channel.name
            reviews.log_review(connection, namespace, review.passage, name, token, rehearsed=is_rehearsed, **line)
            deeds.extend(self._archived(connection, namespace, review.passage, found, failures))
            outcome.append(is_rehearsed)
            return True

        # In overload only what surprises, as it is not found first, and is trusted is worth learning again.
        is_worth_it = not is_overloaded or (grade < Grade.GOOD and found.trust >= TRUSTED)
        is_wanted = "rehearse" in self.switched and is_worth_it
        self.channel.carry_out(review.passage, found, is_wanted, commit)
        if not outcome:
            counts["overtaken"] += 1
            return
        counts["replayed"] += 1
        counts[grade.name.lower()] += 1
        counts["rehearsed"] += outcome[0]
        counts.update(what for what, _ in deeds)
        if deeds or grade == Grade.AGAIN:
            place = "not found" if found.probe.rank is None else f"came {found.probe.rank + 1}."
            notes.append("; ".join([f"{found.id}: {place} by {found.cue!r}", *(told for _, told in deeds)]))

    def _archived(
        self, connection: Connection, namespace: int, passage: int, found: Found, failures: int
    ) -> list[tuple[str, str]]:
        """Archive what was not found again and again. Returns what was done, and in words."""
        can_archive = "archive" in self.switched and self.channel.name == "graph"
        if failures < FAILURES or not can_archive or statuses.is_kept(connection, namespace, found.id):
            return []
        at = self.clock.now()
        statuses.set_status(connection, namespace, passage, archived_at=at)
        detail = {"why": f"its own cue did not bring it among the first, {failures} times in a row"}
        statuses.log_change(connection, namespace, "archive", passage, found.id, at, detail)
        return [("archived", "archived: a deep recall still finds it")]

    def _foretold(self, round: Round) -> StepReport:
        with self.store.read() as connection:
            namespace = self.namespace()
            time = ReplayTime.after(reviews.schedule(connection, namespace), round.now)
            plan = self._chosen(connection, namespace, time.moment, self._units(round))
            round.spend(units=len(plan))  # what comes after it would not have them
            counts = Counter(f"would be replayed ({reason})" for _, reason in plan)
            counts["not scheduled yet"] = len(reviews.unenrolled(connection, namespace, self.channel.name, ENROLLED))
            notes = [
                f"{statuses.id_of(connection, namespace, review.passage)}: {reason}" for review, reason in plan[:NOTES]
            ]
        return StepReport(self.name, dict(counts), notes=tuple(notes), is_done=not plan)


def _batches(plan: Sequence[tuple[Review, str]]) -> Iterator[list[tuple[Review, str]]]:
    """What is claimed together. A row whose claims came to nothing twice is claimed alone: if others of its batch were
    to blame, it is not given up with them."""
    held: list[tuple[Review, str]] = []
    for review, reason in plan:
        if review.attempts >= ALONE:
            yield [(review, reason)]
            continue
        held.append((review, reason))
        if len(held) == BATCH:
            yield held
            held = []
    if held:
        yield held


def state_of(review: Review) -> ReviewState:
    """The part of a row that a curve knows."""
    return ReviewState(**_columns(review))


def _advance(connection: Connection, namespace: int, round: Round) -> tuple[ReplayTime, bool]:
    """The time of this round, written down; whether there has been too much to do for days."""
    known = reviews.schedule(connection, namespace)
    time = ReplayTime.after(known, round.now)
    since = known.overloaded_since if known else None
    units = round.budget.units
    if units is not None:
        due = sum(reviews.due_count(connection, namespace, channel, time.moment) for channel in ("graph", "neural"))
        since = (since or time.moment) if due > OVERLOAD * max(units, 1) else None
    values = {"wall": time.wall, "moment": time.moment, "overloaded_since": since}
    reviews.set_schedule(connection, namespace, **values)
    return time, since is not None and days_between(since, time.moment) >= OVERLOAD_DAYS


def _spread(state: ReviewState, now: datetime, number: int) -> ReviewState:
    """The state, due a little earlier or later: always the same for a passage."""
    interval = days_between(now, state.due) * (1 + SPREAD * (_share_of(number) - 0.5))
    return replace(state, due=after(now, interval))


def _share_of(number: int) -> float:
    """A number in [0, 1) for each passage, evenly spread: Weyl's sequence."""
    return number * 0.6180339887498949 % 1.0


def _columns(state: ReviewState | Review) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ReviewState.__dataclass_fields__}
