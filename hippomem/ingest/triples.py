"""Triples that users bring: what one must be, and which passage of a split document each belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from hippomem.clock import as_utc
from hippomem.errors import InvalidInputError, InvalidTextError
from hippomem.ingest.decode import is_storable
from hippomem.storage.rows import said
from hippomem.types import Triple

PARTS = ("subject", "relation", "object")
TIMES = ("valid_from", "invalid_at")


def read_triples(triples: object) -> tuple[Triple, ...]:
    """The triples in a value from outside, each once. One is (subject, relation, object), a Triple, or a mapping with
    these keys; the last two may say from when it holds (`valid_from`) and until when (`invalid_at`), a mapping also in
    ISO 8601. Raises InvalidInputError naming the one that is none.
    """
    if isinstance(triples, str | Mapping) or not isinstance(triples, Iterable):
        raise InvalidInputError(f"triples must be a list of triples, not {type(triples).__name__}")
    return tuple({said(triple): triple for triple in map(_read, triples)}.values())


def share_out(triples: Sequence[Triple], texts: Sequence[str]) -> list[list[Triple]]:
    """For each of a document's passages, the triples about it: a triple goes where both of its names are written,
    else where one is, else to the first passage."""
    if len(texts) < 2:
        return [list(triples) for _ in texts]
    shared: list[list[Triple]] = [[] for _ in texts]
    folded = [text.casefold() for text in texts]
    for triple in triples:
        names = triple.subject.casefold(), triple.object.casefold()
        written = [sum(name in text for name in names) for text in folded]
        best = max(written)
        for place in [i for i, count in enumerate(written) if count == best] if best else [0]:
            shared[place].append(triple)
    return shared


def _read(triple: object) -> Triple:
    parts: tuple[object, ...] = ()
    times: tuple[object, object] = (None, None)
    if isinstance(triple, Triple):
        parts = (triple.subject, triple.relation, triple.object)
        times = (triple.valid_from, triple.invalid_at)
    elif isinstance(triple, Mapping):
        parts = tuple(triple.get(name) for name in PARTS)
        times = (_parsed(triple, "valid_from"), _parsed(triple, "invalid_at"))
        if unknown := sorted(str(key) for key in triple if key not in (*PARTS, *TIMES, "extractor", "occurred_at")):
            raise InvalidInputError(f"a triple has the keys {', '.join((*PARTS, *TIMES))}, not {unknown[0]!r}")
    elif isinstance(triple, tuple | list):  # not a str, which has parts as well
        parts = tuple(triple)
    if len(parts) != 3 or not all(isinstance(part, str) and part.strip() for part in parts):
        raise InvalidInputError(f"a triple is three non-empty strings (subject, relation, object), not {triple!r}")
    subject, relation, object_ = (str(part).strip() for part in parts)
    if not all(map(is_storable, (subject, relation, object_))):
        raise InvalidTextError("a triple holds NULs or lone surrogates")
    start, end = (_moment(time, name) for time, name in zip(times, TIMES, strict=True))
    if start is not None and end is not None and end <= start:
        raise InvalidInputError(
            f"a triple's invalid_at must be later than its valid_from: {subject!r} {relation!r} {object_!r} would hold "
            f"from {start.isoformat()} until {end.isoformat()}"
        )
    return Triple(subject, relation, object_, "user", valid_from=start, invalid_at=end)


def _parsed(triple: Mapping[object, object], name: str) -> object:
    value = triple.get(name)
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        raise InvalidInputError(f"a triple's {name} is not a time in ISO 8601: {value[:50]!r}") from None


def _moment(value: object, name: str) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidInputError(f"a triple's {name} must be a datetime, not {type(value).__name__}")
    try:
        return as_utc(value, f"a triple's {name}")
    except OverflowError as error:  # within a day of the years 1 and 9999
        raise InvalidInputError(f"a triple's {name} is out of range: {value}") from error
