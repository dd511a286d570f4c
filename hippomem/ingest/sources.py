"""Which files an ingest reads: a file, or everything that is not hidden below a folder."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hippomem.errors import InvalidInputError, NotFoundError, SourceError
from hippomem.ingest.decode import clean, is_storable
from hippomem.storage.files import is_held
from hippomem.types import Failure, File

_OWN_FILES = (".db", ".db-wal", ".db-shm", ".db-journal")
_OWN_FOLDERS = (".db.views",)
_HELD = "is a database that is open"
_PIPE = "is a pipe: write what comes from it to a file, by whose path it can be replaced later, and ingest that"


class EmptySourceError(SourceError):
    """A file that was read to its end, and there is nothing in it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A regular file. `name` identifies it: its absolute POSIX path, without links, or that of a `File`. `path` is
    where it was found: that may be a link, whose name tells format and title, for what it leads to may have any. `size`
    is in bytes.
    """

    name: str
    path: Path
    size: int


def checked_path(target: str | os.PathLike[str]) -> str:
    """Its name. Raises InvalidInputError where that is empty: `Path` takes it for the working directory."""
    name = os.fspath(target)
    if not name.strip():
        raise InvalidInputError("a path is empty: '.' stands for this folder")
    return name


def find_sources(target: str | os.PathLike[str]) -> Iterator[Source | Failure]:
    """The files of `target`, a file or a folder; folders are walked recursively, sorted by name.

    Below a folder, hidden entries and hippomem's own databases and view folders are skipped, a file that is reached
    twice (through a link) comes once, and a link to a folder is followed unless it leads to one seen before or to a
    folder around the target. What cannot be read is a Failure: special files (which are never opened), dead links,
    missing permissions. Raises NotFoundError where there is no `target`, InvalidInputError where its name is empty.
    """
    path = Path(checked_path(target))
    try:
        real = path.resolve(strict=True)
        mode = real.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        # ValueError: a NUL in the path, which names no file.
        if path.exists():  # what /dev/stdin leads to has no path
            yield _failure(path, _PIPE)
            return
        raise NotFoundError(f"there is no file or folder {os.fspath(target)!r}") from None
    except (OSError, RuntimeError) as error:
        # RuntimeError: how Path.resolve reports a link to itself before Python 3.13.
        yield _failure(path, _reason(error))
        return
    yield from _walk(real) if stat.S_ISDIR(mode) else (_file(path.absolute() if path.is_symlink() else real, real),)


def named_source(file: File) -> Source | Failure:
    """The one file of `file`, under its `source`; a Failure where it cannot be read. Raises NotFoundError where it is
    not there, InvalidInputError for a source that is empty or cannot be stored.
    """
    if not isinstance(file.source, str) or not file.source.strip() or not is_storable(file.source):
        raise InvalidInputError("the source of a File is empty, or holds NULs or lone surrogates")
    path = Path(checked_path(file.path))
    if not os.path.lexists(path):
        raise NotFoundError(f"there is no file {os.fspath(file.path)!r}")
    found = _failure(path, _HELD) if is_held(os.path.realpath(path)) else _file(path.absolute(), path.absolute())
    if isinstance(found, Failure):
        return replace(found, source=file.source)
    return replace(found, name=file.source)


def fingerprint(source: Source) -> str:
    """SHA-256 of the file's bytes, in hex; the file is streamed. Raises SourceError where it cannot be read."""
    try:
        with source.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(_reason(error)) from error


def state(source: Source) -> tuple[int, int] | None:
    """The file's size in bytes, and when it was written to, in nanoseconds: while both stay, so does what is in it.
    None where it is not there.
    """
    try:
        status = source.path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _walk(root: Path) -> Iterator[Source | Failure]:
    seen = set(map(str, root.parents))
    # A stack and not recursion: a folder tree may be deeper than Python's call stack.
    todo = [root]
    while todo:
        path = todo.pop()
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
            # All before the last part is resolved already; doing it again for each entry takes long in deep trees.
            real = path.resolve() if path.is_symlink() else path
            if path != root and (path.name.endswith(_OWN_FOLDERS if is_folder else _OWN_FILES) or is_held(real)):
                continue
            if str(real) in seen:
                continue
            seen.add(str(real))
            inside = sorted(real.iterdir(), reverse=True) if is_folder else []
        except (OSError, RuntimeError) as error:
            yield _failure(path, "is a link to nothing" if _is_dead(path, error) else _reason(error))
            continue
        if not is_folder:
            yield _file(path, real)
        todo.extend(entry for entry in inside if not entry.name.startswith("."))


def _is_dead(path: Path, error: Exception) -> bool:
    return isinstance(error, FileNotFoundError) and path.is_symlink()


def _file(path: Path, real: Path) -> Source | Failure:
    name = real.as_posix()
    if is_held(real):
        return _failure(path, _HELD)
    if not is_storable(name) or not is_storable(path.name):
        return _failure(path, "has a name that is not valid text: rename the file")
    try:
        status = path.stat()
    except OSError as error:
        return _failure(path, _reason(error))
    if not stat.S_ISREG(status.st_mode):
        return _failure(path, "is not a regular file")
    if not os.access(path, os.R_OK):
        return _failure(path, "cannot be read: Permission denied")
    return Source(name=name, path=path, size=status.st_size)


def _failure(path: Path, reason: str) -> Failure:
    return Failure(source=clean(path.as_posix()), reason=reason)


def _reason(error: Exception) -> str:
    return f"cannot be read: {getattr(error, 'strerror', None) or error}"
