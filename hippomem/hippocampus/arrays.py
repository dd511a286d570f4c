"""Append-only arrays: what a view grows by between two snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Growing:
    """A numpy array that grows along its first axis, in amortised constant time a row."""

    def __init__(self, dtype: DTypeLike, width: int | None = None, start: NDArray[Any] | None = None) -> None:
        size = 0 if start is None else len(start)
        self._data: NDArray[Any] = np.zeros((max(16, size),) if width is None else (max(16, size), width), dtype=dtype)
        self._size = size
        if start is not None:
            self._data[:size] = start

    def __len__(self) -> int:
        return self._size

    @property
    def array(self) -> NDArray[Any]:
        """The filled part, (n,) or (n, width). Valid until the next append."""
        return self._data[: self._size]

    def extend(self, values: NDArray[Any] | Sequence[Any]) -> None:
        """Append rows."""
        needed = self._size + len(values)
        if needed > len(self._data):
            grown = np.zeros((max(needed, 2 * len(self._data)), *self._data.shape[1:]), dtype=self._data.dtype)
            grown[: self._size] = self.array
            self._data = grown
        self._data[self._size : needed] = values
        self._size = needed
