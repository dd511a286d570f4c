"""Models are loaded once a process: an agent may hold many memories, or open one for each question."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakValueDictionary

Model = TypeVar("Model")

_LOADED: dict[str, Any] = {}
_IN_USE: WeakValueDictionary[tuple[object, ...], Any] = WeakValueDictionary()
_LOADING = Lock()


def shared(kind: str, load: Callable[[], Model]) -> Model:
    """The packaged model of a kind: what `load` gave when it was asked for first. It stays until the process ends."""
    with _LOADING:  # of threads that come at once, one loads
        if kind not in _LOADED:
            _LOADED[kind] = load()
        model: Model = _LOADED[kind]
        return model


def shared_in_use(kind: str, name: str, load: Callable[[], Model]) -> Model:
    """A model by its name or folder, as long as somebody has it; where files of the folder have changed, another one.
    It must be a thing that weak references can be made to.
    """
    key = kind, name, *_files(Path(name))
    with _LOADING:
        model: Model | None = _IN_USE.get(key)
        if model is None:
            model = _IN_USE[key] = load()
        return model


def _files(folder: Path) -> list[tuple[str, int, int]]:
    """What tells one state of a folder from another: names, sizes and times of its files; nothing where it is none."""
    found = []
    for file in sorted(folder.resolve().rglob("*")) if folder.is_dir() else ():
        with suppress(OSError):  # a link that leads nowhere
            about = file.stat()
            found.append((str(file), about.st_size, about.st_mtime_ns))
    return found
