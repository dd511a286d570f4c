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
    if len(texts) < 2 or not triples:
        return [list(triples) for _ in texts]
    shared: list[list[Triple]] = [[] for _ in texts]
    written = _Written([text.casefold() for text in texts])
    for triple in triples:
        subject, object_ = (written.places(name.casefold()) for name in (triple.subject, triple.object))
        for place in sorted((subject & object_) or (subject | object_) or {0}):
            shared[place].append(triple)
    return shared


class _Written:
    """Which texts a name stands in. It is looked for where the rarest of its runs of three characters is: a book that
    comes with thousands of triples would else be read from end to end for each of them.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._places: dict[str, list[int]] = {}
        for place, text in enumerate(texts):
            for run in _runs(text):
                self._places.setdefault(run, []).append(place)

    def places(self, name: str) -> set[int]:
        some = min((self._places.get(run, []) for run in _runs(name)), key=len, default=range(len(self._texts)))
        return {place for place in some if name in self._texts[place]}


def _runs(text: str) -> set[str]:
    return {text[at : at + 3] for at in range(len(text) - 2)}


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
