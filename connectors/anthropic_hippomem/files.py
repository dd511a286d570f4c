"""Files under /memories, each a source of a memory. The first passage of a file's source is its record: it has the
whole text in its metadata; the passages after it are the text in pieces, for recall to find.
"""

from __future__ import annotations

import inspect
import posixpath
import threading
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from hippomem import Document, HippomemError, InvalidInputError, Memory, NotFoundError
from hippomem_tools import checked_memory

ROOT = "/memories"
PLACE = "anthropic:"  # before the path, in the names of sources
RECORD = "anthropic_file"
DEPTH = 2  # levels of a folder that are listed
AROUND = 2  # lines shown before and after a change
TEXTS = ("path", "old_path", "new_path", "file_text", "old_str", "new_str", "insert_text")  # the parameters that are
_LOCKS: WeakKeyDictionary[Memory, threading.Lock] = WeakKeyDictionary()  # one agent must not undo another's change


class MemoryFileError(InvalidInputError):
    """What the model asked for cannot be done; the message tells it why. Nothing was changed."""


class MemoryFiles:
    """The six commands of the memory tool. The memory stays the caller's.

    `run` may be called from any thread: it does one command after the other, also of several of these for one memory.
    Of processes that change one file at the same moment, the last one counts. Every change is one transaction, but that
    `rename` writes before it removes. A model can neither see nor change anything of the memory but its files.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = checked_memory(memory)
        self._lock = _LOCKS.setdefault(self.memory, threading.Lock())

    def run(self, command: Mapping[str, Any]) -> str:
        """Do what the input of a `tool_use` block says, and give back the text of its result.

        Raises MemoryFileError for what cannot be done: its text belongs into a result with `is_error`.
        """
        commands: dict[str, Callable[..., str]] = {
            "view": self.view,
            "create": self.create,
            "str_replace": self.str_replace,
            "insert": self.insert,
            "delete": self.delete,
            "rename": self.rename,
        }
        given = {name: value for name, value in command.items() if name != "command" and value is not None}
        name = command.get("command")
        if not isinstance(name, str) or name not in commands:
            raise MemoryFileError(f"Unknown command: {name}. There are {', '.join(commands)}.")
        if wrong := [f"`{key}`" for key in TEXTS if not isinstance(given.get(key, ""), str)]:
            raise MemoryFileError(f"The parameters of {name} are wrong: {', '.join(wrong)} must be a string.")
        try:
            bound = inspect.signature(commands[name]).bind(**given)
        except TypeError as error:
            raise MemoryFileError(f"The parameters of {name} are wrong: {error}.") from None
        with self._lock:
            return commands[name](*bound.args, **bound.kwargs)

    def view(self, path: str, view_range: list[int] | None = None) -> str:
        """A folder's files, two levels deep, or a file's lines with their numbers, from `view_range[0]` to
        `view_range[1]` (-1: to the end)."""
        path = _checked(path)
        text = self._text(path)
        if text is None:
            return self._listing(path)
        lines = text.split("\n")
        first, last = 1, len(lines)
        if view_range is not None:
            is_list = isinstance(view_range, list | tuple) and len(view_range) == 2
            if not is_list or not all(isinstance(n, int) for n in view_range):
                raise MemoryFileError(f"Invalid `view_range` parameter: {view_range}. It should be two line numbers.")
            first, last = view_range[0], len(lines) if view_range[1] == -1 else min(view_range[1], len(lines))
            if not 1 <= first <= max(last, 1):
                raise MemoryFileError(
                    f"Invalid `view_range` parameter: {view_range}. It should be within the lines 1 to {len(lines)}."
                )
        return f"Here's the content of {path} with line numbers:\n" + _numbered(lines, first, last)

    def create(self, path: str, file_text: str) -> str:
        """A new file."""
        path = self._free(path, f"Error: File {path} already exists")
        self._write(path, file_text)
        return f"File created successfully at: {path}"

    def str_replace(self, path: str, old_str: str, new_str: str = "") -> str:
        """Replace the only place where a text occurs."""
        path, text = self._file(path)
        count = text.count(old_str) if old_str else 0
        if count == 0:
            raise MemoryFileError(
                f"No replacement was performed, old_str `{old_str}` did not appear verbatim in {path}."
            )
        if count > 1:
            parts = text.split(old_str)
            places = [str(old_str.join(parts[:i]).count("\n") + 1) for i in range(1, len(parts))]
            raise MemoryFileError(
                f"No replacement was performed. Multiple occurrences of old_str `{old_str}` in lines: "
                f"{', '.join(places)}. Please ensure it is unique"
            )
        at = text[: text.index(old_str)].count("\n") + 1
        self._write(path, text.replace(old_str, new_str))
        lines = text.replace(old_str, new_str).split("\n")
        changed = at + new_str.count("\n")
        return "The memory file has been edited. Here is the change with line numbers:\n" + _numbered(
            lines, max(1, at - AROUND), min(len(lines), changed + AROUND)
        )

    def insert(self, path: str, insert_line: int, insert_text: str) -> str:
        """Insert a text after a line; 0 is before the first one."""
        path, text = self._file(path)
        lines = text.split("\n")
        if not isinstance(insert_line, int) or not 0 <= insert_line <= len(lines):
            raise MemoryFileError(
                f"Invalid `insert_line` parameter: {insert_line}. It should be within the range of lines of the file: "
                f"[0, {len(lines)}]"
            )
        lines[insert_line:insert_line] = insert_text.removesuffix("\n").split("\n")
        self._write(path, "\n".join(lines))
        return f"The file {path} has been edited."

    def delete(self, path: str) -> str:
        """Remove a file, or a folder with all in it, for good."""
        path = _checked(path)
        if path == ROOT:
            raise MemoryFileError(f"{ROOT} itself cannot be deleted")
        is_file = self._text(path) is not None
        try:
            self.memory.forget(_source(path) if is_file else _source(path) + "/")
        except NotFoundError:
            raise MemoryFileError(f"The path {path} does not exist") from None
        return f"Successfully deleted {path}"

    def rename(self, old_path: str, new_path: str) -> str:
        """Give a file or a folder another name."""
        old = _checked(old_path)
        new = self._free(new_path, f"The destination {new_path} already exists")
        if old == ROOT or new.startswith(old + "/"):
            raise MemoryFileError(f"{old} cannot be moved to {new}")
        text = self._text(old)
        moved = {old: text} if text is not None else {path: self._text(path) or "" for path in self._paths(old)}
        if not moved:
            raise MemoryFileError(f"The path {old} does not exist")
        self._write_all({new + path.removeprefix(old): text for path, text in moved.items()})
        self.memory.forget([_source(path) for path in moved])
        return f"Successfully renamed {old} to {new}"

    def clear(self) -> str:
        """Remove all files."""
        if self._paths(ROOT):
            self.memory.forget(_source(ROOT) + "/")
        return "All memory cleared"

    # -- files as sources --------------------------------------------------------------------------------------------

    def _text(self, path: str) -> str | None:
        """The text of a file; None where there is no such file."""
        records = [p for p in self.memory.passages(source=_source(path)) if RECORD in p.metadata]
        return str(records[-1].metadata[RECORD]) if records else None

    def _file(self, path: str) -> tuple[str, str]:
        path = _checked(path)
        text = self._text(path)
        if text is None:
            what = "is a directory" if path == ROOT or self._paths(path) else "does not exist"
            raise MemoryFileError(f"The path {path} {what}. Please provide the path of a file.")
        return path, text

    def _free(self, path: str, otherwise: str) -> str:
        path = _checked(path)
        if path == ROOT or self._text(path) is not None or self._paths(path):
            raise MemoryFileError(otherwise)
        for parent in _parents(path):
            if self._text(parent) is not None:
                raise MemoryFileError(f"{parent} is a file, not a directory")
        return path

    def _paths(self, folder: str) -> list[str]:
        return [source.removeprefix(PLACE) for source in self.memory.sources(_source(folder) + "/")]

    def _listing(self, folder: str) -> str:
        paths = self._paths(folder)
        if not paths and folder != ROOT:
            raise MemoryFileError(f"The path {folder} does not exist. Please provide a valid path.")
        sizes: dict[str, int] = {folder: 0}
        for path in paths:
            size = len((self._text(path) or "").encode())
            parts = path.removeprefix(folder + "/").split("/")
            sizes[folder] += size
            for depth in range(1, min(len(parts), DEPTH) + 1):
                shown = "/".join([folder, *parts[:depth]]) + ("/" if depth < len(parts) else "")
                sizes[shown] = sizes.get(shown, 0) + size
        lines = [f"{_size(size)}\t{path}" for path, size in sizes.items()]
        return f"Here're the files and directories up to 2 levels deep in {folder}:\n" + "\n".join(lines)

    def _write(self, path: str, text: str) -> None:
        self._write_all({path: text})

    def _write_all(self, texts: Mapping[str, str]) -> None:
        documents = []
        for path, text in texts.items():
            if not isinstance(text, str):
                raise MemoryFileError(f"The text of {path} must be a string.")
            source, title = _source(path), posixpath.basename(path)
            record = Document(text=f"Memory file {path}", source=source, whole=True, metadata={RECORD: text})
            documents.append(record)
            if any(map(str.isalnum, text)):
                documents.append(Document(text=text, title=title, source=source))
        try:
            report = self.memory.ingest(documents)
        except HippomemError as error:
            raise MemoryFileError(str(error)) from error
        if report.failed:
            raise MemoryFileError(f"The text cannot be stored: it {report.failed[0].reason}.")


def _checked(path: str) -> str:
    """A path under /memories, in its plain form. Raises MemoryFileError for one that leads elsewhere."""
    if not isinstance(path, str) or not (path == ROOT or path.startswith(ROOT + "/")):
        raise MemoryFileError(f"Path must start with {ROOT}, got: {path}")
    if "\0" in path or ".." in path.split("/"):
        raise MemoryFileError(f"Path {path} would escape {ROOT} directory")
    if path != path.encode("utf-8", "replace").decode():
        raise MemoryFileError("The path holds lone surrogates: no file can be called so")
    return posixpath.normpath(path)


def _parents(path: str) -> list[str]:
    parents = []
    while (path := posixpath.dirname(path)) != ROOT:
        parents.append(path)
    return parents


def _source(path: str) -> str:
    return PLACE + path


def _numbered(lines: list[str], first: int, last: int) -> str:
    return "\n".join(f"{number:6d}\t{lines[number - 1]}" for number in range(first, last + 1))


def _size(size: int) -> str:
    return f"{size}B" if size < 1024 else f"{size / 1024:.1f}K" if size < 1024**2 else f"{size / 1024**2:.1f}M"
