"""Data files as they come: JSON or JSON lines, plain or compressed with gzip; hashes and sizes."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from pathlib import Path
from typing import Any

from hippomem import NotFoundError, SourceError
from hippomem.ingest.decode import storable

_GZIP_MAGIC = b"\x1f\x8b"
_MAY_BE_UNSTORABLE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")  # a NUL, or one of the halves of a surrogate pair


def read_json(path: Path) -> Any:
    """The parsed content of a JSON file; the records of a JSON lines file as a list.

    Compression and JSON lines are told by the content, not by the name: published data sets mix them up. NULs and lone
    surrogates, which a memory refuses and an encoder too, are read as U+FFFD, so that all systems read the same.
    Raises NotFoundError without such a file, SourceError where it is damaged or malformed.
    """
    text = _read_text(path)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data" or error.lineno == 1:
            raise SourceError(f"{path} is not valid JSON: {error}") from None
        content = _read_lines(text, path)
    except (RecursionError, ValueError) as error:
        raise SourceError(f"{path} is not usable JSON: {error}") from None
    return _storable(content) if _MAY_BE_UNSTORABLE.search(text) else content


def sha256(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex. Raises NotFoundError or SourceError where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def bytes_on_disk(database: Path) -> int:
    """Bytes of a memory: the database, its journals, and the folder of its views (`NAME*`, beside each other)."""
    entries = [database, *database.parent.glob(f"{database.name}?*")]
    files = [file for entry in entries for file in ([entry] if entry.is_file() else entry.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file())


def _read_text(path: Path) -> str:
    try:
        if path.is_fifo():
            # Its hash would be that of nothing, and what was measured on other data would count as measured on these.
            raise SourceError(f"{path} is a pipe, which can be read only once: give a file")
        content = path.read_bytes()
        if content.startswith(_GZIP_MAGIC):
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 text: {error}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SourceError(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise _unreadable(path, error) from error


def _read_lines(text: str, path: Path) -> list[Any]:
    records = []
    # Not splitlines(): it also cuts at characters that JSON strings may hold, such as U+2028.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except (RecursionError, ValueError) as error:
            raise SourceError(f"{path} is not valid JSON lines: line {number}: {error}") from None
    return records


def _storable(content: Any) -> Any:
    if isinstance(content, str):
        return storable(content)
    if isinstance(content, list):
        return [_storable(item) for item in content]
    if isinstance(content, dict):
        return {storable(name): _storable(value) for name, value in content.items()}
    return content


def _unreadable(path: Path, error: OSError) -> NotFoundError | SourceError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFoundError(f"there is no file {path}")
    return SourceError(f"{path} cannot be read: {error.strerror or error}")
