"""What a run leaves behind so that it can go on after an interruption: run.json, and one JSON line a question."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from hippomem import SourceError, StoreAccessError

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunFile:
    """OUT/run.json: which data, settings and code the rest of the folder came from."""

    path: Path

    def read(self) -> dict[str, Any]:
        """The content; empty where there is no file. Raises SourceError where it is damaged or cannot be read."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.path} cannot be read ({error}): choose another folder, or delete it") from None
        if not isinstance(content, dict):
            raise SourceError(f"{self.path} was not written by this command: choose another folder")
        return content

    def update(self, **entries: Any) -> None:
        """Set top-level entries."""
        write_json(self.path, self.read() | entries)


def load_rows(path: Path) -> tuple[dict[str, Row], int]:
    """The rows of a file of results by their ids, up to a line that was not finished, and how many bytes they take."""
    rows: dict[str, Row] = {}
    size = 0
    with path.open("rb") as lines:
        for line in lines:
            try:
                row: Any = json.loads(line) if line.endswith(b"\n") else None
                rows[row["id"]] = row
            except (ValueError, KeyError, TypeError):
                break
            size += len(line)
    return rows, size


class Results:
    """OUT/SYSTEM.jsonl: the rows of the questions that are done, by their ids. A context manager."""

    def __init__(self, path: Path, *, keep: bool) -> None:
        """`keep` what an earlier run wrote, up to a line that it did not finish; else begin anew."""
        self._path = path
        self.rows, size = load_rows(path) if keep and path.exists() else ({}, 0)
        self._stream: IO[bytes] = path.open("ab")
        self._stream.truncate(size)

    def append(self, row: Row) -> None:
        """Add a row. It survives the death of this process from here on."""
        self._stream.write(_line(row))
        self._stream.flush()
        self.rows[row["id"]] = row

    def drop(self, ids: Collection[str]) -> None:
        """Take rows out, to be measured again. An interruption loses no other row."""
        if not ids:
            return
        self.rows = {id_: row for id_, row in self.rows.items() if id_ not in ids}
        part = self._path.with_name(self._path.name + ".part")
        part.write_bytes(b"".join(map(_line, self.rows.values())))
        self._stream.close()
        part.replace(self._path)
        self._stream = self._path.open("ab")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stream.close()


def _line(row: Row) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def open_results(run: RunFile, name: str, same: Mapping[str, Any], tell: Callable[[str], None]) -> Results:
    """The results of a system, beside run.json; with those of an earlier run where all of `same` was the same then.

    Raises StoreAccessError where a file of that name is no run's: it may be somebody's data set.
    """
    earlier = run.read().get("systems", {})
    keep = earlier.get(name) == same
    path = run.path.with_name(f"{name}.jsonl")
    if name not in earlier and path.exists() and path.stat().st_size:
        raise StoreAccessError(f"{path} was not made by this command: choose another folder")
    if name in earlier and not keep:
        tell(f"{path} came from other data, settings or code: starting over")
    results = Results(path, keep=keep)
    # After the file was emptied: in the other order, an interruption would pass off the old rows as new ones.
    run.update(systems=earlier | {name: same})
    return results


def write_json(path: Path, content: object) -> None:
    """JSON with `write_text`."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def write_text(path: Path, content: str) -> None:
    """Write and rename: an interruption leaves no half of a file, a reader sees the old or the new one."""
    part = path.with_name(path.name + ".part")
    part.write_text(content, encoding="utf-8")
    part.replace(path)


def make_folder(path: Path) -> bool:
    """Create a folder for results, and tell whether it is new. Raises StoreAccessError where that cannot be, or it
    cannot be written to.
    """
    try:
        is_new = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreAccessError(f"{path} cannot be used as a folder for results: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise StoreAccessError(f"{path} cannot be used as a folder for results: it cannot be written to")
    return is_new


@contextmanager
def alone_in(path: Path) -> Iterator[None]:
    """`make_folder`, and hold it: a second run there would ask again what is being asked, write the same lines once
    more, or begin the first one's files anew. A folder that was made for a run that left nothing in it goes again.
    Raises StoreAccessError, also where another run holds it.
    """
    is_new = make_folder(path)
    try:
        with _held(path):
            yield
    finally:
        if is_new:
            with suppress(OSError):  # it is not empty
                path.rmdir()


@contextmanager
def _held(path: Path) -> Iterator[None]:
    if sys.platform == "win32":  # folders cannot be held there
        yield
        return
    import fcntl

    held = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreAccessError(f"another run writes to {path}: wait for it, or choose another folder") from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(held)
