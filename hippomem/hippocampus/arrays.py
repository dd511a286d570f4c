"""Arrays in memory and in files: what a view grows by between two snapshots, and how it is written into one."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

BLOCK = 1 << 18  # entries in memory at once to be written: the cache holds them while they are sorted


def open_array(path: Path, mode: Literal["r", "c"] = "r") -> NDArray[Any]:
    """The array in a .npy file, mapped into memory; with "c" it can be written to, and the file stays as it is. Windows
    removes and replaces no file that anybody has mapped, and what is forgotten has to go: there it is read.
    """
    # A plain array over the mapped file: the memmap class costs more than it does on every slice.
    return np.asarray(np.load(path, mmap_mode=None if sys.platform == "win32" else mode, allow_pickle=False))


def write_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]) -> None:
    """Write a .npy file of `shape` from blocks of its rows, of which one at a time is in memory. Raises OSError.

    A full disk answers a write through a memory map with a signal that ends the process, and numpy.save does not see
    it when it comes to the last few kilobytes: here every write is an ordinary one, and so is its failure.
    """
    with path.open("wb") as file:
        _write_header(file, dtype, shape)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)


def write_columns(
    paths: Sequence[Path], dtypes: Sequence[DTypeLike], size: int, blocks: Iterable[Sequence[NDArray[Any]]]
) -> None:
    """Write several .npy files (size,), each a column of the blocks, of which one at a time is in memory."""
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for file, dtype in zip(files, dtypes, strict=True):
            _write_header(file, dtype, (size,))
        for block in blocks:
            for file, dtype, column in zip(files, dtypes, block, strict=True):
                file.write(np.ascontiguousarray(column, dtype).data)


def order_by(keys: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.int64]:
    """The order by key, and by row among equal keys: what `np.lexsort` gives. Where rows ascend already with each key,
    as where a few sorted runs follow one another, it is ten times as fast.
    """
    order = np.argsort(keys, kind="stable")
    ordered, of_row = keys[order], rows[order]
    if np.any((ordered[1:] == ordered[:-1]) & (of_row[1:] < of_row[:-1])):
        return np.asarray(np.lexsort((rows, keys)))
    return np.asarray(order)


def hash_bounds(entries: int) -> NDArray[np.uint64]:
    """Where to cut so many entries by their 64-bit hashes, which are spread evenly, into blocks of some `BLOCK`."""
    return np.linspace(0.0, 2.0**64, entries // BLOCK + 2)[1:-1].astype(np.uint64)


def renumbered(rows: int, kept: NDArray[np.int64]) -> NDArray[np.int32]:
    """For each of so many rows its place among those that are `kept`, -1 where it is not."""
    places = np.full(rows, -1, np.int32)
    places[kept] = np.arange(len(kept), dtype=np.int32)
    return places


def _write_header(file: BinaryIO, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
    described = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)


def runs(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers from each start on, as many as its size: (sum of `sizes`,)."""
    return np.repeat(starts - np.cumsum(sizes) + sizes, sizes) + np.arange(int(sizes.sum()))


def merged(*rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """All of these numbers, each once, ascending: what `np.unique` gives, which hashes them first and takes longer."""
    every = np.sort(np.concatenate(rows))
    return np.asarray(every[np.concatenate([[True], every[1:] != every[:-1]])[: len(every)]])


def widened(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    """The same finite numbers in float32, four times as fast as `astype`, which converts one by one.

    Shifted to where float32 has its exponent and fraction, the bits of a half stand for its value times 2^-112.
    """
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= ~(7 << 28)  # copies of the sign
    floats = bits.view(np.float32)
    floats *= np.float32(2.0**112)
    return floats


class Growing:
    """A numpy array that grows along its first axis, in amortised constant time a row."""

    def __init__(self, dtype: DTypeLike, width: int | None = None, start: NDArray[Any] | None = None) -> None:
        size = 0 if start is None else len(start)
        self._data: NDArray[Any] = np.zeros((max(16, size),) if width is None else (max(16, size), width), dtype=dtype)
        self._size = size
        if start is not None:
            self._data[:size] = start

    @classmethod
    def over(cls, array: NDArray[Any]) -> Growing:
        """Over an array that may be written to. It is copied when it first grows, not before."""
        growing = cls(array.dtype)
        growing._data, growing._size = array, len(array)
        return growing

    def frozen(self) -> Growing:
        """What there is now, whatever comes; over the same memory, so only for rows that are never written again."""
        return Growing.over(self.array)

    def copied(self) -> Growing:
        """What there is now, in memory of its own."""
        return Growing.over(self.array.copy())

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
            grown = np.zeros((max(16, needed, 2 * len(self._data)), *self._data.shape[1:]), dtype=self._data.dtype)
            grown[: self._size] = self.array
            self._data = grown
        self._data[self._size : needed] = values
        self._size = needed
