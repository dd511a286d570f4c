"""Which passage comes before and after which: turns of one session, notes told one after the other, and the passages
that a document was cut into.

A memory is found by its neighbours as well (temporal contiguity: Howard and Kahana, "A distributed representation of
temporal context", 2002). What a turn scores by likeness or words is smoothed along its chain: for vectors exactly, by
the length of v_i + a v_(i-1) + a v_(i+1). What follows a question answers it, and is coloured by it more: there a is
half as much again. So are notes, where they are a conversation: its turns go on about the same, and some of them ask.
Things to remember that are only told one after the other do not ask, even where they are told subject by subject; they
are not smoothed, nor is a session of them, where none says who speaks. Not so the passages of a document either: they
say what they say by themselves, and smoothing them cost 4 points of recall (eval/README.md). They are neighbours for
those who ask for context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hippomem.hippocampus.arrays import Growing, merged
from hippomem.hippocampus.talk import Session, enough_ask, hang_together

NONE = -1
VECTOR_SMOOTHING = 0.5
WORD_SMOOTHING = 0.3
ANSWERING = 1.5  # times these for a question before
TURNS = 4  # before and after that show how briefly one speaks
TERSE = 0.4  # by which the logarithms of what two say may differ without one being brief
NEAR_SECONDS = 3600.0  # between notes that were told one after the other
LOOK = 16  # notes before and after that show whether a note hangs together with the one before
STEPS = 32  # back from the end of a chain, after which it is quicker to look at all rows for a place
NEAR_CHARACTERS = 100.0  # between passages of a document that follow each other: what is cut away there is blank

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


class Place(NamedTuple):
    """A passage's place: the hash of its chain (0: in none), and where in it the passage begins and ends.

    A turn of a session has no extent (0, 0), a note neither, but a moment in seconds. A part of a document has one, in
    characters. `asks` says that a turn or note ends with a question, `spoken` that a turn says who speaks. `told` is
    the passage's place among others: in this order they were told.
    """

    chain: int
    begin: float = 0.0
    end: float = 0.0
    asks: bool = False
    spoken: bool = False
    told: int = 0


NOWHERE = Place(0)


class Chains:
    """Rows as in the view, each in at most one chain, in the order in which they were told, or by where they begin in a
    document.

    `vectors` gives the vectors of rows: (n,) -> (n, d) float32.
    """

    def __init__(
        self,
        vectors: Callable[[NDArray[np.int64]], Floats],
        chain: NDArray[np.uint64] | None = None,
        told: NDArray[np.int64] | None = None,
        before: NDArray[np.int32] | None = None,
        after: NDArray[np.int32] | None = None,
        near: NDArray[np.bool_] | None = None,
        begins: NDArray[np.float64] | None = None,
        ends: NDArray[np.float64] | None = None,
        norms: Floats | None = None,
        asks: NDArray[np.bool_] | None = None,
        spoken: NDArray[np.bool_] | None = None,
    ) -> None:
        self._vectors = vectors
        self._chain = Growing(np.uint64, start=chain)
        self._told = Growing(np.int64, start=told)
        self._before = Growing(np.int32, start=before)
        self._after = Growing(np.int32, start=after)
        self._near = Growing(np.bool_, start=near)  # to the row before: is smoothed with it
        self._begins = Growing(np.float64, start=begins)
        self._ends = Growing(np.float64, start=ends)
        self._norms = Growing(np.float32, start=norms)
        self._asks = Growing(np.bool_, start=asks)
        self._spoken = Growing(np.bool_, start=spoken)
        self._last: dict[int, int] | None = None
        self._sessions: dict[int, Session] | None = None
        self.any = bool(self._near.array.any())

    def neighbours(self, row: int) -> tuple[int, int]:
        """The rows near before and after a row, NONE where there is none; those of documents too."""
        at, follower = int(self._before.array[row]), int(self._after.array[row])
        return (
            at if at != NONE and self._is_near(at, row) else NONE,
            follower if follower != NONE and self._is_near(row, follower) else NONE,
        )

    def append(self, places: Iterable[Place]) -> None:
        """Append rows by their places.

        Notes more than NEAR_SECONDS apart are not each other's neighbours, nor are parts of documents more than
        NEAR_CHARACTERS apart, or such that overlap: these are of different documents. The vectors must be there.
        """
        touched: set[int] = set()
        turned: set[int] = set()
        last, sessions = self._last_rows(), self._counted()
        for chain, begin, end, is_asking, is_spoken, told in places:
            row = len(self._chain)
            self._chain.extend(np.array([chain], np.uint64))
            self._told.extend([told])
            self._begins.extend([begin])
            self._ends.extend([end])
            self._asks.extend([is_asking])
            self._spoken.extend([is_spoken])
            self._near.extend([False])
            self._before.extend([NONE])
            self._after.extend([NONE])
            self._norms.extend([1.0])
            if not chain:
                continue
            self._count(sessions, row, 1, turned)
            at, follower = self._between(last.get(chain, NONE), row)
            self._tie(at, row)
            self._tie(row, follower)
            if follower == NONE:
                last[chain] = row
            touched |= {row, at, follower}
        self._measure(touched | self._retied(turned))

    def remove(self, rows: Iterable[int]) -> None:
        """Take rows out of their chains; their neighbours become each other's."""
        touched: set[int] = set()
        turned: set[int] = set()
        last, sessions = self._last_rows(), self._counted()
        for row in rows:
            chain = int(self._chain.array[row])
            if not chain:
                continue
            self._count(sessions, row, -1, turned)
            at, follower = int(self._before.array[row]), int(self._after.array[row])
            self._tie(at, follower)
            if follower == NONE:
                last.pop(chain, None)
                if at != NONE:
                    last[chain] = at
            self._before.array[row] = self._after.array[row] = NONE
            self._near.array[row] = False
            self._chain.array[row] = 0
            touched |= {at, follower}
        self._measure(touched | self._retied(turned))

    def smooth(self, values: Floats, share: float = WORD_SMOOTHING) -> Floats:
        """To each value (rows,) a share of its neighbours'."""
        if not self.any:
            return values
        smoothed = values.copy()
        later = np.nonzero(self._near.array)[0]
        earlier = self._before.array[later]
        smoothed[later] += self._share(earlier, share) * values[earlier]
        smoothed[earlier] += np.float32(share) * values[later]  # a row comes before one row at most
        return smoothed

    def smooth_some(self, rows: Rows, values: Callable[[Rows], Floats], share: float = WORD_SMOOTHING) -> Floats:
        """As `smooth`, of some rows (n,), where `values` gives those of any rows (m,), ascending: (m,)."""
        if not self.any:
            return values(rows)
        if len(rows) == len(self._near):
            return self.smooth(values(rows), share)
        before, after = self.around(rows)
        if max(before.max(initial=NONE), after.max(initial=NONE)) == NONE:
            return values(rows)
        every = merged(rows, before, after)
        every = every[every != NONE]
        known = values(every)
        smoothed = known[np.searchsorted(every, rows)]
        for neighbours in (before, after):
            linked = np.nonzero(neighbours != NONE)[0]
            near = neighbours[linked]
            own = self._share(near, share) if neighbours is before else np.float32(share)
            smoothed[linked] += own * known[np.searchsorted(every, near)]
        return smoothed

    def smooth_likeness_of(self, rows: Rows, likeness: Callable[[Rows], Floats]) -> Floats:
        """Inner products of unit vectors to those of the smoothed unit vectors, of some rows (n,), where `likeness`
        gives those of any rows (m,), ascending: (m,)."""
        smoothed = self.smooth_some(rows, likeness, VECTOR_SMOOTHING)
        return smoothed / self._norms.array[rows] if self.any else smoothed

    def around(self, rows: Rows) -> tuple[Rows, Rows]:
        """The rows near before and after each of `rows` (n,), NONE where there is none."""
        near = self._near.array
        before, after = self._before.array[rows].astype(np.int64), self._after.array[rows].astype(np.int64)
        before[~near[rows]] = NONE
        after[~near[after] | (after == NONE)] = NONE  # NONE looks at the last row, whatever it is
        return before, after

    def onward(self, rows: Rows) -> tuple[Rows, Rows]:
        """The rows near after each of `rows` (n,), and those near after these, NONE where there is none."""
        _, next_ = self.around(rows)
        next_but_one = np.full_like(next_, NONE)
        there = next_ != NONE
        next_but_one[there] = self.around(next_[there])[1]
        return next_, next_but_one

    def are_asking(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of `rows` (n,) ask in a conversation, and answer nothing: (n,)."""
        return np.asarray(self._asks.array[rows] & ~self.are_alone(rows) & ~self.are_answers(rows))

    def are_answers(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of `rows` (n,) follow a question in a conversation: (n,)."""
        if not self.any:
            return np.zeros(len(rows), np.bool_)
        before, _ = self.around(rows)
        return np.asarray((before != NONE) & self._asks.array[before])

    def terseness(self, rows: Rows, lengths: Callable[[Rows], Floats]) -> Floats:
        """How much briefer the speakers at `rows` (n,) are than those they talk with: the difference of the mean
        logarithms of what they say, less TERSE, 0 and above: (n,). `lengths` gives the logarithms of any rows.

        Two take turns: what is two or four turns away is by the same, what is one or three away by the other.
        """
        near = self._near.array
        total, count = np.zeros((2, len(rows)), np.float32), np.zeros((2, len(rows)), np.float32)  # own, other's
        total[0], count[0] = lengths(rows), 1
        for ways, is_back in ((self._before.array, True), (self._after.array, False)):
            at, there = rows, np.ones(len(rows), np.bool_)
            for step in range(1, TURNS + 1):
                next_ = ways[at]
                there = there & (next_ != NONE) & near[at if is_back else next_]
                at = np.where(there, next_, at)
                total[step % 2] += lengths(at) * there
                count[step % 2] += there
        own, other = total / np.maximum(count, 1)
        return np.where(count[1] > 0, np.maximum(0, other - own - np.float32(TERSE)), np.float32(0))

    def say_who(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of `rows` (n,) are turns that say who speaks: (n,)."""
        return np.asarray(self._spoken.array[rows])

    def are_told(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of `rows` (n,) are turns of a session or notes, and no documents or parts of such: (n,)."""
        has_extent = self._begins.array[rows] < self._ends.array[rows]
        return np.asarray((self._chain.array[rows] != 0) & ~has_extent)

    def are_alone(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of `rows` (n,) are smoothed with nothing before or after them: (n,)."""
        if not self.any:
            return np.ones(len(rows), np.bool_)
        before, after = self.around(rows)
        return np.asarray((before == NONE) & (after == NONE))

    def among(self, rows: Rows, others: Rows) -> NDArray[np.bool_]:
        """Which of `rows` (n,) are in the chain of one of `others` (m,): (n,)."""
        own = self._chain.array[rows]
        return np.asarray((own != 0) & np.isin(own, self._chain.array[others]))

    def with_neighbours(self, rows: Rows) -> Rows:
        """`rows` and those near them, each once, ascending."""
        around = self.around(rows) if self.any else ()
        near = [neighbours[neighbours != NONE] for neighbours in around]
        return merged(rows, *near)

    def frozen(self) -> Chains:
        """What there is now, whatever comes."""
        arrays: dict[str, Any] = self.compact(np.arange(len(self._chain)))
        return Chains(self._vectors, **arrays)

    def compact(self, kept: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
        """The constructor's arrays for these live rows, in this order."""
        place = np.full(len(self._chain) + 1, NONE, np.int32)  # the last one is what NONE points to
        place[kept] = np.arange(len(kept), dtype=np.int32)
        return {
            "chain": self._chain.array[kept],
            "told": self._told.array[kept],
            "before": place[self._before.array[kept]],
            "after": place[self._after.array[kept]],
            "near": self._near.array[kept],
            "begins": self._begins.array[kept],
            "ends": self._ends.array[kept],
            "norms": self._norms.array[kept],
            "asks": self._asks.array[kept],
            "spoken": self._spoken.array[kept],
        }

    def _tie(self, first: int, second: int) -> None:
        if first != NONE:
            self._after.array[first] = second
        if second != NONE:
            self._before.array[second] = first
            self._near.array[second] = self._are_turns(first, second)

    def _is_near(self, first: int, second: int) -> bool:
        apart = float(self._begins.array[second] - self._ends.array[first])
        return 0 <= apart <= NEAR_CHARACTERS if self._has_extent(second) else abs(apart) <= NEAR_SECONDS

    def _share(self, before: Rows, share: float) -> Floats:
        """What a row takes of those `before` it (n,): (n,)."""
        return np.where(self._asks.array[before], np.float32(ANSWERING * share), np.float32(share))

    def _are_turns(self, first: int, second: int) -> bool:
        """Whether both are turns of a conversation."""
        if first == NONE or not self._is_turn(first) or not self._is_turn(second):
            return False
        return self._counted()[int(self._chain.array[second])].is_conversation

    def _count(self, sessions: dict[int, Session], row: int, by: int, turned: set[int]) -> None:
        """A turn more or less (`by`): a session that becomes a conversation by it, or none, has `turned`."""
        if not self._is_turn(row):
            return
        chain = int(self._chain.array[row])
        session = sessions.setdefault(chain, Session())
        was = session.is_conversation
        session.turns += by
        session.talking += by * bool(self._asks.array[row] or self._spoken.array[row])
        if session.is_conversation != was:
            turned.add(chain)

    def _counted(self) -> dict[int, Session]:
        """The sessions by their chain."""
        if self._sessions is None:
            turns = (self._chain.array != 0) & (self._begins.array == 0) & (self._ends.array == 0)
            chains, at = np.unique(self._chain.array[turns], return_inverse=True)
            talking = np.bincount(at, self._asks.array[turns] | self._spoken.array[turns], len(chains))
            counts = zip(np.bincount(at).tolist(), talking.astype(np.int64).tolist(), strict=True)
            self._sessions = {chain: Session(*own) for chain, own in zip(chains.tolist(), counts, strict=True)}
        return self._sessions

    def _retied(self, sessions: Iterable[int]) -> set[int]:
        """Smooth the turns of these sessions where they are conversations now, and else no longer; returns them."""
        turns: set[int] = set()
        for chain in sessions:
            at = self._last_rows().get(chain, NONE)
            while at != NONE:
                before = int(self._before.array[at])
                self._near.array[at] = self._are_turns(before, at)
                turns.add(at)
                at = before
        return turns

    def _is_turn(self, row: int) -> bool:
        return bool(self._begins.array[row] == self._ends.array[row] == 0)

    def _judge(self, touched: set[int]) -> set[int]:
        """Which notes near the touched ones are smoothed with the note before. Returns those where that changed, and
        those before them.
        """
        changed: set[int] = set()
        for row in {at for note in touched if self._is_note(note) for at in self._stretch(note, LOOK, LOOK + 1)}:
            told = self._stretch(row, LOOK + 1, LOOK)
            before = int(self._before.array[row])
            is_near = before in told and enough_ask(self._asks.array[told])
            is_near = is_near and hang_together(self._vectors(np.array(told, np.int64)))
            if is_near != self._near.array[row]:
                self._near.array[row] = is_near
                changed |= {row, before}
        return changed

    def _stretch(self, row: int, back: int, on: int) -> list[int]:
        """The notes told before and after one without a long break, in their order, so many of them at most."""
        found = [row]
        for ways, most in ((self._before, back), (self._after, on)):
            at = row
            for _ in range(most):
                other = int(ways.array[at])
                if other == NONE or not self._is_near(*((other, at) if ways is self._before else (at, other))):
                    break
                found.insert(0 if ways is self._before else len(found), other)
                at = other
        return found

    def _is_note(self, row: int) -> bool:
        return row != NONE and self._chain.array[row] != 0 and not self._has_extent(row) and not self._is_turn(row)

    def _has_extent(self, row: int) -> bool:
        return bool(self._begins.array[row] < self._ends.array[row])

    def _order(self, row: int) -> tuple[float, int]:
        return (float(self._begins.array[row]) if self._has_extent(row) else 0.0), int(self._told.array[row])

    def _between(self, last: int, row: int) -> tuple[int, int]:
        """The rows of a chain, which ends with `last`, that a new one belongs between: it may come late, told early."""
        at, follower = last, NONE
        for _ in range(STEPS):
            if at == NONE or self._order(at) <= self._order(row):
                return at, follower
            at, follower = int(self._before.array[at]), at
        own = np.nonzero(self._chain.array[:row] == self._chain.array[row])[0]
        begins = np.where(self._begins.array[own] < self._ends.array[own], self._begins.array[own], 0.0)
        told, (begin, moment) = self._told.array[own], self._order(row)
        later = np.nonzero((begins > begin) | ((begins == begin) & (told > moment)))[0]
        next_ = later[begins[later] == begins[later].min()]
        follower = int(own[next_[told[next_].argmin()]])
        return int(self._before.array[follower]), follower

    def _last_rows(self) -> dict[int, int]:
        """The last row of each chain."""
        if self._last is None:
            ends = np.nonzero((self._after.array == NONE) & (self._chain.array != 0))[0]
            self._last = dict(zip(self._chain.array[ends].tolist(), ends.tolist(), strict=True))
        return self._last

    def _measure(self, touched: set[int]) -> None:
        """The lengths of the smoothed vectors of rows whose neighbours are not what they were."""
        rows = np.array(sorted((touched | self._judge(touched)) - {NONE}), np.int64)
        if not len(rows):
            return
        before, after = self.around(rows)
        self.any = self.any or bool((before != NONE).any() or (after != NONE).any())
        smoothed = self._vectors(rows).copy()
        for neighbours in (before, after):
            linked = np.nonzero(neighbours != NONE)[0]
            near = neighbours[linked]
            own = self._share(near, VECTOR_SMOOTHING)[:, None] if neighbours is before else np.float32(VECTOR_SMOOTHING)
            smoothed[linked] += own * self._vectors(near)
        self._norms.array[rows] = np.maximum(np.linalg.norm(smoothed, axis=1), 1e-6)
