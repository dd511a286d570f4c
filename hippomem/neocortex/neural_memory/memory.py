"""The neural memory of one namespace: what feedback taught, read before every recall, and its rehearsal by replay.

Three parts learn. The fast store takes every event in one shot; the experts' weights follow it; the slow map learns
from replays alone. It is a view of the log: `learn`, `unlearn` and `replay` in the log's order give the same state,
whoever does it. Nothing here knows of databases: hippomem/feedback.py follows the log.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hippomem.neocortex.neural_memory.association import Association, Floats, Reading, Vote
from hippomem.neocortex.neural_memory.experts import ExpertWeights
from hippomem.neocortex.neural_memory.fast_store import CAPACITY, FastStore
from hippomem.neocortex.neural_memory.slow_map import Map, MapOptions, map_of

# Chosen on the first two conversations of LoCoMo, but AKIN and REPEATED, which single lessons and one repeated lesson
# on eval/notes.json and HotpotQA called for.
MOVE = 0.35  # λ: how far a reading moves the query along what store and map say
AKIN = 0.5  # cosine of the nearest stored query from which the store moves a query in full
VOTE, SHARPNESS = 4.0, 8  # of a vote by a query like this one to the letter; how fast it falls with the cosine
GUARD_LOSS = 0.05  # of the guard's recall, at most, or a rehearsal is rolled back
KEPT_PAIRS = 256  # that dampening weighs the forgotten ones against
REPEATED = 0.95  # cosine from which a question about the same passages is one that was asked before
LOOKED_BACK = 256  # events about the same passages: were it all, thousands about one would cost the square of that
LEARNED_HALF = 0.5  # of its loss: an event whose loss the map has brought below this is absorbed


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether an event is found by its own cue. `rank` is that of its value among all stored ones, by cosine to what
    the memory makes of its query, from 1; None where a number is not finite, which is a failure. `loss` is |M(q) - v|².
    """

    number: int
    rank: int | None
    among: int
    loss: float

    @property
    def found(self) -> bool:
        """Whether it comes first."""
        return self.rank == 1


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a rehearsal did: the events in the order they were learned, interferers included; whether it was kept; the
    mean loss of the asked events before and after; the guard's recall before and after; which events the map has
    absorbed. `reason` says why it was rolled back.
    """

    numbers: tuple[int, ...]
    kept: bool
    loss_before: float
    loss_after: float
    guard_before: float = 1.0
    guard_after: float = 1.0
    absorbed: tuple[int, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class MapState:
    """Everything that rehearsals change: what `snapshot` gives and `rollback` takes. A copy, never shared."""

    arrays: dict[str, NDArray[Any]]
    sums: Floats
    count: float
    replayed: dict[int, int]
    absorbed: set[int]


@dataclass(slots=True)
class _Means:
    """Running mean of the keys that were rehearsed: raw, they have so much in common that a perceptron breaks on it."""

    sums: Floats
    count: float = 0.0

    def mean(self) -> Floats:
        return self.sums / np.float32(self.count) if self.count > 0 else self.sums


@dataclass(slots=True)
class NeuralMemory:
    """`dimension` is that of the embeddings, `terms` the number of the ranking's experts.

    `applied` and `mark` are how far it has followed the log; `stale` counts events that the map learned and that have
    been taken out or changed since: it is dampened for them, and to be rebuilt from the log. Not safe for threads: the
    owner holds a lock.
    """

    dimension: int
    terms: int
    options: MapOptions = field(default_factory=MapOptions)
    capacity: int = CAPACITY
    applied: int = 0
    mark: str = ""
    stale: int = 0
    store: FastStore = field(default_factory=FastStore)
    experts: ExpertWeights = field(init=False)
    map: Map = field(init=False)
    evicted: set[int] = field(default_factory=set)
    replayed: dict[int, int] = field(default_factory=dict)
    absorbed: set[int] = field(default_factory=set)
    _means: _Means = field(init=False)

    def __post_init__(self) -> None:
        self.experts = ExpertWeights.new(self.terms)
        self.map = map_of(self.dimension, self.options)
        self._means = _Means(np.zeros(self.dimension, np.float32))

    # -- learning -----------------------------------------------------------------------------------------------

    def learn(self, events: Iterable[Association]) -> None:
        """Take events in, in the order of their numbers; nothing is forgotten for it until the store is full."""
        for event in events:
            if event.number in self.store or event.number in self.evicted:
                self._amend(event)
                continue
            self.store.write([event])
            if event.number > self.experts.last:
                self._teach_experts(event)
            self.trim()  # each time: what the next one teaches depends on what is there

    def _teach_experts(self, event: Association) -> None:
        """What was taught before teaches them nothing: a question that is asked day after day would end up with all of
        the weight on what speaks for it, at the cost of every other one."""
        if not any(_repeats(event, earlier) for earlier in self.store.before(event, LOOKED_BACK)):
            self.experts.learn(event)

    def _amend(self, event: Association) -> None:
        """A useful passage has another text now: the store has it at once, the map with its next rebuild."""
        if event.number in self.store and not _differ(self.store[event.number], event):
            return
        self.stale += event.number in self.replayed
        if event.number in self.store:
            self.store.write([event])

    def has_other_evidence(self, event: Association) -> bool:
        """Whether the event is there, with other evidence: then the experts' weights are to be learned anew."""
        if event.number not in self.store:
            return False
        before = self.store[event.number].evidence
        if before is None or event.evidence is None:
            return before is not event.evidence
        return not np.array_equal(before, event.evidence)

    def trim(self) -> None:
        """Where the store is over its capacity, let go what the map has absorbed, oldest first, then what is oldest."""
        over = len(self.store) - self.capacity
        if over > 0:
            gone = heapq.nsmallest(over, self.absorbed)
            gone += heapq.nsmallest(over - len(gone), (n for n in self.store.numbers if n not in self.absorbed))
            self.store.remove(gone)
            self.absorbed.difference_update(gone)
            self.evicted.update(gone)

    def unlearn(self, numbers: Iterable[int]) -> bool:
        """Take events out: of the store exactly and at once; the map is dampened for those that it has rehearsed.

        The experts' weights depend on the order of all events: they are learned anew from those that are left. Returns
        False where that cannot be done from here, because some are no longer in the store: then rebuild from the log.
        """
        gone = [number for number in numbers if number in self.store or number in self.evicted]
        if not gone:
            return True
        if self.evicted:
            return False
        pairs = [self.store[number] for number in gone if number in self.replayed]
        self.store.remove(gone)
        if pairs:
            self._dampen(pairs)
        self.experts = ExpertWeights.new(self.terms)
        for number in self.store.numbers:
            self._teach_experts(self.store[number])
        return True

    def _dampen(self, pairs: Sequence[Association]) -> None:
        for event in pairs:
            times = self.replayed.pop(event.number)
            self._means.sums -= np.float32(times) * event.key
            self._means.count -= times
            self.absorbed.discard(event.number)
        kept = [self.store[n] for n in self.store.numbers if n in self.replayed][-KEPT_PAIRS:]
        if kept:
            self.map.dampen(self._pairs(pairs)[:2], self._pairs(kept)[:2])
        else:  # nothing is left of what it learned
            self.map = map_of(self.dimension, self.options)
            self._means = _Means(np.zeros(self.dimension, np.float32))
        self.stale += len(pairs)

    def differences(self, other: NeuralMemory) -> list[str]:
        """What tells this memory from another, in words; a map that waits for its rebuild is not compared."""
        found = []
        if self.store.numbers != other.store.numbers:
            found.append("other learning events")
        elif any(_differ(self.store[n], other.store[n]) for n in self.store.numbers):
            found.append("other queries, values or passages of learning events")
        if not np.allclose(self.experts.multipliers, other.experts.multipliers, atol=1e-6):
            found.append("other weights of experts")
        if not self.stale and not other.stale:
            ours, theirs = self.map.arrays(), other.map.arrays()
            if self.replayed != other.replayed:
                found.append("other rehearsals")
            elif any(not np.allclose(ours[n], theirs.get(n, np.nan), atol=1e-4) for n in ours):
                found.append("other weights of the slow map")
        return found

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def empty(self) -> bool:
        """Whether there is nothing to read: then a recall costs what it did without a neural memory."""
        return not len(self.store) and not self.replayed

    @property
    def map_speaks(self) -> bool:
        """Whether the slow map is read: where events that it has rehearsed may no longer be in the store."""
        return bool(self.replayed and self.evicted)

    def read(self, query: Floats) -> Reading:
        """What was learned about queries like this one (d,): where to search, and votes for passages.

        q' = normalise(q + λ [g Σ a_i (v_i - q_i) + (1 - g) (M(q) - q)]) with g = max cos(q, q_i): where the store knows
        a query like this one it speaks, else the map. While all events are in the store it knows what the map knows,
        and more exactly: then q' = normalise(q + λ min(1, g/.5)² Σ a_i (v_i - q_i)). Attention sums up to 1 however
        unlike all stored queries are, and what helped such is no help here. The vote for p is 4 g^8
        Σ_(i: p useful) a_i: decisive where the question was asked before, next to nothing where it was not.
        """
        moved = query.astype(np.float32)
        votes: Mapping[int, Vote] = {}
        likeness = 0.0
        share = 0.0
        if len(self.store):
            attention = self.store.attend(query)
            likeness = max(0.0, float(attention.cosines[0]))
            share = likeness if self.map_speaks else min(1.0, likeness / AKIN) ** 2
            moved = moved + np.float32(MOVE * share) * self.store.shift(attention)
            scale = VOTE * likeness**SHARPNESS
            votes = {
                passage: Vote(scale * vote.attention, vote.queries)
                for passage, vote in self.store.votes(attention).items()
            }
        if self.map_speaks:
            moved = moved + np.float32(MOVE * (1 - share)) * self.map.read(query - self._means.mean())
        norm = float(np.linalg.norm(moved))
        if not np.isfinite(norm) or norm == 0:
            moved, norm = query, 1.0
        return Reading(np.asarray(moved / np.float32(norm), np.float32), votes, likeness)

    # -- replay -------------------------------------------------------------------------------------------------

    def surprise(self, numbers: Sequence[int]) -> Floats:
        """How far off the map is for stored events, |M(q) - v|²: (n,). The priority of their replay."""
        if not numbers:
            return np.empty(0, np.float32)
        keys, values, _ = self._pairs([self.store[number] for number in numbers])
        made = keys + self.map.read(keys)
        return np.asarray(((made - values) ** 2).sum(axis=1), np.float32)

    def replayable(self) -> list[int]:
        """The stored events that the map can learn: what was useful. Ascending."""
        return [number for number in self.store.numbers if self.store[number].confidence > 0]

    def draw(self, budget: int, rng: np.random.Generator) -> list[int]:
        """`budget` events to rehearse, without repetition, each drawn by its surprise. Fewer where there are fewer."""
        numbers = self.replayable()
        surprise = self.surprise(numbers).astype(np.float64)
        surprise = np.where(np.isfinite(surprise), surprise, 1e6) + 1e-9
        count = min(budget, len(numbers))
        if count <= 0:
            return []
        return [int(n) for n in rng.choice(numbers, size=count, replace=False, p=surprise / surprise.sum())]

    def rehearse(
        self, numbers: Sequence[int], *, interferers: int = 0, guard: Sequence[int] = (), passes: int = 1
    ) -> Rehearsal:
        """Replay events into the map, each followed by its `interferers` nearest ones, `passes` times.

        Rolled back where the recall of the `guard` falls by more than .05, or a number is not finite. Events that are
        not in the store (forgotten meanwhile, or let go) are passed over.
        """
        there = set(self.replayable())
        asked = [number for number in numbers if number in there]
        guarded = [number for number in guard if number in there]
        once: list[int] = []
        for number in asked:
            once.append(number)
            once += [near for near in self.store.nearest_to(number, interferers) if near in there]
        order = once * passes
        before, loss_before, guard_before = self.snapshot(), self._mean_loss(asked), self._recall_of(guarded)
        if not order:
            return Rehearsal((), True, loss_before, loss_before, guard_before, guard_before)
        finite = self.replay(order)
        loss_after, guard_after = self._mean_loss(asked), self._recall_of(guarded)
        reason = ""
        if not finite or not np.isfinite(loss_after):
            reason = "a number was not finite"
        elif guard_after < guard_before - GUARD_LOSS:
            reason = f"the guard's recall fell from {guard_before:.2f} to {guard_after:.2f}"
        if reason:
            self.rollback(before)
            return Rehearsal(tuple(order), False, loss_before, loss_after, guard_before, guard_after, (), reason)
        absorbed = self._absorbed_of(dict.fromkeys(order))
        self.absorbed.update(absorbed)
        return Rehearsal(tuple(order), True, loss_before, loss_after, guard_before, guard_after, absorbed)

    def replay(self, order: Sequence[int], absorbed: Iterable[int] = ()) -> bool:
        """Learn stored events in exactly this order, without probes: for following the log. Events that are gone are
        passed over. False, and nothing has changed, where a number is not finite.
        """
        events = [self.store[number] for number in order if number in self.store]
        if not events:
            return True
        before = self._means
        self._means = _Means(before.sums.copy(), before.count)
        for event in events:
            self._means.sums += event.key
            self._means.count += 1
        if not self.map.update(*self._pairs(events)):
            self._means = before
            return False
        for event in events:
            self.replayed[event.number] = self.replayed.get(event.number, 0) + 1
        self.map.end_round()
        self.absorbed.update(number for number in absorbed if number in self.store)
        return True

    def probe(self, numbers: Sequence[int], *, whole: bool = False) -> list[Probe]:
        """Measured recall of events, each by its own cue: by the map alone, or by the `whole` memory."""
        there = [number for number in numbers if number in self.store]
        if not there:
            return []
        keys, targets, _ = self._pairs([self.store[number] for number in there])
        made = keys + self.map.read(keys)
        losses = ((made - targets) ** 2).sum(axis=1)
        sought = made + self._means.mean()
        if whole:
            sought = np.stack([self.read(self.store[number].key).vector for number in there])
        values = self.store.distinct_values()
        probes = []
        for number, vector, loss in zip(there, sought, losses, strict=True):
            own = float(vector @ self.store[number].value)
            rank = 1 + int(np.count_nonzero(values @ vector > own + 1e-6))
            finite = np.isfinite(own) and np.isfinite(loss)
            probes.append(Probe(number, rank if finite else None, len(values), float(loss)))
        return probes

    def snapshot(self) -> MapState:
        """The state of everything that rehearsals change."""
        arrays = {name: array.copy() for name, array in self.map.arrays().items()}
        return MapState(arrays, self._means.sums.copy(), self._means.count, dict(self.replayed), set(self.absorbed))

    def rollback(self, state: MapState) -> None:
        """Be as `snapshot` found it."""
        self.map.restore(state.arrays)
        self._means = _Means(state.sums.copy(), state.count)
        self.replayed, self.absorbed = dict(state.replayed), set(state.absorbed)

    def _pairs(self, events: Sequence[Association]) -> tuple[Floats, Floats, Floats]:
        mean = self._means.mean()
        keys = np.stack([event.key for event in events]) - mean
        values = np.stack([event.value for event in events]) - mean
        return keys, values, np.array([max(0.0, event.confidence) for event in events], np.float32)

    def _mean_loss(self, numbers: Sequence[int]) -> float:
        return float(self.surprise(numbers).mean()) if numbers else 0.0

    def _recall_of(self, numbers: Sequence[int]) -> float:
        probes = self.probe(numbers)
        return sum(probe.found for probe in probes) / len(probes) if probes else 1.0

    def _absorbed_of(self, numbers: Iterable[int]) -> tuple[int, ...]:
        there = [number for number in numbers if number in self.store]
        keys, values, _ = self._pairs([self.store[number] for number in there])
        untouched = ((keys - values) ** 2).sum(axis=1)
        return tuple(
            n for n, own, at in zip(there, self.surprise(there), untouched, strict=True) if own < LEARNED_HALF * at
        )


def _repeats(event: Association, earlier: Association) -> bool:
    """Whether an event says once more what an earlier one about the same passages has taught the experts."""
    return (
        earlier.evidence is not None
        and (earlier.confidence > 0) == (event.confidence > 0)
        and float(earlier.key @ event.key) >= REPEATED
    )


def _differ(one: Association, two: Association) -> bool:
    same = one.passages == two.passages and one.confidence == two.confidence
    return not (same and np.array_equal(one.key, two.key) and np.array_equal(one.value, two.value))
