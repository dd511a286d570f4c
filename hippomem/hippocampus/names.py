"""Entity keys to graph nodes, and the names in a question.

Of the snapshot, keys are found by binary search over 64-bit hashes, memory-mapped and confirmed by the key itself;
what came since lies in a dictionary.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hippomem.hippocampus.dates import LONGEST_DATE, date_keys
from hippomem.hippocampus.keys import key_of_plain, plain, words

LONGEST_NAME = 7  # words
LONGEST_UNSPACED = 14  # characters of a script without spaces


class KeyTable:
    """Keys by node and nodes by key. Nodes count from 0; a key given again names its newest node."""

    def __init__(
        self,
        text: NDArray[np.uint8] | None = None,
        ends: NDArray[np.int64] | None = None,
        hashes: NDArray[np.uint64] | None = None,
        nodes: NDArray[np.int32] | None = None,
    ) -> None:
        # Memory views: one at a time, they are ten times faster than arrays.
        self._text = _viewed(text, np.uint8)
        self._ends = _viewed(ends, np.int64)
        self._hashes = _viewed(hashes, np.uint64)
        self._nodes = _viewed(nodes, np.int32)
        self._sorted = np.asarray(self._hashes)  # the same, for many at a time
        self._new_keys: list[str] = []
        self._new_nodes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ends) + len(self._new_keys)

    def add(self, key: str) -> int:
        """A new node for `key`."""
        node = len(self)
        self._new_keys.append(key)
        self._new_nodes[key] = node
        return node

    def key(self, node: int) -> str:
        """The key of a node."""
        known = len(self._ends)
        if node >= known:
            return self._new_keys[node - known]
        start = self._ends[node - 1] if node else 0
        return str(self._text[start : self._ends[node]], "utf-8")

    def find(self, key: str) -> int | None:
        """The node of a key, None where it has none."""
        node = self._new_nodes.get(key)
        if node is not None or not len(self._hashes):
            return node
        wanted = key_hash(key)
        at = bisect_left(self._hashes, wanted)
        while at < len(self._hashes) and self._hashes[at] == wanted:
            candidate: int = self._nodes[at]
            if self.key(candidate) == key:
                return candidate
            at += 1
        return None

    def among(self, keys: Sequence[str], hashes: NDArray[np.uint64]) -> list[str]:
        """Those of these keys, given with their hashes, that have a node."""
        found = [key for key in keys if key in self._new_nodes]
        if len(self._sorted):
            at = np.minimum(np.searchsorted(self._sorted, hashes), len(self._sorted) - 1)
            alike = (keys[place] for place in np.flatnonzero(self._sorted[at] == hashes).tolist())
            found += [key for key in alike if key not in self._new_nodes and self.find(key) is not None]
        return found

    def arrays(self, nodes: Iterable[int]) -> dict[str, NDArray[np.generic]]:
        """The constructor's arrays for a table of these nodes, numbered anew in their order."""
        keys = [self.key(node) for node in nodes]
        encoded = [key.encode("utf-8") for key in keys]
        hashes = key_hashes(keys)
        order = np.argsort(hashes, kind="stable")
        return {
            "text": np.frombuffer(b"".join(encoded), np.uint8),
            "ends": np.cumsum([len(e) for e in encoded], dtype=np.int64),
            "hashes": hashes[order],
            "nodes": order.astype(np.int32),
        }


def _viewed(array: NDArray[Any] | None, dtype: DTypeLike) -> memoryview:
    return np.ascontiguousarray(np.empty(0) if array is None else array, dtype).data


def key_hash(key: str) -> int:
    """A hash of the key, 64 bits wide, that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8"), digest_size=8).digest(), "little")


def key_hashes(keys: Iterable[str]) -> NDArray[np.uint64]:
    """The hash of each key."""
    digests = [hashlib.blake2b(key.encode("utf-8"), digest_size=8).digest() for key in keys]
    return np.frombuffer(b"".join(digests), "<u8")


def linked_names(question: str, find: Callable[[str], int | None]) -> dict[int, str]:
    """The nodes that a question names, with the words that name them.

    Leftmost-longest match of up to seven words that hold a capitalised word, a four-digit number, or a letter of a
    script without capitals. Single letters are a name in capitals only: "can't I" is not T. I. A day is all that it is
    called by (dates.py).
    """
    text = plain(question)
    low = text.lower() if len(text.lower()) == len(text) else text
    found = words(text)
    linked: dict[int, str] = {}
    first = 0
    while first < len(found):
        step = 1
        longest = LONGEST_UNSPACED if found[first].unspaced else LONGEST_NAME
        before = next((size for size, word in enumerate(found[first : first + longest]) if word.namelike), longest)
        for size in range(min(longest, len(found) - first), before, -1):
            start, end = found[first].start, found[first + size - 1].end
            if end - start < 2 * size and text[start:end] != text[start:end].upper():
                continue
            key = key_of_plain(low[start:end])
            keys = (2 < size <= LONGEST_DATE and date_keys(key)) or (key,)
            nodes = [node for own in keys if (node := find(own)) is not None]
            if nodes:
                linked.update((node, text[start:end]) for node in nodes if node not in linked)
                step = size
                break
        first += step
    return linked
