"""Approximate search in many vectors: an inverted file over 4-bit codes in FAISS (IndexIVFPQFastScan).

Vectors lie in the list of their nearest centroid (Sivic and Zisserman, "Video Google", ICCV 2003; Jégou, Douze and
Schmid, "Product Quantization for Nearest Neighbor Search", 2011, section IV), and every two of their numbers are one
code of 4 bits, so that products with a query come from tables in registers (André, Kermarrec and Le Scouarnec,
"Accelerated Nearest Neighbor Search with Quick ADC", ICMR 2017). A search reads the lists whose centroids are most
like the query. Its scores are those of the codes: who searches compares the vectors themselves again.

The sample that the centroids are trained on is chosen by a hash of the vectors, so equal sets of vectors have the same
lists, in whatever order they came, where they were trained on all of it. But a set that has not doubled since keeps
its centroids, and no approximate search promises to find all that an exact one does: which of the rows at the margin
are found depends on this history.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hippomem.importing import load_faiss
from hippomem.threads import one_thread

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

CHUNK = 1 << 16  # vectors held in memory at once
PER_LIST = 40  # vectors that a centroid is trained on
ITERATIONS = 8  # of k-means
SEED = 20250211
PROBES = 13.75  # times n ** (1/4): 99 % of the exact first 100, measured on 100,000 vectors of real sentences


class InvertedLists:
    """Rows numbered from 0, each in one list."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @classmethod
    def load(cls, path: Path) -> InvertedLists:
        """Open what `save` wrote, without reading it into memory."""
        faiss = load_faiss()

        if sys.platform == "win32":  # as in `open_array`; and names beyond ASCII it would not find
            with path.open("rb") as file:
                return cls(faiss.read_index(faiss.PyCallbackIOReader(file.read)))
        return cls(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))

    def save(self, path: Path) -> None:
        """Write to a file of its own."""
        faiss = load_faiss()

        with path.open("wb") as file:  # FAISS's own file would not raise where closing it fails on a full disk
            faiss.write_index(self._index, faiss.PyCallbackIOWriter(file.write))

    @classmethod
    def build(
        cls, take: Callable[[Rows], Vectors], rows: Rows, dimension: int, earlier: InvertedLists | None = None
    ) -> InvertedLists:
        """Lists of the vectors that `take` gives for `rows`, which are numbered anew from 0 in this order.

        The centroids of `earlier` are kept while they fit the number of rows.
        """
        faiss = load_faiss()

        wanted = list_count(len(rows))
        if earlier is not None and wanted / 1.5 < earlier._index.nlist < wanted * 1.5:
            index = faiss.clone_index(earlier._index)
            index.reset()  # the rows; centroids and codes stay
        else:
            index = _trained(_sample(take, rows, wanted * PER_LIST), dimension, wanted)
        for first in range(0, len(rows), CHUNK):
            index.add(np.ascontiguousarray(take(rows[first : first + CHUNK])))
        return cls(index)

    def search(self, query: Vectors, k: int, alive: NDArray[np.bool_]) -> Rows:
        """Up to `k` of the rows most like `query` (d,) among those `alive` (n,), in no order."""
        faiss = load_faiss()

        share = np.count_nonzero(alive) / max(1, len(alive))
        # Where fewer are eligible, the first k of them lie in more lists.
        probes = min(int(self._index.nlist), int(self.probes / max(share, 1e-6) ** 0.5))
        parameters = faiss.SearchParametersIVF(nprobe=probes)
        if share < 1:
            bits = np.packbits(alive, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            parameters.sel = selector
        with one_thread():
            _, found = self._index.search(query[None, :].astype(np.float32), k, params=parameters)
        rows: Rows = found[0]
        return rows[(rows >= 0) & (rows < len(alive))]

    @property
    def probes(self) -> int:
        """How many lists a search reads where all rows are eligible."""
        return min(int(self._index.nlist), max(1, int(PROBES * len(self) ** 0.25)))

    @property
    def share(self) -> float:
        """The part of all rows that such a search reads."""
        return self.probes / int(self._index.nlist)


def list_count(rows: int) -> int:
    """How many lists a search in so many rows is best served by: 2 sqrt(n)."""
    return 2 * isqrt(rows)


def _trained(sample: Vectors, dimension: int, lists: int) -> Any:
    faiss = load_faiss()

    codes = dimension // 2 if dimension % 2 == 0 else dimension
    quantizer, metric = faiss.IndexFlatIP(dimension), faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFPQFastScan(quantizer, dimension, lists, codes, 4, metric)
    index.by_residual = False  # else every list would need tables of its own
    index.cp.niter, index.cp.seed, index.cp.spherical = ITERATIONS, SEED, True
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, PER_LIST
    index.train(sample)
    return index


def _sample(take: Callable[[Rows], Vectors], rows: Rows, size: int) -> Vectors:
    """`size` of the vectors, or all where there are fewer, chosen and ordered by a hash of their bytes."""
    hashes = np.empty(len(rows), np.uint64)
    random = np.random.default_rng(SEED)
    for first in range(0, len(rows), CHUNK):
        words = np.ascontiguousarray(take(rows[first : first + CHUNK])).view(np.uint32)
        if not first:
            factors = random.integers(1 << 63, size=words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        # A dot product modulo 2**64 with odd factors: its high bits are well mixed.
        hashes[first : first + len(words)] = (words * factors).sum(axis=1, dtype=np.uint64)
    return take(rows[np.argsort(hashes, kind="stable")[:size]])
