"""What the neural memory learns: that for a query, some passages were useful."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Association:
    """One learning event as the neural memory takes it.

    `number` tells events apart and orders them. `key` (d,) is the query's embedding, `value` (d,) the normalised mean
    of the useful passages' embeddings, both float32 and L2-normalised; `passages` are the useful passages' numbers.
    `confidence` in [-1, 1], not 0, weighs the event; below 0 it says that the passages were of no use. `evidence`
    (n, terms) is what each expert of the ranking said about the candidates then, and `useful` (n,) which of them were
    useful; empty where no ranking was at hand.
    """

    number: int
    key: Floats
    value: Floats
    passages: tuple[int, ...]
    confidence: float = 1.0
    evidence: Floats | None = None
    useful: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Vote:
    """What earlier queries say about a passage: the sum of their attention, signed, and how many they are."""

    attention: float
    queries: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What the memory answers to a query: `vector` (d,) to search with instead of the query's own, L2-normalised, and
    votes for passages by number, already weighted. `likeness` is the cosine of the nearest stored query.
    """

    vector: Floats
    votes: Mapping[int, Vote]
    likeness: float
