"""How many threads compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """Has what FAISS computes for the calling thread done by it alone.

    For a single question that is as fast, and its other threads, of which there is one for each processor, would not
    sleep between two such calls but wait in a loop.
    """
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
