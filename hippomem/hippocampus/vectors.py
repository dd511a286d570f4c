"""Passage vectors: memory-mapped from the snapshot, and an array that grows beside it.

A search compares the query with every vector; from `MANY` rows in the snapshot on, with those that inverted lists
suggest (lists.py). The similarities that it gives are exact either way.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hippomem.hippocampus.arrays import Growing, open_array, write_array
from hippomem.hippocampus.lists import CHUNK, InvertedLists
from hippomem.importing import load_faiss
from hippomem.threads import one_thread

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

MANY = 20_000  # rows below which comparing all takes about 2 ms
SPARE = 1.5  # times k, and SPARE_ROWS more: asked of lists, as their codes order closely alike vectors differently
SPARE_ROWS = 200


def inner_products(rows: Vectors, query: Vectors) -> Vectors:
    """rows (n, d) times query (d,), both float32 and contiguous: (n,).

    On one thread: at these sizes a threaded BLAS spends longer on waking its threads than on the product.
    """
    faiss = load_faiss()

    products = np.empty(len(rows), np.float32)
    if len(rows):
        query = np.ascontiguousarray(query, dtype=np.float32)
        faiss.fvec_inner_products_ny(
            faiss.swig_ptr(products), faiss.swig_ptr(query), faiss.swig_ptr(rows), rows.shape[1], len(rows)
        )
    return products


class VectorIndex:
    """Inner-product search over rows numbered from 0. Rows are never moved; dead ones are passed over."""

    def __init__(self, dimension: int, mapped: Vectors | None = None, lists: InvertedLists | None = None) -> None:
        self.dimension = dimension
        self._mapped = np.empty((0, dimension), np.float32) if mapped is None else mapped
        self._lists = lists
        self._grown = Growing(np.float32, dimension)

    @classmethod
    def load(cls, path: Path) -> VectorIndex:
        """Open what `save` wrote, without reading it into memory."""
        mapped = open_array(path)
        if mapped.ndim != 2 or mapped.dtype != np.float32:
            raise ValueError(f"{path} holds no vectors")
        beside = _lists_beside(path)
        return cls(mapped.shape[1], mapped, InvertedLists.load(beside) if beside.exists() else None)

    def __len__(self) -> int:
        return len(self._mapped) + len(self._grown)

    def add(self, vectors: Vectors) -> None:
        """Append rows: (n, d) float32, L2-normalised."""
        self._grown.extend(vectors)

    def similarities(self, query: Vectors) -> Vectors:
        """The inner product of `query` (d,) with every row: (n,) float32."""
        return np.concatenate([inner_products(part, query) for part in (self._mapped, self._grown.array)])

    def similarities_of(self, rows: Rows, query: Vectors) -> Vectors:
        """The inner product of `query` (d,) with some rows (n,): (n,) float32."""
        old = rows < len(self._mapped)
        if old.all():
            return _products(self._mapped, rows, query)
        products = np.empty(len(rows), np.float32)
        products[old] = _products(self._mapped, rows[old], query)
        products[~old] = _products(self._grown.array, rows[~old] - len(self._mapped), query)
        return products

    def search(self, query: Vectors, k: int, alive: NDArray[np.bool_]) -> tuple[Rows, Vectors]:
        """The `k` rows most like `query` among those `alive` (n,), best first: their numbers and similarities."""
        first = len(self._mapped)
        mapped = self._search_mapped(query, k, alive[:first])
        row = np.concatenate([mapped, np.nonzero(alive[first:])[0] + first])
        score = self.similarities_of(row, query)
        if len(row) > k > 0:
            least = np.partition(score, len(score) - k)[len(score) - k]
            row, score = row[score >= least], score[score >= least]
        best = np.lexsort((row, -score))[:k]
        return row[best], score[best]

    def _search_mapped(self, query: Vectors, k: int, alive: NDArray[np.bool_]) -> Rows:
        """Rows of the snapshot among which its best `k` are, or most of them where lists are asked."""
        there = int(np.count_nonzero(alive))
        # Taking single rows costs some ten times what the lists need for one.
        if self._lists is None or there <= max(k, 0.1 * self._lists.share * len(alive)):
            return np.nonzero(alive)[0]
        found = self._lists.search(query, int(SPARE * k) + SPARE_ROWS, alive)
        return found if len(found) >= min(k, there) else np.nonzero(alive)[0]

    def take(self, rows: Rows) -> Vectors:
        """Copies of rows: (len(rows), d) float32."""
        taken = np.empty((len(rows), self.dimension), np.float32)
        old = rows < len(self._mapped)
        taken[old] = self._mapped[rows[old]]
        taken[~old] = self._grown.array[rows[~old] - len(self._mapped)]
        return taken

    def frozen(self) -> VectorIndex:
        """What there is now, whatever comes."""
        frozen = VectorIndex(self.dimension, self._mapped, self._lists)
        frozen._grown = self._grown.frozen()
        return frozen

    def save(self, path: Path, rows: Rows) -> None:
        """Write the given rows, in this order, as an index of their own; where they are many, lists beside it."""
        blocks = (self.take(rows[first : first + CHUNK]) for first in range(0, len(rows), CHUNK))
        write_array(path, np.float32, (len(rows), self.dimension), blocks)
        if len(rows) >= MANY:
            InvertedLists.build(self.take, rows, self.dimension, self._lists).save(_lists_beside(path))


def _products(vectors: Vectors, rows: Rows, query: Vectors) -> Vectors:
    """The inner product of `query` with some of the vectors, none of which is copied; with all where that is faster."""
    faiss = load_faiss()

    if len(rows) > len(vectors) // 4:
        return inner_products(vectors, query)[rows]
    products, rows = np.empty(len(rows), np.float32), np.ascontiguousarray(rows)
    if len(rows):
        query = np.ascontiguousarray(query, dtype=np.float32)
        arrays = (faiss.swig_ptr(array) for array in (products, query, vectors, rows))
        with one_thread():
            faiss.fvec_inner_products_by_idx(*arrays, vectors.shape[1], 1, len(rows))
    return products


def _lists_beside(path: Path) -> Path:
    return path.with_suffix(".lists")
