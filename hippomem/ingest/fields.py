"""One record, from a stranger's file, to one Document: which field is what, and what cannot be stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hippomem.errors import InvalidInputError
from hippomem.ingest.decode import is_storable
from hippomem.ingest.split import is_passage
from hippomem.ingest.triples import read_triples
from hippomem.ingest.unmarked import as_read, is_empty, only_key
from hippomem.storage.rows import digest
from hippomem.types import Document, Failure, Triple

TEXT_KEYS = ("text", "content", "body", "passage", "page_content", "paragraph_text")
_MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class BadRecord(Failure):
    """A record that was not understood, and may stand for a passage that is stored. Wherever in its source it stands,
    it is known again by its `digest`.
    """

    digest: str = ""


class _UnusableError(Exception):
    """Why a record cannot be a document; becomes a BadRecord."""


class _NoTextError(_UnusableError):
    """It holds nothing to remember; becomes a Failure."""


def text_key(record: Mapping[str, Any]) -> str | None:
    """The key of the record's text, in any case: the first of TEXT_KEYS with a text under it. None without one."""
    keys = _by_lower_case(record)
    for name in TEXT_KEYS:
        value = record.get(keys.get(name, name))
        if isinstance(value, str) and value.strip():
            return keys[name]
    return next((keys[name] for name in TEXT_KEYS if name in keys), None)


def document_of(record: object, source: str, index: int, *, text: str | None = None) -> Document | Failure:
    """The Document of a record: a mapping or a plain string, or of a table's row, with `text` the key of its text.

    `title`, `session`, `occurred_at` (in ISO 8601 with a time zone) and `triples` ([[subject, relation, object], …], or
    objects that may say `valid_from` and `invalid_at`, too) are taken from the record, all other keys are metadata.
    Where no key is known to be the text it is the only one beside these, or else all of the record (`as_read`).
    What cannot be stored or understood is a BadRecord of `source#index`, and what has no text a plain Failure.
    """
    try:
        if isinstance(record, str):
            return Document(text=_checked_text(record), source=source, whole=True)
        if not isinstance(record, dict):
            raise _UnusableError(f"is neither an object nor a string but {_kind(record)}")
        return _from_mapping(record, source, text or text_key(record), is_row=text is not None)
    except _NoTextError as error:
        return Failure(f"{source}#{index}", str(error))
    except _UnusableError as error:
        return bad_record(f"{source}#{index}", str(error), record)


def bad_record(source: str, reason: str, content: object) -> BadRecord:
    """The BadRecord that `content` is, as it was read."""
    try:
        return BadRecord(source, reason, digest(repr(content)))
    except RecursionError:
        return BadRecord(source, reason, digest(reason))


def emptiness(text: str) -> str:
    """Why there is nothing to remember in a text; "" where there is."""
    if is_passage(text):
        return ""
    return "text holds no letter or digit" if text.strip() else "text is empty"


def _from_mapping(record: Mapping[str, Any], source: str, key: str | None, is_row: bool) -> Document:
    if key is None:
        key = only_key(name for name in record if name.strip().lower() != "triples")
        if key is None or not isinstance(record[key], str) or is_empty(record[key]):
            for name, value in record.items():  # not too deep to be read?
                _check(value, name)
            record, key = as_read(record, ["triples"]), "text"
    text = _checked_text(record[key])
    keys = _by_lower_case(record)
    used = {key} | {keys[name] for name in ("title", "session", "occurred_at") if name in keys}
    told = None
    if "triples" in keys and not is_row:  # a table's column of that name is like any other
        used.add(keys["triples"])
        told = record[keys["triples"]]
    # Other spellings of the same text (OpenIE files hold both `text` and `passage`) would only be stored twice.
    used |= {keys[name] for name in TEXT_KEYS if name in keys and text in str(record[keys[name]])}
    metadata = {name: value for name, value in record.items() if name not in used}
    for name, value in metadata.items():
        _check(name, "a key")
        _check(value, name)
    return Document(
        text=text,
        title=_label(record, keys, "title") or "",
        source=source,
        session=_label(record, keys, "session"),
        occurred_at=_moment(record.get(keys.get("occurred_at", ""))),
        metadata=metadata,
        whole=True,
        triples=_triples(told),
    )


def _by_lower_case(record: Mapping[str, Any]) -> dict[str, str]:
    keys: dict[str, str] = {}
    for key in record:
        keys.setdefault(key.strip().lower(), key)
    return keys


def _checked_text(text: object) -> str:
    if not isinstance(text, str):
        raise _UnusableError(f"text is not a string but {_kind(text)}")
    if reason := emptiness(text):
        raise _NoTextError(reason)
    _check(text, "text")
    return text


def _label(record: Mapping[str, Any], keys: Mapping[str, str], name: str) -> str | None:
    """A field that is a name: a string, or a number that stands for one. None where it is missing or empty."""
    value = record.get(keys.get(name, ""))
    if value is None or isinstance(value, str):
        _check(value, name)
        return value.strip() or None if value else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _UnusableError(f"{name} is not a string but {_kind(value)}")


def _triples(value: object) -> tuple[Triple, ...] | None:
    try:
        return None if value is None else read_triples(value)
    except InvalidInputError as error:
        raise _UnusableError(str(error)) from None


def _moment(value: object) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        if not isinstance(value, str | datetime):
            raise ValueError
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
        if moment.tzinfo is None:
            raise _UnusableError(
                f"occurred_at has no time zone: {str(value)!r} (write for example 2026-01-31T12:00:00+00:00)"
            )
        # Within a day of the years 1 and 9999, UTC is out of range.
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _UnusableError(f"occurred_at is not a time in ISO 8601: {str(value)[:50]!r}") from None


def _check(value: object, name: str, depth: int = 0) -> None:
    """Raise where `value`, at any depth, cannot be stored as text or JSON."""
    if isinstance(value, str) and not is_storable(value):
        raise _UnusableError(f"{name!a} holds NUL characters or lone surrogates")
    if isinstance(value, float) and not math.isfinite(value):
        raise _UnusableError(f"{name!a} holds the number {value}, which JSON does not have")
    if depth > _MAX_DEPTH:
        raise _UnusableError(f"{name!a} is nested more than {_MAX_DEPTH} deep")
    if isinstance(value, dict):
        for key, item in value.items():
            _check(key, name, depth + 1)
            _check(item, name, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, name, depth + 1)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
