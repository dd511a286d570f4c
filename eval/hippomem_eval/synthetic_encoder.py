"""An encoder without a model for synthetic texts: its cosines are distributed like a sentence encoder's.

A word's vector is a direction that all words have in common, one of its cluster, and two of its own from a bank of
random ones (feature hashing, Weinberger et al., arXiv 0902.2206); a text's is the sum over its words. Sentences take
from their passage, as in late chunking (arXiv 2409.04701).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hippomem.neocortex.encoder import Encoded, Span, Vectors
from hippomem_eval.synthetic import CLUSTERS, word_hash
from hippomem_eval.synthetic_names import FUNCTION_WORDS

DIMENSION = 384
_BANK = 4096  # directions that words share by chance
_CLUSTER, _COMMON, _PASSAGE = 1.2, 0.15, 0.7  # weights: of the cluster, of what all texts share, of the passage
_POWER, _SCALE = 0.4, 120.0  # variance falls along the axes as (i + 2)^-.4 exp(-i / 120): few of them carry most
_WORD = re.compile(r"\w+")
_AT_ONCE = 256  # passages in one product


class SyntheticEncoder:
    """An `Encoder` of 384 dimensions; a passage takes it a tenth of a millisecond. Equal in every process."""

    @property
    def identity(self) -> str:
        """`synthetic-384`."""
        return f"synthetic-{DIMENSION}"

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        """A vector (384,) for each text and (s, 384) for its spans, float32, L2-normalised."""
        encoded: list[Encoded] = []
        for first in range(0, len(texts), _AT_ONCE):
            encoded += self._encode(texts[first : first + _AT_ONCE], spans[first : first + _AT_ONCE])
        return encoded

    def encode_query(self, text: str) -> Vectors:
        """The vector of a question: (384,) float32, L2-normalised."""
        return self._encode([text], [()])[0].vector

    def _encode(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        cut = [own if own else [(0, len(text))] for text, own in zip(texts, spans, strict=True)]
        starts = np.cumsum([0, *map(len, cut)])
        lines = [text[a:b] for text, own in zip(texts, cut, strict=True) for a, b in own]
        sums = self._sums([_WORD.findall(line.lower()) for line in lines])
        passages = _normalised(_normalised(np.add.reduceat(sums, starts[:-1])) + self._common)
        owner = np.repeat(np.arange(len(texts)), np.diff(starts))
        sentences = _normalised(_normalised(sums) + np.float32(_PASSAGE) * passages[owner])
        return [
            Encoded(passages[i], sentences[starts[i] : starts[i + 1]] if own else np.empty((0, DIMENSION), np.float32))
            for i, own in enumerate(spans)
        ]

    def _sums(self, lines: Sequence[Sequence[str]]) -> Vectors:
        """The sums of their words' vectors: (lines, 384)."""
        from scipy import sparse

        known = self._known
        hashes = np.array([known[word] for word in chain.from_iterable(lines)], np.int64)
        owner = np.repeat(np.arange(len(lines)), [len(line) for line in lines])[hashes >= 0]
        hashes = hashes[hashes >= 0]
        columns = np.concatenate(
            [hashes % CLUSTERS, CLUSTERS + hashes // CLUSTERS % _BANK, CLUSTERS + hashes // (CLUSTERS * 64) % _BANK]
        )
        weights = np.repeat(np.array([_CLUSTER, 1.0, 1.0], np.float32), len(hashes))
        shape = (len(lines), CLUSTERS + _BANK)
        counted: Any = sparse.csr_matrix((weights, (np.tile(owner, 3), columns)), shape)
        return np.asarray(counted @ self._directions, dtype=np.float32)

    @cached_property
    def _known(self) -> _Hashes:
        return _Hashes((word, -1) for word in FUNCTION_WORDS)

    @cached_property
    def _directions(self) -> NDArray[np.float32]:
        return _drawn(384, CLUSTERS + _BANK)

    @cached_property
    def _common(self) -> NDArray[np.float32]:
        return np.asarray(np.float32(_COMMON) * _drawn(385, 1)[0])


class _Hashes(dict[str, int]):
    """Words to their hashes; those without a meaning to -1."""

    def __missing__(self, word: str) -> int:
        value = word_hash(word)
        if len(self) < 500_000:  # bounds memory
            self[word] = value
        return value


def _drawn(seed: int, count: int) -> NDArray[np.float32]:
    axes = np.arange(DIMENSION)
    scale = np.sqrt((axes + 2.0) ** -_POWER * np.exp(-axes / _SCALE)).astype(np.float32)
    return _normalised(np.random.default_rng(seed).standard_normal((count, DIMENSION), dtype=np.float32) * scale)


def _normalised(vectors: Vectors) -> Vectors:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    empty = norms[:, 0] == 0.0
    if empty.any():  # no word with a meaning: still a direction, as every vector is
        vectors[empty, 0] = norms[empty] = 1.0
    return np.asarray(vectors / norms, dtype=np.float32)
