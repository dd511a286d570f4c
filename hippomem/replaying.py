"""Replay wired into `Memory`: how a passage is looked up by its own cue, what a use is, and what can be undone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from hippomem.checks import checked_count
from hippomem.clock import Clock
from hippomem.consolidation.curves import curve_called
from hippomem.consolidation.grades import SHOWN, Probe, cue_of
from hippomem.consolidation.quality import Echoes
from hippomem.consolidation.replay import Commit, Found, ReplayStep
from hippomem.consolidation.round import Step
from hippomem.consolidation.tidying import TidyStep
from hippomem.consolidation.trust import trust_of
from hippomem.consolidation.undo import restore, say_again, undo
from hippomem.feedback import Learning
from hippomem.hippocampus.keys import entity_key
from hippomem.hippocampus.limits import Hidden, eligible
from hippomem.hippocampus.ranking import rank
from hippomem.hippocampus.sought import Sought
from hippomem.hippocampus.view import View
from hippomem.question_vectors import QuestionVectors
from hippomem.settings import Settings
from hippomem.storage import edges, links, reads, reviews, statuses, writes
from hippomem.storage.entities import entities_named
from hippomem.storage.rows import NewPassage
from hippomem.storage.store import Store
from hippomem.types import Answer, Event, Passage, Recall, RecalledPassage, Triple
from hippomem.viewing import Synced, Viewing
from hippomem.writing import Writer, as_event

INTERFERERS = 2  # nearest other events, rehearsed along
GUARDS = 16  # events whose recall may not fall
WORDS_CHARS = 2000  # of a text that is looked up by its own words
TWINS = 4  # passages most like one that are looked at for a duplicate


@dataclass(frozen=True)
class GraphChannel:
    """The graph index as a channel of replay. It holds what was written to it; what it suffers is competition."""

    store: Store
    namespace: Callable[[], int]
    lock: threading.RLock
    synced: Synced
    questions: QuestionVectors
    hidden: Hidden
    clock: Clock
    name: str = "graph"

    def probe(self, passage: int) -> Found | None:
        """Recall with the passage's own cue. None where it is gone."""
        with self.lock, self.synced() as (_, connection):
            there = reads.by_number(connection, self.namespace(), [passage]).get(passage)
            facts = links.facts_of(connection, self.namespace(), [passage]).get(passage, [])
        if there is None:
            return None
        cue = cue_of(there.title, there.text, facts)
        found = self._looked_up(passage, cue)
        if found is not None and not (found.rank is not None and found.rank < SHOWN):
            # A cue that others share ("Ada likes", a document's title) cannot bring all of them: then its words tell.
            own_words = f"{there.title} {there.text}".strip()[:WORDS_CHARS]
            by_words = self._looked_up(passage, own_words)
            if by_words is not None and by_words.rank is not None:
                found = replace(by_words, rank=max(1, by_words.rank))
        return None if found is None else Found(there.id, found, cue)

    def _looked_up(self, passage: int, cue: str) -> Probe | None:
        """Where a passage comes by a cue, without those that a recall passes over and those of the very same text,
        which are no competition. None where it is gone."""
        vector = self.questions.encode(cue)  # outside the lock: other threads go on meanwhile
        with self.lock, self.synced() as (view, connection):
            row = view.row_of(passage)
            if row is None:
                return None
            hidden = self.hidden.rows(view, connection, self.namespace(), self.clock.now())
            same = view.rows_of(reads.of_same_content(connection, self.namespace(), passage))
            others = np.setdiff1d(np.concatenate([hidden, same]), [row])
            allowed = np.ones(view.graph.rows, np.bool_) if len(others) else None
            if allowed is not None:
                allowed[others] = False
            ranking = rank(view, cue, Sought(vector), SHOWN + 1, allowed)
            return _place(ranking.order.tolist(), [score for score, _ in ranking.at(ranking.order)], row)

    def renew(self) -> bool:
        """What is forgotten is out of the graph at once."""
        return False

    def carry_out(self, passage: int, found: Found, is_rehearsed: bool, commit: Commit) -> None:  # noqa: ARG002
        """Only the review: the graph does not learn by repetition."""
        with self.store.write() as connection:
            commit(connection, False)

    def alike(self, passage: int) -> Sequence[tuple[int, float]]:
        """The passages most like one, by cosine, without itself."""
        with self.lock, self.synced() as (view, _):
            row = view.row_of(passage)
            if row is None or view.vectors is None:
                return []
            vector = view.vectors.take(np.array([row]))[0]
            rows, cosines = view.vectors.search(vector, TWINS + 1, view.graph.alive)
            pairs = zip(view.numbers[rows].tolist(), cosines.tolist(), strict=True)
            return [(number, cosine) for number, cosine in pairs if number != passage]


def _place(order: list[int], scores: list[float], row: int) -> Probe:
    """Where a row stands among those that came, given best first with their scores."""
    if row not in order:
        return Probe(None)
    rank_ = order.index(row)
    lead = (scores[0] - scores[1]) / max(abs(scores[0]), 1e-6) if len(order) > 1 else 1.0
    return Probe(rank_, scores[rank_], lead if rank_ == 0 else 0.0)


@dataclass(frozen=True)
class NeuralChannel:
    """The slow map of the neural memory as a channel of replay: it forgets as it learns other things.

    A passage is replayed by the events of feedback in which it was useful. Each is rehearsed with its nearest
    interferers, and rolled back where the recall of others falls or a number is not finite; the rehearsal is written in
    one transaction with the review, so that it is in the weights once or not at all.
    """

    store: Store
    namespace: Callable[[], int]
    learning: Learning
    trust: Callable[[Passage], float]
    name: str = "neural"

    def probe(self, passage: int) -> Found | None:
        """Look up the passage's events by their own questions, in the map alone; the worst of them counts."""
        with self.store.read() as connection:
            there = reads.by_number(connection, self.namespace(), [passage]).get(passage)
        if there is None:
            return None
        id_ = there.id
        probes = self.learning.probe(self.learning.events_of([id_]))
        cue = f"{len(probes)} of its questions"
        if not probes:
            return Found(id_, Probe(0, 1.0), cue)
        ranks = [probe.rank for probe in probes if probe.rank is not None]
        rank_ = max(ranks) - 1 if len(ranks) == len(probes) else None
        found = Probe(rank_, -max(probe.loss for probe in probes), 1.0)
        return Found(id_, found, cue, trust=self.trust(there))

    def renew(self) -> bool:
        """Rebuild the map without what was forgotten, where it is only dampened for that."""
        return self.learning.renew()

    def carry_out(self, passage: int, found: Found, is_rehearsed: bool, commit: Commit) -> None:
        """Rehearse, and write that together with the review; the review alone where nothing was learned."""
        events = self.learning.events_of([found.id]) if is_rehearsed else []
        if events:
            guard = [event for event in self.learning.draw(GUARDS, passage) if event not in events]
            done = self.learning.rehearse(
                events, interferers=INTERFERERS, guard=guard, also=lambda connection: commit(connection, True)
            )
            if done.kept and done.numbers:
                return
        with self.store.write() as connection:
            commit(connection, False)


class Replaying(Viewing):
    """Part of `Memory`, which sets what stands here."""

    settings: Settings
    _store: Store
    _writer: Writer
    _clock: Clock
    _lock: threading.RLock
    _questions: QuestionVectors
    _hidden: Hidden
    _echoes: Echoes
    _learning: Learning

    def undo(self, sequence: int) -> Passage:
        """Undo one deed of consolidation, by its `sequence` in `history`: an archiving, a merge, an invalidation, a
        strengthening, a flag, a promotion or demotion. It is not done again by itself, but what is said later
        may end a fact that stands again. Returns the passage it was about.

        Raises NotFoundError where there is no such change, InvalidInputError where it cannot be undone, or was.
        """
        checked_count(sequence, "sequence")
        self._writer.look_up()
        with self._store.write() as connection:  # as it was given: an error names it
            id_ = undo(connection, self._writer.number, int(sequence), self._clock.now())
        return self._writer.current(id_)[1]

    def _replay_steps(self) -> list[Step]:
        """The steps of a round that need no chat model."""
        on = frozenset(self.settings.consolidation_steps)
        channel = GraphChannel(
            self._store,
            lambda: self._writer.number,
            self._lock,
            self._synced,
            self._questions,
            self._hidden,
            self._clock,
        )
        common = self._store, lambda: self._writer.number, self._clock
        trust = partial(trust_of, by_source=self.settings.source_trust)
        neural = NeuralChannel(self._store, lambda: self._writer.number, self._learning, trust)
        curve = curve_called(self.settings.forgetting_curve)
        return [
            TidyStep(*common, channel.alike, trust, on),
            ReplayStep(neural, *common, curve, on, share=0.5),
            ReplayStep(channel, *common, curve, on),
        ]

    def _graded(self) -> list[tuple[datetime, str, int, float, datetime]]:
        """Every review, oldest first: when, channel, grade, predicted retrievability, when the passage was recorded."""
        with self._store.read() as connection:
            return reviews.graded(connection, self._writer.number)

    def _note_use(self, found: object, ids: Iterable[str]) -> None:
        """Passages were of use: count it, note the paths that led to them, and bring back what is archived of them."""
        recall = found.recall if isinstance(found, Answer) else found
        paths = {path.passage_id: path for path in recall.paths} if isinstance(recall, Recall) else {}
        now = self._clock.now()
        with self._store.write() as connection:
            number = self._writer.number
            there = writes.existing(connection, number, ids)
            reviews.count_uses(connection, number, there.values(), now)
            used: dict[int, set[int]] = {}
            for id_, passage in there.items():
                restore(connection, number, passage, id_, "it was of use", now)
                keys = {entity_key(step.entity) for step in paths[id_].steps} if id_ in paths else set()
                used[passage] = entities_named(connection, number, passage, keys)
            edges.count_paths(connection, number, {p: own for p, own in used.items() if own}, now)

    def _eligible(
        self,
        connection: Connection,
        view: View,
        session: str | None,
        as_of: datetime | None,
        source: str | None,
        deep: bool,
    ) -> NDArray[np.bool_] | None:
        """Which rows may come back, None where all may."""
        number = self._writer.number
        allowed = eligible(view, connection, number, session, as_of, source)
        moment = as_of or self._clock.now()
        if deep:
            return allowed
        hidden = self._hidden.rows(view, connection, number, moment, is_of_one_source=source is not None)
        if len(hidden):
            allowed = np.ones(view.graph.rows, np.bool_) if allowed is None else allowed
            allowed[hidden] = False
        return allowed

    def _echo(self, new: NewPassage, triples: Sequence[Triple]) -> Event | None:
        """The memory that a text only repeats, where that was recalled just now and the text brings nothing of its own,
        as another title or source or another session would be; None otherwise. It counts as a use."""
        if not self.settings.quality_gate or triples or new.metadata or new.occurred_at:
            return None
        with self._lock:
            ids = self._echoes.sources_of(new.text)
        if not ids:
            return None
        with self._store.read() as connection:
            if writes.existing(connection, self._writer.number, [new.id]):
                return None
            found = (reads.by_id(connection, self._writer.number, id_) for id_ in ids)
            there = next((one for one in found if one and _brings_nothing(new, one[1])), None)
            status = statuses.status_of(connection, self._writer.number, [there[0]]).get(there[0]) if there else None
        if there is None or (status and (status.archived_at or status.invalid_at)):
            return None  # what is said again may hold again
        with self._store.write() as connection:
            if statuses.id_of(connection, self._writer.number, there[0]) is None:
                return None  # forgotten or updated meanwhile
            reviews.count_uses(connection, self._writer.number, [there[0]], self._clock.now())
        return as_event(there[1], created=False)

    def _say_again(self, event: Event) -> None:
        """A memory was told that is there already: it counts as that, also where it was hidden meanwhile. Facts without
        a date hold from now on, unless it was recalled just now: then it may only be an echo."""
        is_dated = event.occurred_at is not None
        with self._store.read() as connection:
            number = writes.existing(connection, self._writer.number, [event.id]).get(event.id, 0)
            status = statuses.status_of(connection, self._writer.number, [number]).get(number)
            has_facts = bool(links.stated_in(connection, self._writer.number, [number]))
            into = [status.merged_into] if status and status.merged_into else []
            kept = writes.existing(connection, self._writer.number, into).values()
            brings_facts = any(links.brings_facts(connection, self._writer.number, number, other) for other in kept)
        with self._lock:
            heard = self._echoes.sources_of(event.text)
        if status and status.merged_into in heard and not brings_facts:
            return  # what says it in its place, and was recalled just now
        is_echo = event.id in heard
        if (status and (status.archived_at or status.invalid_at)) or (has_facts and not is_dated and not is_echo):
            with self._store.write() as connection:
                say_again(connection, self._writer.number, number, event.id, self._clock.now(), is_dated)

    def _hear(self, passages: Iterable[RecalledPassage]) -> None:
        if self.settings.quality_gate:
            self._echoes.heard((p.id, p.text) for p in passages)


def _brings_nothing(new: NewPassage, known: Passage) -> bool:
    """Whether a text is said of nothing else and comes from nowhere else than what is known. What belongs to no session
    may come back in any, as in the loops of an agent that stores what it recalls.
    """
    return (
        new.title in ("", known.title)
        and new.source in ("", known.source)
        and (known.session is None or new.session in (None, known.session))
    )
