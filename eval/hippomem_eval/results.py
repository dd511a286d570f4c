"""What a run leaves behind so that it can go on after an interruption: run.json and one JSON line a question."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hippomem.errors import SourceError, StoreAccessError

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunFile:
    """OUT/run.json: which data, settings and code the rest of the folder came from."""

    path: Path

    def read(self) -> Row:
        """The content; empty where there is no file. Raises SourceError where it is damaged."""
        if not self.path.exists():
            return {}
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.path} cannot be read ({error}): choose another folder, or delete it") from None
        if not isinstance(content, dict):
            raise SourceError(f"{self.path} was not written by this command: choose another folder")
        return content

    def update(self, **entries: Any) -> None:
        """Set top-level entries. The file is replaced at once: a reader sees the old or the new one."""
        write_json(self.path, self.read() | entries)


@dataclass(slots=True)
class Results:
    """OUT/SYSTEM.jsonl: the rows of questions that are done, in the order they were asked. A context manager."""

    path: Path

    def __enter__(self) -> Self:
        self._stream = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stream.close()

    _stream: Any = None

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row; it is with the operating system when this returns."""
        self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._stream.flush()

    def resume(self, settings: Mapping[str, Any], header: Mapping[str, Any]) -> dict[str, Row]:
        raise NotImplementedError


def write_json(path: Path, content: object) -> None:
    """Write and rename, so that an interruption leaves no half of a file."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)


def make_folder(path: Path) -> None:
    """Create a folder for results. Raises StoreAccessError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreAccessError(f"{path} cannot be used as a folder for results: {error.strerror}") from error
