"""What an argument must be to be remembered. Each check returns the value as it will be stored, or raises."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from numbers import Integral, Real
from typing import Any

from hippomem.clock import as_utc
from hippomem.errors import InputTooLargeError, InvalidInputError, InvalidTextError
from hippomem.ingest.decode import as_stored, is_storable, is_storable_json
from hippomem.ingest.triples import read_triples
from hippomem.types import Budget, Passage, Triple

MOST = (1 << 63) - 1  # what a database counts to


def checked_text(text: str, limit: int, what: str, setting: str) -> str:
    """`text`, where a store can hold it. Raises InvalidTextError or InputTooLargeError."""
    if not isinstance(text, str):
        raise InvalidInputError(f"{what} must be a str, not {type(text).__name__}")
    if not text.strip():
        raise InvalidTextError(f"{what} is empty")
    if len(text) > limit:
        raise InputTooLargeError(
            f"{what} has {len(text):,} characters, at most {limit:,} are taken: shorten it"
            + (", ingest it as a Document (which splits it)" if what == "text" else "")
            + f", or raise {setting}"
        )
    if not is_storable(text):
        raise InvalidTextError(f"{what} holds NULs or lone surrogates, which no database can keep: remove them first")
    return text


def checked_label(value: str | None, what: str) -> str:
    """A short text that may be empty. Raises InvalidTextError or InvalidInputError."""
    if value is None:
        return ""
    if not isinstance(value, str):
        hint = f": give its id, {what}=….id" if isinstance(value, Passage) else ""
        raise InvalidInputError(f"{what} must be a str, not {type(value).__name__}{hint}")
    if not is_storable(value):
        raise InvalidTextError(f"{what} holds NULs or lone surrogates")
    return value


def checked_name(value: str, what: str) -> str:
    """A label that must be given. Raises InvalidTextError or InvalidInputError."""
    if value is None:
        raise InvalidInputError(f"{what} must be a str, not None")
    return checked_label(value, what)


def checked_path(value: str | os.PathLike[str], what: str) -> str:
    """The path of a file. Raises InvalidInputError."""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str):
        raise InvalidInputError(f"{what} must be a path, as a str or a pathlib.Path, not {type(value).__name__}")
    if not path or "\x00" in path:
        raise InvalidInputError(f"{what} is empty or holds a NUL character: give a path")
    return path


def checked_recall(k: int, method: str, max_steps: int, context: int) -> tuple[int, int, int]:
    """The numbers of a recall, as ints. Raises InvalidInputError where there is no such number of passages, steps or
    neighbours, or no such method.
    """
    if method not in ("graph", "dense"):
        raise InvalidInputError(f"method must be 'graph' or 'dense', not {method!r}")
    return checked_count(k, "k"), checked_count(max_steps, "max_steps"), checked_count(context, "context", least=0)


def check_style(style: str) -> None:
    """Raises InvalidInputError where there is no such form of an answer."""
    if style not in ("sentence", "phrase"):
        raise InvalidInputError(f"style must be 'sentence' or 'phrase', not {style!r}")


def checked_triples(triples: Iterable[Triple | tuple[str, str, str]] | None) -> list[Triple]:
    """The user's triples. Raises InvalidInputError naming the one that is not (subject, relation, object)."""
    return [] if triples is None else list(read_triples(triples))


def checked_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of `metadata` as JSON holds it. Raises InvalidInputError where it cannot."""
    try:
        copy = as_stored(metadata or {})
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"metadata must be JSON (str keys; str, numbers, lists, dicts): {error}") from error
    if not is_storable_json(json.dumps(copy, ensure_ascii=False)):
        raise InvalidTextError("metadata holds NULs or lone surrogates")
    return copy


def checked_count(value: int, name: str, least: int = 1) -> int:
    """A whole number of at least `least`; one that is larger than MOST means all there is, as that does. Raises
    InvalidInputError.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InvalidInputError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return min(int(value), MOST)


def checked_budget(value: Budget | int | None) -> Budget:
    """A budget; a bare number counts units. Raises InvalidInputError where it is none, or a part of it is negative."""
    budget = value if isinstance(value, Budget) else Budget(units=value)
    for name in ("units", "seconds", "tokens"):
        part = getattr(budget, name)
        allowed: Any = Real if name == "seconds" else Integral
        if part is not None and (isinstance(part, bool) or not isinstance(part, allowed) or not part >= 0):
            raise InvalidInputError(f"budget: {name} must be a number of at least 0, not {part!r}")
    units, tokens = (None if part is None else min(int(part), MOST) for part in (budget.units, budget.tokens))
    return replace(budget, units=units, tokens=tokens)


def checked_filter(value: str | None, what: str) -> str | None:
    """A label to look for, None where any will do. Raises InvalidTextError or InvalidInputError."""
    return None if value is None else checked_label(value, what)


def checked_labels(value: str | Passage | Iterable[str | Passage], what: str) -> list[str]:
    """One label, or several; a passage stands for its id. Raises InvalidTextError or InvalidInputError."""
    if isinstance(value, bytes) or not isinstance(value, str | Passage | Iterable):
        raise InvalidInputError(f"{what} must be a string or several, not {type(value).__name__}")
    several = [value] if isinstance(value, str | Passage) else value
    return [checked_name(one.id if isinstance(one, Passage) else one, what) for one in several]


def checked_page(limit: int | None, offset: int) -> tuple[int | None, int]:
    """A number of rows, None for all, and of rows to pass over. Raises InvalidInputError."""
    return None if limit is None else checked_count(limit, "limit", least=0), checked_count(offset, "offset", least=0)


def checked_below(name: str) -> str:
    """The beginning that names of sources share: empty, or ending with a slash. Raises InvalidInputError."""
    if checked_label(name, "below") and not name.endswith("/"):
        raise InvalidInputError(f"below must end with a slash: {name + '/'!r}")
    return name


def checked_moment(value: datetime | None, name: str) -> datetime | None:
    """A moment in UTC. Raises InvalidInputError where it is no datetime, has no time zone or is out of range."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidInputError(f"{name} must be a datetime, not {type(value).__name__}")
    try:
        return as_utc(value, name)
    except OverflowError as error:  # within a day of the years 1 and 9999
        raise InvalidInputError(f"{name} is out of range: {value}") from error
