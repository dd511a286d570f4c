"""The fast store: a modern Hopfield network of (query, useful passage) pairs, written in one shot, read by attention.

Hetero-associative read (Ramsauer et al., Hopfield Networks is All You Need, arXiv 2008.02217): a = softmax(β K q), and
the answer is Σ a_i (v_i - k_i), the way from queries like this one to what was useful for them. Attention goes to the
`NEAREST` most like keys and is exact over these; over all, ten thousand unlike keys would outweigh a like one (sparse
modern Hopfield models: Hu et al., arXiv 2309.12673).
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hippomem.importing import load_faiss
from hippomem.neocortex.neural_memory.association import Association, Floats, Vote
from hippomem.threads import one_thread

CAPACITY = 10_000  # keys: 31 MB with their values at 384 dimensions
BETA = 20.0  # inverse temperature of the attention
NEAREST = 64  # keys that get attention
COUNTED = 0.02  # of the attention: what a stored query must have to be told as one "like this one";
COUNTED_BESIDE = 0.5  # of the most that one has is enough, too: many that are equally like share the attention
CODED = 2048  # keys from which copies of one byte a number choose who may be nearest; cosines are always exact
SAME = 1e-6  # between cosines of equal keys: what rounding makes of them
CLIPPED = 0.4  # the largest number of a key that such a copy tells; in 384 dimensions most are below .15


@dataclass(frozen=True, slots=True)
class Attention:
    """What a query attends to: slots, their cosines, and their attention, which sums up to 1. Most like first."""

    slots: NDArray[np.int64]
    cosines: Floats
    weights: Floats


class FastStore:
    """Pairs by the number of their event. What is removed is gone from every later read, exactly."""

    def __init__(self) -> None:
        self._slot_of: dict[int, int] = {}
        self._events: list[Association] = []
        self._about: dict[tuple[int, ...], list[int]] = {}
        self._keys = np.empty((0, 0), np.float32)
        self._values = np.empty((0, 0), np.float32)
        self._codes: Any = None
        self._distinct: Floats | None = None

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Association]:
        return iter(self._events)

    def __contains__(self, number: int) -> bool:
        return number in self._slot_of

    def __getitem__(self, number: int) -> Association:
        return self._events[self._slot_of[number]]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the stored events, ascending."""
        return sorted(self._slot_of)

    @property
    def keys(self) -> Floats:
        """(n, d) float32."""
        return self._keys[: len(self._events)]

    @property
    def values(self) -> Floats:
        """(n, d) float32."""
        return self._values[: len(self._events)]

    def distinct_values(self) -> Floats:
        """The values, each once: (m, d) float32."""
        if self._distinct is None:  # of ten thousand that takes a tenth of a second, and every probe asks for them
            self._distinct = np.unique(self.values, axis=0)
        return self._distinct

    def before(self, event: Association, most: int) -> Iterator[Association]:
        """Earlier events about just the same passages: the last ones, at most so many, newest first."""
        numbers = self._about.get(event.passages, [])
        end = bisect_left(numbers, event.number)
        return (self[number] for number in reversed(numbers[max(0, end - most) : end]))

    def write(self, events: Iterable[Association]) -> None:
        """Store events; one of a number that is there replaces it."""
        self._distinct = None
        for event in events:
            slot = self._slot_of.get(event.number)
            if slot is None:
                slot = self._slot_of[event.number] = len(self._events)
                self._reserve(slot + 1, len(event.key))
                self._events.append(event)
                if self._codes is not None:
                    self._codes.add(_coded(event.key[None]))
            else:
                self._leave(self._events[slot])
                self._events[slot] = event
                self._codes = None
            insort(self._about.setdefault(event.passages, []), event.number)
            self._keys[slot], self._values[slot] = event.key, event.value

    def remove(self, numbers: Iterable[int]) -> None:
        """Take events out; the last one moves into the place of each, and nothing of it is left in memory."""
        self._distinct = None
        for number in numbers:
            slot = self._slot_of.pop(number, None)
            if slot is None:
                continue
            self._codes = None
            self._leave(self._events[slot])
            last = len(self._events) - 1
            if slot != last:
                self._events[slot] = self._events[last]
                self._keys[slot], self._values[slot] = self._keys[last], self._values[last]
                self._slot_of[self._events[slot].number] = slot
            self._events.pop()
            self._keys[last] = self._values[last] = 0

    def _leave(self, event: Association) -> None:
        numbers = self._about[event.passages]
        del numbers[bisect_left(numbers, event.number)]
        if not numbers:
            del self._about[event.passages]

    def attend(self, query: Floats) -> Attention:
        """a = softmax(β cos(q, k_i) + ln |c_i|) over the nearest keys to `query` (d,), which is L2-normalised."""
        slots = self._nearest(query)
        cosines = self._keys[slots] @ query
        order = np.lexsort((slots, -cosines))
        slots, cosines = slots[order], cosines[order]
        certain = np.array([math.log(abs(self._events[slot].confidence)) for slot in slots], np.float32)
        logits = np.float32(BETA) * cosines + certain
        weights = np.exp(logits - logits.max(initial=-np.inf))
        return Attention(slots, cosines, weights / weights.sum())

    def shift(self, attention: Attention) -> Floats:
        """Σ a_i (v_i - k_i) over what was useful: (d,)."""
        positive = np.array([self._events[slot].confidence > 0 for slot in attention.slots], np.bool_)
        slots, weights = attention.slots[positive], attention.weights[positive]
        return np.asarray(weights @ (self._values[slots] - self._keys[slots]), np.float32)

    def votes(self, attention: Attention) -> dict[int, Vote]:
        """For each passage the attention that its queries get; below 0 where they found it of no use."""
        sums: dict[int, list[float]] = {}
        least = min(COUNTED, COUNTED_BESIDE * float(attention.weights.max(initial=0.0)))
        for slot, weight in zip(attention.slots.tolist(), attention.weights.tolist(), strict=True):
            event = self._events[slot]
            for passage in event.passages:
                entry = sums.setdefault(passage, [0.0, 0])
                entry[0] += math.copysign(weight, event.confidence)
                entry[1] += weight >= least
        return {passage: Vote(total, int(count)) for passage, (total, count) in sums.items()}

    def nearest_to(self, number: int, count: int) -> list[int]:
        """The stored events whose keys are most like that of `number`: what a change for it disturbs most."""
        cosines = self.keys @ self[number].key
        cosines[self._slot_of[number]] = -np.inf
        best = np.argsort(-cosines, kind="stable")[: max(0, min(count, len(self) - 1))]
        return [self._events[slot].number for slot in best]

    def _nearest(self, query: Floats) -> NDArray[np.int64]:
        count = len(self._events)
        if count <= NEAREST:
            return np.arange(count)
        if count < CODED:
            return self._newest_of_most_like(self.keys @ query)
        faiss = load_faiss()

        if self._codes is None:
            kind = faiss.ScalarQuantizer.QT_8bit_direct_signed
            self._codes = faiss.IndexScalarQuantizer(self.keys.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
            self._codes.add(_coded(self.keys))
        with one_thread():
            scores, found = self._codes.search(_coded(query[None]), 2 * NEAREST)
        if scores[0][NEAREST - 1] == scores[0][-1]:  # of one question that many: these need not be the newest
            return self._newest_of_most_like(self.keys @ query)
        some = np.asarray(found[0], np.int64)
        return self._newest_of_most_like(self._keys[some] @ query, some)

    def _newest_of_most_like(self, cosines: Floats, slots: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """The `NEAREST` slots of the highest cosines, of equal ones those of the newest events: where a question was
        asked more often than that, what was learned of it last counts, and the same in every process."""
        slots = np.arange(len(cosines)) if slots is None else slots
        least = np.partition(cosines, len(cosines) - NEAREST)[len(cosines) - NEAREST]
        above, equal = slots[cosines > least + SAME], slots[np.abs(cosines - least) <= SAME]
        newest = sorted(equal.tolist(), key=lambda slot: -self._events[slot].number)[: NEAREST - len(above)]
        return np.concatenate([above, np.array(newest, np.int64)])

    def _reserve(self, rows: int, dimension: int) -> None:
        if rows > len(self._keys):
            for name in ("_keys", "_values"):
                grown = np.zeros((max(64, 2 * rows), dimension), np.float32)
                old = getattr(self, name)
                grown[: len(old)] = old if old.size else 0
                setattr(self, name, grown)


def _coded(keys: Floats) -> Floats:
    """Whole numbers from -127 to 127 for the quantiser that keeps them as they are."""
    return np.rint(keys.clip(-CLIPPED, CLIPPED) * np.float32(127 / CLIPPED))
