"""How many threads compute, and that there may be no further one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from hippomem.errors import HippomemError
from hippomem.importing import load_faiss


def given_threads() -> int | None:
    """How many threads `OMP_NUM_THREADS` gives this process; None where it does not say."""
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(given) or None if given.isdecimal() else None


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_COUNT = Lock()  # torch's number of threads is the process's: who changes it must be alone


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Has what torch computes meanwhile done by the calling thread alone.

    What is small is done before a second one is awake, and on a busy machine waiting for it costs tens of ms.
    """
    import torch

    with _COUNT:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@contextmanager
def one_thread() -> Iterator[None]:
    """Has what FAISS computes for the calling thread done by it alone.

    For a single question that is as fast, and its other threads, of which there is one for each processor, would not
    sleep between two such calls but wait in a loop.
    """
    faiss = load_faiss()

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


@contextmanager
def starting() -> Iterator[None]:
    """Where a thread is started. Raises HippomemError where the system gives no further one."""
    try:
        yield
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        raise HippomemError(
            "no further thread can be started: end other processes, or raise the limit on them (ulimit -u, or the one "
            "of the container)"
        ) from error
