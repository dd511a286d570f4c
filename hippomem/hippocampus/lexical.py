"""BM25 over the passages (Robertson and Zaragoza 2009): postings in the snapshot, memory-mapped, and those come since.

Words are stemmed (Snowball, English); a script without spaces is read in pairs of characters. A word is known by a
64-bit hash. What is gone is passed over when its words are looked up, so removing costs nothing.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from functools import cache, lru_cache
from math import log
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hippomem.hippocampus.arrays import Growing, hash_bounds, merged, order_by, renumbered, write_columns
from hippomem.hippocampus.keys import STOP_WORDS, plain, words
from hippomem.hippocampus.names import key_hash

K1 = 1.5
B = 0.75
MOST = 2**16 - 1  # a count and a length are kept in 16 bits

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


def terms(text: str) -> list[int]:
    """The words of a text that count, stemmed and hashed, in their order."""
    text = plain(text).lower()
    if text.isascii():  # the common case: every script in it has spaces
        return [_term(word) for word in text.split() if word not in STOP_WORDS]
    found: list[int] = []
    unspaced = ""
    for word in words(text):
        written = text[word.start : word.end]
        if word.unspaced:
            found.append(_term(written))
            if unspaced:
                found.append(_term(unspaced + written))
            unspaced = written
            continue
        unspaced = ""
        if written not in STOP_WORDS:
            found.append(_term(written))
    return found


def word_count(text: str) -> int:
    """How many words a text has; two characters of a script without spaces count as one."""
    text = plain(text)
    if text.isascii():
        return len(text.split())
    found = words(text)
    alone = sum(word.unspaced for word in found)
    return len(found) - alone // 2


class Postings(NamedTuple):
    """Terms by hash, ascending; the postings of each from its start to the next: rows, and how often it is in them."""

    hashes: NDArray[np.uint64]
    starts: Rows
    rows: NDArray[np.int32]
    counts: NDArray[np.uint16]


class LexicalIndex:
    """Rows are passages, numbered from 0 as in the view."""

    def __init__(
        self,
        hashes: NDArray[np.uint64] | None = None,
        starts: Rows | None = None,
        rows: NDArray[np.int32] | None = None,
        counts: NDArray[np.uint16] | None = None,
        lengths: NDArray[np.uint16] | None = None,
        sizes: NDArray[np.uint16] | None = None,
    ) -> None:
        self._hashes = np.empty(0, np.uint64) if hashes is None else hashes
        self._sorted = np.ascontiguousarray(self._hashes).data  # several times faster than numpy, one at a time
        self._starts = np.zeros(1, np.int64) if starts is None else starts
        self._rows = np.empty(0, np.int32) if rows is None else rows
        self._counts = np.empty(0, np.uint16) if counts is None else counts
        self._lengths = Growing(np.uint16, start=lengths)
        self._sizes = Growing(np.uint16, start=sizes)
        self._base = len(self._lengths)
        self._new: dict[int, tuple[array[int], array[int]]] = {}
        self._total = int(self._lengths.array.sum(dtype=np.int64))  # of what is there
        self._live = self._base

    @property
    def lengths(self) -> NDArray[np.uint16]:
        """Words that count of each passage: (rows,)."""
        return np.asarray(self._lengths.array)

    @property
    def sizes(self) -> NDArray[np.uint16]:
        """All words of each passage, without its title: (rows,)."""
        return np.asarray(self._sizes.array)

    def append(self, text: str, size: int) -> None:
        """Index the next row by what it can be found by; `size` is its number of words."""
        row = len(self._lengths)
        counted: dict[int, int] = {}
        found = terms(text)
        for term in found:
            counted[term] = counted.get(term, 0) + 1
        for term, count in counted.items():
            rows, counts = self._new.setdefault(term, (array("i"), array("H")))
            rows.append(row)
            counts.append(min(count, MOST))
        length = min(len(found), MOST)
        self._lengths.extend([length])
        self._sizes.extend([min(size, MOST)])
        self._total += length
        self._live += 1

    def remove(self, row: int) -> None:
        """Take a row out; whoever asks next passes it over."""
        self._total -= int(self._lengths.array[row])
        self._live -= 1

    def postings(self, term: int, alive: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        """The rows (n,) that hold a term, ascending, and how often each does."""
        at = bisect_left(self._sorted, term)
        parts = []
        if at < len(self._sorted) and self._sorted[at] == term:
            run = slice(int(self._starts[at]), int(self._starts[at + 1]))
            parts.append((self._rows[run], self._counts[run]))
        if term in self._new:
            rows, counts = self._new[term]
            parts.append((np.array(rows, np.int32), np.array(counts, np.uint16)))
        if not parts:
            return np.empty(0, np.int32), np.empty(0, np.uint16)
        rows_, counts_ = parts[0] if len(parts) == 1 else (np.concatenate(p) for p in zip(*parts, strict=True))
        if self._live == len(self._lengths):
            return rows_, counts_
        there = alive[rows_]
        return rows_[there], counts_[there]

    def count(self, word: str, alive: NDArray[np.bool_]) -> int:
        """In how many passages a word stands, whatever its ending; it is plain and lower case."""
        return len(self.postings(key_hash(_stemmer().stemWord(word)), alive)[0])  # not `_term`: most are asked once

    def rarity(self, frequency: int) -> float:
        """The inverse document frequency of a term that so many passages hold."""
        return log(1 + (self._live - frequency + 0.5) / (frequency + 0.5))

    def rarities(self, wanted: Iterable[int], alive: NDArray[np.bool_]) -> float:
        """The rarity of each of a bag of terms, summed: what a passage would tell that holds them all."""
        return sum(self.rarity(len(self.postings(term, alive)[0])) for term in dict.fromkeys(wanted))

    def weights(self, rows: NDArray[np.int32], counts: NDArray[np.uint16], frequency: int) -> Floats:
        """The BM25 weight of one term in rows that hold it, of `frequency` in all: (n,) float32."""
        if not len(rows):
            return np.empty(0, np.float32)
        rarity = self.rarity(frequency)
        average = max(1.0, self._total / max(1, self._live))
        count = counts.astype(np.float32)
        damping = K1 * (1 - B + B * self._lengths.array[rows].astype(np.float32) / np.float32(average))
        return np.asarray(np.float32(rarity) * count / (count + damping), np.float32)

    def scores(self, wanted: Sequence[int], alive: NDArray[np.bool_]) -> Floats:
        """The BM25 score of every row for a bag of terms: (rows,) float32."""
        scores = np.zeros(len(self._lengths), np.float32)
        for term in dict.fromkeys(wanted):
            rows, counts = self.postings(term, alive)
            scores[rows] += self.weights(rows, counts, len(rows))
        return scores

    def scores_of(self, rows: Rows, wanted: Sequence[int], alive: NDArray[np.bool_]) -> Floats:
        """As `scores`, of some rows (n,), ascending: (n,) float32."""
        if len(rows) == len(self._lengths):
            return self.scores(wanted, alive)
        scores = np.zeros(len(rows), np.float32)
        for term in dict.fromkeys(wanted):
            found, counts = self.postings(term, alive)
            if len(found) < len(rows):
                at = np.minimum(np.searchsorted(rows, found), len(rows) - 1)
                there = rows[at] == found
                place, found, counts, total = at[there], found[there], counts[there], len(found)
            else:
                at = np.minimum(np.searchsorted(found, rows.astype(np.int32)), len(found) - 1)
                place = np.nonzero(found[at] == rows)[0] if len(found) else np.empty(0, np.int64)
                found, counts, total = found[at[place]], counts[at[place]], len(found)
            scores[place] += self.weights(found, counts, total)
        return scores

    def leading(self, wanted: Sequence[int], most: int, alive: NDArray[np.bool_]) -> Rows:
        """Rows that hold the rarest of the terms, and so lead in `scores`: those of whole postings, rarest first, as
        long as they are `most` in all. Ascending.
        """
        found: list[NDArray[np.int32]] = []
        for postings in sorted((self.postings(term, alive)[0] for term in dict.fromkeys(wanted)), key=len):
            most -= len(postings)
            if most < 0:
                break
            found.append(postings)
        return merged(*(postings.astype(np.int64) for postings in found)) if found else np.empty(0, np.int64)

    def frozen(self) -> LexicalIndex:
        """What there is now, whatever comes."""
        frozen = copy(self)
        frozen._new = {term: (rows[:], counts[:]) for term, (rows, counts) in self._new.items()}
        frozen._lengths, frozen._sizes = self._lengths.frozen(), self._sizes.frozen()
        return frozen

    def compact(self, kept: Rows, rows_path: Path, counts_path: Path) -> dict[str, NDArray[np.generic]]:
        """Write `rows` and `counts` for these live rows, in this order, to .npy files; the other arrays of the
        constructor are returned. Equal memories, equal arrays.
        """
        new_row = renumbered(len(self._lengths), kept)
        parts = [Postings(self._hashes, self._starts, self._rows, self._counts), self._fresh()]
        entries = sum(int(np.count_nonzero(new_row[part.rows] >= 0)) for part in parts)
        hashes, sizes = [np.empty(0, np.uint64)], [np.zeros(1, np.int64)]

        def blocks() -> Iterator[tuple[NDArray[np.int32], NDArray[np.uint16]]]:
            for key, row, count in _by_term(parts, new_row):
                found, size = np.unique(key, return_counts=True)
                hashes.append(found)
                sizes.append(size)
                yield row, count

        write_columns([rows_path, counts_path], (np.int32, np.uint16), entries, blocks())
        return {
            "hashes": np.concatenate(hashes),
            "starts": np.cumsum(np.concatenate(sizes)),
            "lengths": self._lengths.array[kept],
            "sizes": self._sizes.array[kept],
        }

    def _fresh(self) -> Postings:
        """What came since the snapshot, as it is there."""
        new = sorted(self._new.items())
        return Postings(
            np.array([term for term, _ in new], np.uint64),
            np.cumsum([0, *(len(rows) for _, (rows, _) in new)]),
            np.concatenate([np.empty(0, np.int32), *(np.array(rows, np.int32) for _, (rows, _) in new)]),
            np.concatenate([np.empty(0, np.uint16), *(np.array(counts, np.uint16) for _, (_, counts) in new)]),
        )


def _by_term(
    parts: Sequence[Postings], new_row: NDArray[np.int32]
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.uint16]]]:
    """The term, row and count of each posting in blocks, by term and row; row r is new_row[r], and dropped where that
    is negative.
    """
    bounds = hash_bounds(sum(len(part.rows) for part in parts))
    cuts = [[0, *np.searchsorted(part.hashes, bounds).tolist(), len(part.hashes)] for part in parts]
    for at in range(len(bounds) + 1):
        keys, rows, counts = [], [], []
        for part, cut in zip(parts, cuts, strict=True):
            terms_ = slice(cut[at], cut[at + 1])
            some = slice(int(part.starts[cut[at]]), int(part.starts[cut[at + 1]]))
            renamed = new_row[part.rows[some]]
            there = renamed >= 0
            keys.append(np.repeat(part.hashes[terms_], np.diff(part.starts[cut[at] : cut[at + 1] + 1]))[there])
            rows.append(renamed[there])
            counts.append(part.counts[some][there])
        key, row = np.concatenate(keys), np.concatenate(rows)
        order = order_by(key, row)
        yield key[order], row[order], np.concatenate(counts)[order]


@lru_cache(maxsize=65536)  # words repeat
def stem(word: str) -> str:
    """A plain word in lower case, without its ending."""
    return str(_stemmer().stemWord(word))


@lru_cache(maxsize=65536)
def _term(word: str) -> int:
    return key_hash(stem(word))


@cache
def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english")
