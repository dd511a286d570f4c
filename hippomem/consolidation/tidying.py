"""The part of a round that looks at memories together: what contradicts what, what is there twice, what many say, and
which paths were of use.

It follows the log: each change is looked at once, by whoever comes first. Every deed is a line in the history that says
why and can be undone (undo.py); what was undone is not done again.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import methodcaller
from typing import Any

from sqlalchemy import Connection

from hippomem.clock import Clock
from hippomem.consolidation.contradictions import Contradiction, Tellings
from hippomem.consolidation.disputes import disputed, fact_of, is_settled, moment_of
from hippomem.consolidation.quality import flag_of, said
from hippomem.consolidation.round import Round
from hippomem.consolidation.states import days_between
from hippomem.consolidation.undo import say_again
from hippomem.storage import edges, links, reads, reviews, semantic, statuses, validities
from hippomem.storage.store import Store
from hippomem.types import Passage, StepReport

BATCH = 200  # changes looked at in one transaction
ALIKE = 0.95  # cosine of two passages that may be the same one twice
EVENTS, SOURCES = 3, 2  # that say a fact before it is promoted
MOST_STRENGTH = 2.0  # of an edge, to 1 of one that was never used
LEARNING = 0.2  # share of what is left to the most, for each use
HALF_LIFE = 30.0  # days in which half of an edge's strength relaxes
NOTICEABLE = 0.05  # change of strength for which a passage is linked anew
HELD_SECONDS = 0.2  # after which a transaction ends, for which others wait
BREATH_SECONDS = 0.1  # between two of them
NOTES = 20


@dataclass
class TidyStep:
    """Contradictions, duplicates, promotion, strengthening, as a step of a round.

    `alike` gives the passages most like one, with their cosine.
    """

    store: Store
    namespace: Callable[[], int]
    clock: Clock
    alike: Callable[[int], Sequence[tuple[int, float]]]
    trust: Callable[[Passage], float] = lambda _: 1.0
    switched: frozenset[str] = frozenset(("flag", "invalidate", "merge", "promote", "strengthen"))
    name: str = field(default="tidy", init=False)
    can_foretell: bool = field(default=True, init=False)

    def next_due(self) -> datetime | None:
        """Now, where something has changed since it last ran."""
        namespace = self.namespace()
        if not namespace:
            return None
        with self.store.read() as connection:
            known = reviews.schedule(connection, namespace)
            tidied = known.tidied if known else 0
            return self.clock.now() if statuses.changed_after(connection, namespace, tidied, 1) else None

    def run(self, round: Round) -> StepReport:
        """Look at what has changed, then strengthen what was used."""
        counts: Counter[str] = Counter()
        notes: dict[str, None] = {}
        is_done = True
        looked_at = 0  # the change up to which a dry round has come
        measured: dict[str, Tellings] = {}  # each relation once a round: it takes a look at all of its facts
        merged: set[int] = set()  # what a dry round would have archived
        while True:
            if round.is_over:
                is_done = False
                break
            last = self._some(round, counts, notes, measured, merged, looked_at)
            if not last:
                break
            looked_at = last if round.is_dry else 0
        if "strengthen" in self.switched and self.namespace():
            with self.store.read() if round.is_dry else self.store.write() as connection:
                counts["strengthened"] += _strengthen(connection, self.namespace(), round.now, round.is_dry)
        return StepReport(
            self.name, {k: v for k, v in counts.items() if v}, notes=tuple(notes)[:NOTES], is_done=is_done
        )

    def _some(
        self,
        round: Round,
        counts: Counter[str],
        notes: dict[str, None],
        measured: dict[str, Tellings],
        merged: set[int],
        looked_at: int,
    ) -> int:
        """Look at a batch of changes. Returns the last of them, 0 where there was none."""
        namespace = self.namespace()
        with self.store.read() as connection:
            known = reviews.schedule(connection, namespace)
            tidied = known.tidied if known else 0
            changed = statuses.changed_after(connection, namespace, max(tidied, looked_at), BATCH + 1)
            if not namespace or not changed:
                return 0
            is_last, changed = len(changed) <= BATCH, changed[:BATCH]
            last = changed[-1][0]
            numbers = list(dict.fromkeys(number for _, number in changed))
            there = reads.by_number(connection, namespace, numbers)
        # Which are alike is the view's to say; it takes its own transaction.
        pairs = [
            (number, other)
            for number in there
            if "merge" in self.switched
            for other, cosine in self.alike(number)
            if other < number and cosine >= ALIKE
        ]
        now = self.clock.now()
        with self.store.read() as connection:
            others = reads.by_number(connection, namespace, sorted({other for _, other in pairs}))
            documents = reads.ingested_sources(connection, namespace) if pairs else set()
            is_on = "invalidate" in self.switched
            found = disputed(connection, namespace, there, measured, self.trust, merged) if is_on else []
            ending = {one.older.passage for one in found}
            raised = _promotions(connection, namespace) if is_last and "promote" in self.switched else {}
        deeds = deque(methodcaller("flag", *one) for one in there.items() if "flag" in self.switched)
        deeds.extend(
            methodcaller("merge", number, there[number], other, others[other], moment_of(there[number], documents))
            for number, other in pairs
            if number in there and other in others and other not in ending
        )
        deeds.extend(methodcaller("invalidate", contradiction) for contradiction in found)
        deeds.extend(methodcaller("promote", fact, support) for fact, support in raised.items())
        if round.is_dry:
            with self.store.read() as connection:
                desk = _Desk(connection, namespace, now, counts, notes, merged, is_dry=True)
                for deed in deeds:
                    deed(desk)
            return last
        while True:
            with self.store.write() as connection:
                again = reviews.schedule(connection, namespace)
                if again is not None and again.tidied != tidied:
                    return last  # another process was faster
                # What is done already, as this ended half-way, is passed over.
                desk = _Desk(connection, namespace, now, counts, notes, merged, is_dry=False)
                ends = time.monotonic() + HELD_SECONDS
                while deeds:
                    deeds.popleft()(desk)
                    if time.monotonic() >= ends:
                        break
                if not deeds:
                    moments = {"wall": round.now, "moment": round.now} if again is None else {}
                    reviews.set_schedule(connection, namespace, tidied=last, **moments)
                    return last
            if round.is_over:
                return last
            time.sleep(BREATH_SECONDS)  # others write meanwhile


@dataclass
class _Desk:
    """What is done to single passages, inside one transaction; dry, it only counts."""

    connection: Connection
    namespace: int
    now: datetime
    counts: Counter[str]
    notes: dict[str, None]  # in their order
    merged: set[int]  # what a dry round would have archived by now
    is_dry: bool

    def flag(self, number: int, passage: Passage) -> None:
        """Keep junk out of the neural memory."""
        why = flag_of(passage.text)
        status = statuses.status_of(self.connection, self.namespace, [number]).get(number)
        if why is None or (status and status.flag is not None) or not self._is_there(number):
            return
        self._did("flagged", passage.id, why)
        if not self.is_dry:
            statuses.set_status(self.connection, self.namespace, number, flag=why)
            self._log("flag", number, passage.id, {"why": why})

    def merge(self, number: int, passage: Passage, other: int, kept: Passage, told_at: datetime | None) -> None:
        """Archive the newer of two that say the same of the same, where they were said on the same occasion, nothing of
        it has ended in between, and users stated no fact with it that the older one lacks."""
        own, other_ = ((p.title, p.session, p.occurred_at, said(p.text)) for p in (passage, kept))
        if own != other_ or passage.metadata.get("pinned") or self.merged & {number, other}:
            return
        known = statuses.status_of(self.connection, self.namespace, [number, other])
        ours, theirs = known.get(number), known.get(other)
        if (ours and (ours.archived_at or ours.merged_into)) or (theirs and (theirs.archived_at or theirs.invalid_at)):
            return  # done, or undone, or given way itself
        found = validities.validities_of(self.connection, self.namespace, [other])
        if any(validity.invalid_at or validity.is_spared for validity in found.values()):
            return  # what had ended, or was found to hold after all, was said again: when, the newer one tells
        if links.brings_facts(self.connection, self.namespace, number, other):
            return
        if not (self._is_there(number) and self._is_there(other)):
            return
        self._did("merged", passage.id, f"says the same as {kept.id}")
        if self.is_dry:
            self.merged.add(number)
        else:
            statuses.set_status(self.connection, self.namespace, number, archived_at=self.now, merged_into=kept.id)
            reviews.count_uses(self.connection, self.namespace, [other], self.now)
            if told_at is not None:
                say_again(self.connection, self.namespace, other, kept.id, told_at, kept.occurred_at is not None)
            self._log("merge", number, passage.id, {"into": kept.id, "why": "it says the same in the same words"})

    def invalidate(self, found: Contradiction) -> None:
        """End a fact where the one that contradicts it begins."""
        older, newer, told = found.older, found.newer, found.tellings
        if found.is_doubted:
            self._doubt(found)
            return
        known = validities.validities_of(self.connection, self.namespace, [older.passage])
        by = statuses.id_of(self.connection, self.namespace, newer.passage)
        id_ = statuses.id_of(self.connection, self.namespace, older.passage)
        if by is None or id_ is None or newer.moment is None:
            return
        fact = fact_of(older)
        held = known.get((older.passage, fact), validities.Validity())
        if is_settled(found, held) or (held.invalid_at is None and held.valid_from and held.valid_from > self.now):
            return  # done, or said again or undone since it was found
        if held.invalid_at and statuses.is_refused(self.connection, self.namespace, id_, fact, by):
            return  # an undo gave back the end that it had before
        why = (
            f"what {by} says of the same subject holds since {newer.moment:%Y-%m-%d}; subjects of {older.relation!r} "
            f"have one object at a time (functionality {told.functionality:.2f}: what is said of others speaks "
            f"{told.held:.1f} for that and {told.other:.1f} against it)"
        )
        self._did("invalidated", id_, why)
        if not self.is_dry:
            values = {"valid_from": older.moment, "invalid_at": newer.moment, "by_passage": by}
            validities.set_validity(self.connection, self.namespace, older.passage, fact, **values)
            before = {"before": held.as_told()} if held.invalid_at else {}  # what an undo gives back
            self._log("invalidate", older.passage, id_, {"fact": fact, "by": by, "why": why, **before})
            validities.settle(self.connection, self.namespace, older.passage)

    def _doubt(self, found: Contradiction) -> None:
        """Tell of a newer fact that is not trusted enough to end the older one: both go on to hold."""
        id_ = statuses.id_of(self.connection, self.namespace, found.newer.passage)
        against = statuses.id_of(self.connection, self.namespace, found.older.passage)
        if id_ is not None and against is not None:
            trusts = f"it is trusted {found.newer.trust:g}, and what it contradicts in {against} {found.older.trust:g}"
            self._did("doubted", id_, trusts)

    def promote(self, fact: tuple[int, str, int], support: tuple[int, int, int] | None) -> None:
        """Promote a fact that several events of several sources support, demote one that lost its support."""
        is_promoted, decision = semantic.decision_on(self.connection, self.namespace, fact)
        if decision is not None:
            return  # somebody has undone it, or its demotion, since it was looked at
        if not self.is_dry:
            semantic.set_semantic(self.connection, self.namespace, fact, support and support[:2], self.now)
        if is_promoted == bool(support):
            return  # only its support has changed
        events, sources, newest = support or semantic.support_of(self.connection, self.namespace, fact)
        id_ = None if newest is None else statuses.id_of(self.connection, self.namespace, newest)
        if newest is None or id_ is None:
            return
        why = f"{events} events of {sources} sources say so"
        self._did("promoted" if support else "demoted", id_, why)
        if not self.is_dry:
            detail = {"fact": validities.fact_id(*fact), "why": why}
            self._log("promote" if support else "demote", newest, id_, detail)

    def _is_there(self, number: int) -> bool:
        """Whether a passage was not forgotten or updated since it was looked at."""
        return statuses.id_of(self.connection, self.namespace, number) is not None

    def _did(self, what: str, id_: str, why: str) -> None:
        note = f"{id_} {'would be ' if self.is_dry else ''}{what}: {why}"
        if self.is_dry and note in self.notes:
            return  # a batch before this one would have done it
        self.counts[what] += 1
        self.notes[note] = None

    def _log(self, action: str, number: int, id_: str, detail: dict[str, Any]) -> None:
        statuses.log_change(self.connection, self.namespace, action, number, id_, self.now, detail)


def _promotions(connection: Connection, namespace: int) -> dict[tuple[int, str, int], tuple[int, int, int] | None]:
    """What is to be promoted, with its support, and what demoted (None)."""
    now = semantic.supported(connection, namespace, EVENTS, SOURCES)
    before = semantic.all_semantic(connection, namespace)
    changed: dict[tuple[int, str, int], tuple[int, int, int] | None] = {
        fact: support
        for fact, support in now.items()
        if fact not in before or (before[fact][2] is None and before[fact][:2] != support[:2])
    }
    changed |= dict.fromkeys(fact for fact, (*_, decision) in before.items() if decision is None and fact not in now)
    return changed


def _strengthen(connection: Connection, namespace: int, now: datetime, is_dry: bool) -> int:
    """Hebbian: an edge gains with each use a share of what is left to the most, and relaxes to 1. Where edges are read,
    those of one passage keep their sum (graph.py), so that what gains does so at the cost of the rest.
    """
    by_passage: dict[int, dict[int, float]] = {}
    before: dict[int, dict[int, float]] = {}
    used: set[int] = set()
    for passage, entity, strength, pending, at in edges.all_strengths(connection, namespace):
        relaxed = 1 + (strength - 1) * 0.5 ** (max(0.0, days_between(at, now)) / HALF_LIFE)
        new = relaxed + (MOST_STRENGTH - relaxed) * (1 - (1 - LEARNING) ** pending)
        by_passage.setdefault(passage, {})[entity] = new
        before.setdefault(passage, {})[entity] = strength
        if pending:
            used.add(passage)
    count = 0
    for passage, own in by_passage.items():
        moved = max(abs(own[entity] - before[passage][entity]) for entity in own)
        if moved < NOTICEABLE and passage not in used:
            continue
        count += 1
        if is_dry:
            continue
        kept = {entity: strength for entity, strength in own.items() if strength > 1 + NOTICEABLE / 2}
        edges.set_strengths(connection, namespace, passage, kept, now)
        id_ = statuses.id_of(connection, namespace, passage)
        if id_ is not None:
            why = "its paths were of use" if passage in used else "relaxed: not used for a while"
            detail = {"why": why, "before": {str(entity): value for entity, value in before[passage].items()}}
            statuses.log_change(connection, namespace, "strengthen", passage, id_, now, detail)
    return count
