"""Packaged models are loaded once a process: an agent may hold many memories, or open one for each question."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

Model = TypeVar("Model")

_LOADED: dict[str, Any] = {}
_LOADING = Lock()


def shared(name: str, load: Callable[[], Model]) -> Model:
    """What `load` gave the first time that this model was asked for. It stays until the process ends, so this is not
    for a folder, which may be written anew meanwhile.
    """
    with _LOADING:  # of threads that come at once, one loads
        if name not in _LOADED:
            _LOADED[name] = load()
        model: Model = _LOADED[name]
        return model
