"""Imports that Ctrl-C does not break off."""

from __future__ import annotations

import importlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType


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
