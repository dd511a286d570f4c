"""Runs of words in a text that could be a name, by hash.

A passage names an entity wherever its key stands in the text, not only where the extractor saw it. To know this of
passages that were there before the entity was, each passage leaves the hashes of all runs of up to seven words that
begin and end like a name; a new entity looks itself up among them. So the graph does not depend on the order in
which passages come.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hippomem.hippocampus.arrays import hash_bounds, order_by
from hippomem.hippocampus.keys import key_of_plain, plain, words
from hippomem.hippocampus.names import LONGEST_NAME, LONGEST_UNSPACED, key_hash
from hippomem.storage.rows import LAST_BIT

SORTED_FROM = 1 << 16  # new entries, of some 700 passages


Columns: TypeAlias = "tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int64]]"  # hashes, rows, lines


def grams(lines: Sequence[str]) -> dict[str, int]:
    """The keys that could stand in a passage, with the lines they stand in as bits (line 62 and later share one)."""
    found: dict[str, int] = {}
    for number, line in enumerate(lines):
        bit = 1 << min(number, LAST_BIT)
        text = plain(line)
        low = text.lower()
        if len(low) != len(text):  # a letter whose lower case is two: rare enough to go without
            low = text
        run = words(text)
        for first, start in enumerate(run):
            if not start.namelike:
                continue
            longest = LONGEST_UNSPACED if start.unspaced else LONGEST_NAME
            for last in run[first : first + longest]:
                if last.namelike:
                    key = key_of_plain(low[start.start : last.end])
                    if key:
                        found[key] = found.get(key, 0) | bit
    return found


class GramIndex:
    """From the hash of a run of words to the passages that hold it.

    What is new lies in lists until it is worth sorting: Python's objects take ten times the memory of arrays. Sorted
    runs are merged so that each is at least twice as long as the next, which makes them few and sorts an entry a
    logarithmic number of times.
    """

    def __init__(
        self,
        hashes: NDArray[np.uint64] | None = None,
        rows: NDArray[np.int32] | None = None,
        lines: NDArray[np.int64] | None = None,
    ) -> None:
        self._base = _Run(
            np.empty(0, np.uint64) if hashes is None else hashes,
            np.empty(0, np.int32) if rows is None else rows,
            np.empty(0, np.int64) if lines is None else lines,
        )
        self._runs: list[_Run] = []
        self._new = _Unsorted()

    def add(self, row: int, hashes: NDArray[np.uint64], lines: Iterable[int]) -> None:
        """Enter what one passage holds; rows come in ascending order."""
        self._new.add(row, hashes.tolist(), lines)
        if len(self._new.rows) >= SORTED_FROM:
            self._runs.append(self._new.run())
            self._new = _Unsorted()
            while len(self._runs) > 1 and len(self._runs[-2].rows) < 2 * len(self._runs[-1].rows):
                self._runs[-2:] = [_merged(self._runs[-2:])]

    def find(self, key: str) -> list[tuple[int, int]]:
        """The rows that hold `key`, with the lines it stands in as bits."""
        wanted = key_hash(key)
        found: list[tuple[int, int]] = []
        for run in (self._base, *self._runs):
            start = bisect_left(run.sorted, wanted)
            end = bisect_right(run.sorted, wanted, start)
            if start < end:
                found += zip(run.rows[start:end].tolist(), run.lines[start:end].tolist(), strict=True)
        return found + self._new.find(wanted)

    def frozen(self) -> GramIndex:
        """What there is now, whatever comes."""
        frozen = GramIndex()
        frozen._base, frozen._runs = self._base, self._parts()[1:]
        return frozen

    def size(self, new_row: NDArray[np.int32]) -> int:
        """The entries that `blocks` gives."""
        return sum(int(np.count_nonzero(new_row[part.rows] >= 0)) for part in self._parts())

    def blocks(self, new_row: NDArray[np.int32]) -> Iterator[Columns]:
        """The constructor's arrays in blocks, row r renumbered to new_row[r], and dropped where that is negative."""
        parts = self._parts()
        bounds = hash_bounds(sum(len(part.rows) for part in parts))
        cuts = [[0, *np.searchsorted(part.hashes, bounds).tolist(), len(part.rows)] for part in parts]
        for at in range(len(bounds) + 1):
            some = [(part, slice(cut[at], cut[at + 1])) for part, cut in zip(parts, cuts, strict=True)]
            rows = new_row[np.concatenate([part.rows[own] for part, own in some])]
            kept = rows >= 0
            hashes = np.concatenate([part.hashes[own] for part, own in some])[kept]
            lines = np.concatenate([part.lines[own] for part, own in some])[kept]
            rows = rows[kept]
            order = order_by(hashes, rows)
            yield hashes[order], rows[order], lines[order]

    def _parts(self) -> list[_Run]:
        return [self._base, *self._runs, self._new.run()]


class _Run:
    """Entries by hash, those of one hash by row."""

    def __init__(self, hashes: NDArray[np.uint64], rows: NDArray[np.int32], lines: NDArray[np.int64]) -> None:
        self.hashes, self.rows, self.lines = hashes, rows, lines
        self.sorted = np.ascontiguousarray(hashes).data  # ten times faster than numpy, one at a time


class _Unsorted:
    """Entries as they came; each knows the one before it of the same hash."""

    def __init__(self) -> None:
        self.hashes: list[int] = []
        self.rows: list[int] = []
        self.lines: list[int] = []
        self._newest: dict[int, int] = {}
        self._before: list[int] = []

    def add(self, row: int, hashes: list[int], lines: Iterable[int]) -> None:
        newest, before = self._newest, self._before
        for place, value in enumerate(hashes, len(self.rows)):
            before.append(newest.get(value, -1))
            newest[value] = place
        self.hashes += hashes
        self.rows += [row] * len(hashes)
        self.lines += lines

    def find(self, wanted: int) -> list[tuple[int, int]]:
        found = []
        place = self._newest.get(wanted, -1)
        while place >= 0:
            found.append((self.rows[place], self.lines[place]))
            place = self._before[place]
        return found[::-1]

    def run(self) -> _Run:
        hashes = np.array(self.hashes, np.uint64)
        order = np.argsort(hashes, kind="stable")
        return _Run(hashes[order], np.array(self.rows, np.int32)[order], np.array(self.lines, np.int64)[order])


def _merged(runs: Sequence[_Run]) -> _Run:
    """One run of several; the rows of each are before those of the next, so a stable sort by hash is enough."""
    hashes = np.concatenate([run.hashes for run in runs])
    order = np.argsort(hashes, kind="stable")
    return _Run(
        hashes[order],
        np.concatenate([run.rows for run in runs])[order],
        np.concatenate([run.lines for run in runs])[order],
    )
