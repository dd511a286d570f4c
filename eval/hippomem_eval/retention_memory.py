"""The memory that the simulation teaches: an online two-layer perceptron, one gradient step an experience.

Keys and values are (d,); the hidden layer has 256 units. The step is normalised by the curvature (a larger one than
2 / |a|^2 wipes the memory without a sign of it), and whatever is not finite changes nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import sger

Floats = NDArray[np.float32]

STEP = 0.5


class Perceptron:
    """v = W2 relu(W1 k). Weights are kept in Fortran order, for rank-one updates in place."""

    def __init__(self, dimension: int, seed: int, hidden: int = 256, step: float = STEP) -> None:
        rng = np.random.default_rng(seed)
        first = rng.normal(size=(hidden, dimension)) / np.sqrt(dimension)
        second = 0.1 * rng.normal(size=(dimension, hidden)) / np.sqrt(hidden)
        self.first = np.asfortranarray(first, dtype=np.float32)
        self.second = np.asfortranarray(second, dtype=np.float32)
        self.step = step
        self.refused = 0

    def read(self, keys: Floats) -> Floats:
        """Values for keys: (n, d) -> (n, d)."""
        return np.asarray(np.maximum(keys @ self.first.T, 0) @ self.second.T, dtype=np.float32)

    def learn(self, key: Floats, value: Floats) -> bool:
        """One step towards `value`. False, with the weights as they were, where something is not finite."""
        before = self.first @ key
        hidden = np.maximum(before, 0)
        error = self.second @ hidden - value
        back = (self.second.T @ error) * (before > 0)
        squared = float(error @ error)
        curvature = float(hidden @ hidden) + float(back @ back) * float(key @ key) / max(squared, 1e-9)
        if not np.isfinite(curvature) or not np.isfinite(squared) or curvature <= 0:
            self.refused += 1
            return False
        rate = -self.step / curvature
        self.second = sger(rate, error, hidden, a=self.second, overwrite_a=1)
        self.first = sger(rate, back, key, a=self.first, overwrite_a=1)
        return True


def ranks(read: Floats, values: Floats, own: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each one's own value among all `values` by inner product, from 0; the last where the reading is not
    finite, or a memory full of NaN would find everything.
    """
    finite = np.asarray(np.isfinite(read).all(axis=1))
    likeness = np.where(finite[:, None], read, 0) @ values.T
    mine = likeness[np.arange(len(own)), own]
    place = (likeness > mine[:, None]).sum(axis=1)
    return np.where(finite, place, len(values)).astype(np.int64)
