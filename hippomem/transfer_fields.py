"""Fields of an export's lines, checked: whoever wrote the file, only what a store can hold gets through."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

import numpy as np

from hippomem.clock import as_utc
from hippomem.ingest.decode import is_storable
from hippomem.storage.rows import has_validity
from hippomem.types import Triple


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


def written(moment: datetime | None) -> str | None:
    """A time as `moment_of` reads it."""
    return moment.isoformat() if moment else None


def fact_line(fact: Triple) -> list[str | None]:
    """A triple: subject, relation, object, extractor, and where it says when it holds, from when and to when."""
    names: list[str | None] = [fact.subject, fact.relation, fact.object, fact.extractor]
    return [*names, written(fact.valid_from), written(fact.invalid_at)] if has_validity(fact) else names


def triple_of(line: object) -> Triple:
    """The triple of such a line. Raises ValueError."""
    if not isinstance(line, list) or len(line) not in (4, 6):
        raise ValueError(f"{line!r:.40} is not a fact")
    start, end = (moment_of(value) for value in (line[4:] or (None, None)))
    subject, relation, object_, extractor = map(text_of, line[:4])
    return Triple(subject, relation, object_, extractor, valid_from=start, invalid_at=end)


def floats_of(value: object, dtype: type[np.generic]) -> Any:
    """An array of finite numbers, from base64. Raises ValueError."""
    array = np.frombuffer(base64.b64decode(text_of(value), validate=True), dtype=dtype)
    if not np.isfinite(array).all():
        raise ValueError("a vector is not finite")
    return array
