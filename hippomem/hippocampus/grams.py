"""Runs of words in a text that could be a name, by hash.

A passage names an entity wherever its key stands in the text, not only where the extractor saw it. To know this of
passages that were there before the entity was, each passage leaves the hashes of all runs of up to seven words that
begin and end like a name; a new entity looks itself up among them. So the graph does not depend on the order in
which passages come.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hippomem.hippocampus.arrays import Growing
from hippomem.hippocampus.keys import key_of_plain, plain, words
from hippomem.hippocampus.names import LONGEST_NAME, LONGEST_UNSPACED, key_hash


def grams(lines: Sequence[str]) -> dict[str, int]:
    """The keys that could stand in a passage, with the lines they stand in as bits (line 62 and later share one)."""
    found: dict[str, int] = {}
    for number, line in enumerate(lines):
        bit = 1 << min(number, 62)
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
    """From the hash of a run of words to the passages that hold it: sorted arrays, and a dictionary for what is new."""

    def __init__(
        self,
        hashes: NDArray[np.uint64] | None = None,
        rows: NDArray[np.int32] | None = None,
        lines: NDArray[np.int64] | None = None,
    ) -> None:
        self._hashes = np.empty(0, np.uint64) if hashes is None else hashes
        self._rows = np.empty(0, np.int32) if rows is None else rows
        self._lines = np.empty(0, np.int64) if lines is None else lines
        self._sorted = np.ascontiguousarray(self._hashes).data
        self._new_hashes = Growing(np.uint64)
        self._new_rows = Growing(np.int32)
        self._new_lines = Growing(np.int64)
        self._new: dict[int, list[int]] = {}

    def add(self, row: int, found: dict[str, int]) -> None:
        """Enter what one passage holds."""
        first = len(self._new_hashes)
        hashes = [key_hash(key) for key in found]
        self._new_hashes.extend(np.array(hashes, np.uint64))
        self._new_rows.extend(np.full(len(hashes), row, np.int32))
        self._new_lines.extend(np.fromiter(found.values(), np.int64, len(hashes)))
        for offset, value in enumerate(hashes):
            self._new.setdefault(value, []).append(first + offset)

    def find(self, key: str) -> list[tuple[int, int]]:
        """The rows that hold `key`, with the lines it stands in as bits."""
        wanted = key_hash(key)
        start, end = bisect_left(self._sorted, wanted), bisect_right(self._sorted, wanted)
        found = list(zip(self._rows[start:end].tolist(), self._lines[start:end].tolist(), strict=True))
        rows, lines = self._new_rows.array, self._new_lines.array
        return found + [(int(rows[i]), int(lines[i])) for i in self._new.get(wanted, ())]

    def arrays(self, new_row: NDArray[np.int32]) -> dict[str, NDArray[np.generic]]:
        """The constructor's arrays, with row r renumbered to new_row[r] and dropped where that is negative."""
        hashes = np.concatenate([self._hashes, self._new_hashes.array])
        rows = new_row[np.concatenate([self._rows, self._new_rows.array])]
        lines = np.concatenate([self._lines, self._new_lines.array])
        kept = rows >= 0
        hashes, rows, lines = hashes[kept], rows[kept], lines[kept]
        order = np.lexsort((rows, hashes))
        return {"hashes": hashes[order], "rows": rows[order].astype(np.int32), "lines": lines[order]}
