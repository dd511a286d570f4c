"""What an argument must be to be remembered. Each check returns the value as it will be stored, or raises."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from hippomem.errors import InputTooLargeError, InvalidInputError, InvalidTextError
from hippomem.ingest.decode import is_storable
from hippomem.types import Triple


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
        raise InvalidInputError(f"{what} must be a str, not {type(value).__name__}")
    if not is_storable(value):
        raise InvalidTextError(f"{what} holds NULs or lone surrogates")
    return value


def checked_triples(triples: Iterable[Triple | tuple[str, str, str]] | None) -> list[Triple]:
    """The user's triples. Raises InvalidInputError naming the one that is not (subject, relation, object)."""
    checked: list[Triple] = []
    for triple in triples or ():
        parts = (triple.subject, triple.relation, triple.object) if isinstance(triple, Triple) else tuple(triple)
        if len(parts) != 3 or not all(isinstance(part, str) and part.strip() for part in parts):
            raise InvalidInputError(f"a triple is three non-empty strings (subject, relation, object), not {triple!r}")
        for part in parts:
            checked_label(part, "a triple")
        checked.append(Triple(parts[0].strip(), parts[1].strip(), parts[2].strip(), "user"))
    return list(dict.fromkeys(checked))


def checked_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of `metadata` as JSON holds it. Raises InvalidInputError where it cannot."""
    try:
        copy = json.loads(json.dumps(dict(metadata or {}), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"metadata must be JSON (str keys; str, numbers, lists, dicts): {error}") from error
    if not is_storable(json.dumps(copy, ensure_ascii=False)):
        raise InvalidTextError("metadata holds NULs or lone surrogates")
    return dict(copy)
