"""Fields of an export's lines, checked: whoever wrote the file, only what a store can hold gets through."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

import numpy as np

from hippomem.clock import as_utc
from hippomem.ingest.decode import is_storable


def text_of(value: object) -> str:
    """A text that can be stored. Raises ValueError."""
    if not isinstance(value, str) or not is_storable(value):
        raise ValueError(f"{value!r:.40} is not a text that can be stored")
    return value


def count_of(value: object) -> int:
    """A number that counts something. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise ValueError(f"{value!r:.40} is not a number that counts something")
    return value


def moment_of(value: object) -> datetime | None:
    """A time with its zone, or None. Raises ValueError."""
    return None if value is None else as_utc(datetime.fromisoformat(text_of(value)), "a time")


def floats_of(value: object, dtype: type[np.generic]) -> Any:
    """An array of finite numbers, from base64. Raises ValueError."""
    array = np.frombuffer(base64.b64decode(text_of(value), validate=True), dtype=dtype)
    if not np.isfinite(array).all():
        raise ValueError("a vector is not finite")
    return array
