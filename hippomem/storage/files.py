"""Files that are written whole, in the place of what was there: not of a database.

Nor may anything but SQLite open the files of a database that is open in this process: when it closed them, all locks
would be gone that the process has in them (sqlite.org/howtocorrupt.html, 2.2). Another process would then remove the
log of what is written here from then on, or write to the same pages.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

from hippomem.errors import InvalidInputError

HEADER, LOG_HEADERS = b"SQLite format 3\x00", (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
BESIDE = ("-wal", "-shm", "-journal")  # after a database's name: what lies beside it
VIEWS = ".views"  # the same of the folder of its views
HELD: WeakSet[Any] = WeakSet()  # databases that are open in this process, each with its `path`
MOVING_SECONDS = 2.0
PAUSE_SECONDS = 0.05  # until one tries again what somebody prevents who is soon done
HOLDING = threading.RLock()  # from before a file is looked into until it is held, or let go


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that is written beside `path` and takes its place at the end, or goes where that fails. Where the process
    is killed it stays, until the next one is written there. Raises OSError, and what `replaceable` raises."""
    place = replaceable(path)
    beginning = f".{place.name[:50]}."
    _clear_left(place.parent, beginning)
    work = place.with_name(f"{beginning}{uuid.uuid4().hex[:8]}.part")
    held = None
    try:
        with work.open("xb") as file:
            held = lock(work)
            yield file
            file.flush()
            os.fsync(file.fileno())
        moved(work, place)
    except BaseException:
        with suppress(OSError, ValueError):
            work.unlink()
        raise
    finally:
        if held is not None:
            os.close(held)


def moved(work: Path, place: Path) -> None:
    """Give a file or folder its name. Windows refuses that while anybody has one of them open, as who looks for viruses
    in what is new: it is tried again for MOVING_SECONDS. Raises OSError."""
    deadline = time.monotonic() + MOVING_SECONDS
    while True:
        try:
            work.replace(place)
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return


def _clear_left(folder: Path, beginning: str) -> None:
    """Remove what processes that were killed have left: they hold it no more."""
    with suppress(OSError):
        for file in folder.iterdir():
            if re.fullmatch(re.escape(beginning) + "[0-9a-f]{8}[.]part", file.name):
                held = lock(file)
                if held is not None:
                    file.unlink(missing_ok=True)
                    os.close(held)


def lock(file: Path) -> int | None:
    """Lock a file or folder until the number that comes back is closed, or the process ends. None where somebody else
    does, or files cannot be locked there."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        number = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe would be waited for
    except OSError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        return None
    return number


def replaceable(path: Path) -> Path:
    """The file that is to be replaced where `path` is written: what a link leads to. Raises InvalidInputError where
    that is a device or a pipe, which would be gone, or a database or a part of one that lies beside it."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InvalidInputError(f"{path} is a device or a pipe: give the name of a file, which is written as a whole")
    name = os.path.realpath(path)
    beside = (name.removesuffix(ending) for ending in BESIDE if name.endswith(ending))
    if head_of(name).startswith((HEADER, *LOG_HEADERS)) or any(head_of(other) == HEADER for other in beside):
        raise InvalidInputError(f"{path} is a database, or a part of one: give the name of another file")
    return Path(name)


def real_path(name: str) -> str:
    """A path without links. What names a share of another machine stays as it is: Windows would log in there, and the
    name may come from a stranger."""
    if sys.platform == "win32" and name[:2].replace("\\", "/") == "//":
        return os.path.abspath(name)  # noqa: PTH100
    return os.path.realpath(name)


def make_views(folder: Path) -> None:
    """Make a folder below that of a database's views. Nobody may look into that one who may not look into the database,
    whose names and vectors it holds: as SQLite has it with the log. Raises OSError."""
    views = next((one for one in (folder, *folder.parents) if one.name.endswith(VIEWS)), None)
    if views is not None:
        narrow_views(views, make=True)
    folder.mkdir(parents=True, exist_ok=True)


def narrow_views(views: Path, *, make: bool = False) -> None:
    """Have nobody look into the folder of a database's views, which may be made, who may not look into the database.
    Raises OSError where that cannot be had."""
    file = views.with_name(views.name.removesuffix(VIEWS))
    if not file.is_file() or not (make or views.exists()):
        return
    may = file.stat().st_mode & 0o066
    may |= 0o700 | (may & 0o044) >> 2  # of a folder, to read is nothing without to search
    if make:
        views.mkdir(may, exist_ok=True)
    mode = stat.S_IMODE(views.stat().st_mode)
    if os.name == "posix" and mode & 0o077 & ~may:
        views.chmod(mode & ~(0o077 & ~may))


def head_of(file: str | Path) -> bytes:
    """The first bytes of a file, by which a database is known; none of what is no file."""
    path = Path(file)
    if not path.is_file():  # a pipe would be waited for
        return b""
    with HOLDING:
        if is_held(path):
            return HEADER
        with path.open("rb") as opened:
            return opened.read(len(HEADER))


def is_held(file: str | Path) -> bool:
    """Whether a file or folder, by its name without links, belongs to a database that is open in this process; also by
    another name of it, as where capitals make no difference."""
    with HOLDING:
        names = {str(held.path) + ending for held in HELD for ending in ("", *BESIDE, VIEWS)}
    if str(file) in names:
        return True
    with suppress(OSError):
        own = os.stat(file)  # noqa: PTH116
        for name in names:
            with suppress(OSError):
                if os.path.samestat(own, os.stat(name)):  # noqa: PTH116
                    return True
    return False
