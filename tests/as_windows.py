"""What of Windows hurts programs that were written on Linux, done to a process of its own: it stays so to its end.

No file that the process has open or mapped is removed, moved or replaced; no folder is opened; nothing is synced that
is open to be read; what Python knows only on POSIX is not there. Files that SQLite's and FAISS's own code removes are
not seen.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

ABSENT = (
    "fork",
    "register_at_fork",
    "sched_getaffinity",
    "fchmod",
    "getuid",
    "O_DIRECTORY",
    "O_NOFOLLOW",
    "O_NONBLOCK",
)
MODULES = ("fcntl", "resource", "pwd", "grp", "termios")
_get_flags, _open, _fsync = fcntl.fcntl, os.open, os.fsync


def begin() -> None:
    """From here on. What is imported already stays."""
    for name in ABSENT:
        delattr(os, name)
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    os.open, os.fsync = _open_files, _sync_written
    sys.platform = "win32"
    sys.addaudithook(_refuse)


def in_use() -> set[str]:
    """The files that this process has open or mapped."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123 - as in `_refuse`
        found = {line.split(maxsplit=5)[5].rstrip("\n") for line in lines if "/" in line}
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with suppress(OSError):
            if stat.S_ISREG(os.fstat(int(number)).st_mode):
                found.add(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115
    return found


def _refuse(event: str, given: tuple[Any, ...]) -> None:
    if event == "os.rename":
        paths = [_whole(given[0], given[2]), _whole(given[1], given[3])]
    elif event in ("os.remove", "os.rmdir"):
        paths = [_whole(given[0], given[1])]
    else:
        return
    for file in in_use():
        for path in paths:
            if file == path or file.startswith(path + "/"):
                raise PermissionError(errno.EACCES, "The process cannot access the file, it is being used", path)


def _whole(path: Any, folder: int) -> str:
    name = os.fsdecode(path)
    if folder != -1:
        name = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name)  # noqa: PTH115, PTH118
    return os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))  # noqa: PTH118, PTH119, PTH120


def _open_files(path: Any, flags: int, *args: Any, **options: Any) -> int:
    is_its_own = sys._getframe(1).f_code.co_filename == shutil.__file__  # rmtree's, which does without there
    if not is_its_own and not isinstance(path, int) and Path(os.fsdecode(path)).is_dir():
        raise PermissionError(errno.EACCES, "Permission denied", path)
    return _open(path, flags, *args, **options)


def _sync_written(number: int) -> None:
    if _get_flags(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    _fsync(number)
