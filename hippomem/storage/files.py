"""Files that are written whole, in the place of what was there: not of a database."""

from __future__ import annotations

import os
from pathlib import Path

from hippomem.errors import InvalidInputError

HEADER, LOG_HEADERS = b"SQLite format 3\x00", (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
BESIDE = ("-wal", "-shm", "-journal")  # after a database's name: what lies beside it


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


def head_of(file: str | Path) -> bytes:
    """The first bytes of a file, by which a database is known; none of what is no file."""
    path = Path(file)
    if not path.is_file():  # a pipe would be waited for
        return b""
    with path.open("rb") as opened:
        return opened.read(len(HEADER))
