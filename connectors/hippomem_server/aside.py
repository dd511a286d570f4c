"""What is put aside on the disk while it is taken in or given out: folders that go when they are done with, and where a
server is killed, when one starts next."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import weakref
from pathlib import Path

PREFIX = "hippomem-serve-"


class Folder(tempfile.TemporaryDirectory[str]):
    """A temporary folder. It is locked while its process lives: so others can tell what a killed one has left."""

    def __init__(self) -> None:
        super().__init__(prefix=PREFIX)
        held = _lock(self.name, wait=True)
        self._unlock = weakref.finalize(self, os.close, held) if held is not None else None

    def cleanup(self) -> None:
        """Remove it; a second time does nothing."""
        super().cleanup()
        if self._unlock:
            self._unlock()


def clear_left() -> None:
    """Remove what servers that were killed have left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        held = None if folder.is_symlink() else _lock(folder)
        if held is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)


def _lock(folder: str | Path, *, wait: bool = False) -> int | None:
    """Hold a folder until the number that comes back is closed, or the process ends. None where somebody else does,
    or it is not ours, or folders cannot be held there."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(number)
        return None
    return number
