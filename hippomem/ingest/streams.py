"""Reading a file, plain or gzip, without trusting it to be as small as it looks."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from hippomem.errors import SourceError

LIMIT_NAME = "HIPPOMEM_MAX_DOCUMENT_BYTES"  # the setting for documents


def open_capped(path: Path, max_bytes: int, *, setting: str = "") -> io.BufferedReader:
    """The bytes of `path`, expanded where its name ends in `.gz`.

    Raises SourceError, here or from any read: past `max_bytes` bytes (naming the `setting` that raises the limit), for
    damaged or truncated gzip data, and where the file cannot be read.
    """
    try:
        inner = cast(BinaryIO, gzip.GzipFile(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb"))
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}") from error
    return io.BufferedReader(_Capped(inner, max_bytes, setting), buffer_size=1 << 16)


def in_units(size: int) -> str:
    """A number of bytes for people: `1,536` bytes are "1.5 KiB"."""
    amount, units = float(size), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1024 and len(units) > 1:
        amount /= 1024
        del units[0]
    return f"{amount:.4g} {units[0]}"


class _Capped(io.RawIOBase):
    def __init__(self, inner: BinaryIO, max_bytes: int, setting: str) -> None:
        self._inner = inner
        self._max_bytes = max_bytes
        self._hint = f": raise {setting}" if setting else ""
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._inner.read(len(buffer))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise SourceError(f"is a damaged or truncated gzip file: {error}") from error
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror or error}") from error
        self._read += len(data)
        if self._read > self._max_bytes:
            raise SourceError(f"holds more than the limit of {in_units(self._max_bytes)}{self._hint}")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
        super().close()
