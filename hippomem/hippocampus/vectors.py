"""Passage vectors in FAISS: a memory-mapped flat index from the snapshot, and one that grows beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def inner_products(rows: Vectors, query: Vectors) -> Vectors:
    """rows (n, d) times query (d,), both float32 and contiguous: (n,).

    On one thread: at these sizes a threaded BLAS spends longer on waking its threads than on the product.
    """
    import faiss

    products = np.empty(len(rows), np.float32)
    if len(rows):
        query = np.ascontiguousarray(query, dtype=np.float32)
        faiss.fvec_inner_products_ny(  # type: ignore[attr-defined]
            faiss.swig_ptr(products), faiss.swig_ptr(query), faiss.swig_ptr(rows), rows.shape[1], len(rows)
        )
    return products


class VectorIndex:
    """Exact inner-product search over rows numbered from 0. Rows are never moved; dead ones are passed over.

    The two parts are apart because a memory-mapped FAISS index must not be added to.
    """

    def __init__(self, dimension: int, mapped: Any = None) -> None:
        import faiss

        self.dimension = dimension
        self._mapped = mapped
        self._grown = faiss.IndexFlatIP(dimension)

    @classmethod
    def load(cls, path: Path) -> VectorIndex:
        """Open what `save` wrote, without reading it into memory."""
        import faiss

        mapped = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        return cls(mapped.d, mapped)

    def __len__(self) -> int:
        return sum(part.ntotal for part in self._parts())

    def add(self, vectors: Vectors) -> None:
        """Append rows: (n, d) float32, L2-normalised."""
        self._grown.add(np.ascontiguousarray(vectors, dtype=np.float32))

    def similarities(self, query: Vectors) -> Vectors:
        """The inner product of `query` (d,) with every row: (n,) float32."""
        return np.concatenate(
            [inner_products(self._rows(p), query) for p in self._parts()] or [np.empty(0, np.float32)]
        )

    def search(self, query: Vectors, k: int, alive: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Vectors]:
        """The `k` rows most like `query` among those `alive` (n,), best first: their numbers and similarities."""
        import faiss

        rows: list[NDArray[np.int64]] = []
        scores: list[Vectors] = []
        first = 0
        for part in self._parts():
            some = alive[first : first + part.ntotal]
            bits = np.packbits(some, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            found, ids = part.search(
                query[None, :].astype(np.float32),
                max(1, min(k, int(some.sum()))),
                params=faiss.SearchParameters(sel=selector),  # type: ignore[call-arg]
            )
            hit = ids[0] >= 0
            rows.append(ids[0][hit] + first)
            scores.append(found[0][hit])
            first += part.ntotal
        if not rows:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        row, score = np.concatenate(rows), np.concatenate(scores)
        best = np.lexsort((row, -score))[:k]
        return row[best], score[best]

    def take(self, rows: NDArray[np.int64]) -> Vectors:
        """Copies of rows: (len(rows), d) float32."""
        parts = [self._rows(part) for part in self._parts()]
        everything = (
            parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty((0, self.dimension), np.float32)])
        )
        return np.asarray(everything[rows], dtype=np.float32)

    def save(self, path: Path, rows: NDArray[np.int64]) -> None:
        """Write the given rows, in this order, as an index of their own."""
        import faiss

        index = faiss.IndexFlatIP(self.dimension)
        index.add(self.take(rows))
        faiss.write_index(index, str(path))

    def _parts(self) -> list[Any]:
        return [part for part in (self._mapped, self._grown) if part is not None and part.ntotal]

    def _rows(self, part: Any) -> Vectors:
        import faiss

        flat = faiss.rev_swig_ptr(part.get_xb(), part.ntotal * self.dimension)
        return np.asarray(flat, dtype=np.float32).reshape(-1, self.dimension)
