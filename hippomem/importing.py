"""Imports that Ctrl-C does not break off, and FAISS's beside torch."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

# What an OpenMP runtime reads when it begins, and never again.
_SECOND = {"KMP_DUPLICATE_LIB_OK": "TRUE", "OMP_NUM_THREADS": "1"}
_LOADING = threading.Lock()


def import_whole(name: str) -> ModuleType:
    """A package that is imported as a whole, or not at all. Raises what its import raises.

    Ctrl-C reaches the main thread alone, so another one imports. Half of torch, which spaCy imports too, could not be
    imported again: in the process where that was broken off, as in a notebook, no model could be loaded any more, or
    the process was aborted.
    """
    if name not in sys.modules and threading.current_thread() is threading.main_thread():
        with ThreadPoolExecutor(1) as pool:  # where the main thread is interrupted, it waits for the import first
            return pool.submit(importlib.import_module, name).result()
    return importlib.import_module(name)


def load_faiss() -> Any:
    """FAISS. On macOS it comes with an OpenMP runtime of its own, as torch does: the one that is loaded second refuses
    to begin unless it is allowed to, and ends the process with its second thread (pytorch issue 149201).
    There torch's is loaded first, and FAISS's computes on one thread.
    """
    if sys.platform == "darwin":
        with _LOADING:
            if "faiss" not in sys.modules:
                return _faiss_beside_torch()
    return importlib.import_module("faiss")


def _faiss_beside_torch() -> Any:
    torch: Any = import_whole("torch")
    torch.get_num_threads()  # its runtime has begun by then
    given = {name: os.environ.get(name) for name in _SECOND}
    os.environ.update(_SECOND)
    try:
        faiss: Any = importlib.import_module("faiss")
        faiss.omp_get_max_threads()  # and so has this one
    finally:
        for name, value in given.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return faiss
