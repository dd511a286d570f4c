"""Which files a client may have ingested: what lies in the folders that the server was given, and nothing else."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from hippomem import InvalidInputError

_OWN = re.compile(r"\.db(-wal|-shm|-journal|\.views)?")  # what an ingest of a folder passes over
_SHARE = re.compile(r"[\\/]{2}")


def inside(path: str, folders: Sequence[Path]) -> Path:
    """The path, where it leads into one of the folders, also by way of links. Raises InvalidInputError."""
    if not path.strip():
        raise InvalidInputError("a path is empty: '.' stands for all of the folder")
    if "\0" in path:
        raise InvalidInputError("the path holds a NUL character")
    if sys.platform == "win32" and _SHARE.match(path):  # it would log in to any machine that is named here
        folders = [folder for folder in folders if Path(os.path.abspath(path)).is_relative_to(folder)]  # noqa: PTH100
    for folder in folders:
        found = Path(os.path.realpath(folder / path))
        if found.is_relative_to(folder):
            return found
    raise InvalidInputError(f"{path!r} is outside of {', '.join(map(str, folders))}")


def without_stray_links(path: Path) -> tuple[list[Path], list[Path]]:
    """What to ingest of a path, and the links below it that are left out: an ingest would follow them, and they lead
    out of it, to what is hidden in it, or to nothing.
    """
    links = list(_links(path))
    stray = sorted(link for link in links if _is_stray(Path(os.path.realpath(link)), path))
    if not stray:
        return [path], []
    # A link to another folder in it might lead on to one of these; what is in that folder comes without it.
    left_out = {*stray, *(link for link in links if link.is_dir())}
    split = {folder for link in left_out for folder in link.parents if folder.is_relative_to(path)}
    kept = [
        entry
        for folder in sorted(split)
        for entry in sorted(folder.iterdir())
        if entry not in split | left_out and not entry.name.startswith(".") and not _OWN.search(entry.name)
    ]
    return kept, stray


def _links(path: Path) -> Iterator[Path]:
    """The links below a folder that are not hidden, none of them followed."""
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = (Path(folder, name) for name in (*folders, *files) if not name.startswith("."))
        yield from (entry for entry in shown if entry.is_symlink())


def _is_stray(target: Path, path: Path) -> bool:
    if not target.is_relative_to(path) or not target.exists():
        return True
    return any(part.startswith(".") for part in target.relative_to(path).parts)
