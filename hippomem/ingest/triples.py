"""Triples that users bring: what one must be, and which passage of a split document each belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hippomem.errors import InvalidInputError, InvalidTextError
from hippomem.ingest.decode import is_storable
from hippomem.types import Triple


def read_triples(triples: object) -> tuple[Triple, ...]:
    """The triples in a value from outside, each once. Raises InvalidInputError naming the one that is not
    (subject, relation, object)."""
    if isinstance(triples, str) or not isinstance(triples, Iterable):
        raise InvalidInputError(f"triples must be a list of triples, not {type(triples).__name__}")
    return tuple(dict.fromkeys(map(_read, triples)))


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
    if isinstance(triple, Triple):
        parts = (triple.subject, triple.relation, triple.object)
    elif isinstance(triple, tuple | list):  # not a str, which has parts as well
        parts = tuple(triple)
    if len(parts) != 3 or not all(isinstance(part, str) and part.strip() for part in parts):
        raise InvalidInputError(f"a triple is three non-empty strings (subject, relation, object), not {triple!r}")
    subject, relation, object_ = (str(part).strip() for part in parts)
    if not all(map(is_storable, (subject, relation, object_))):
        raise InvalidTextError("a triple holds NULs or lone surrogates")
    return Triple(subject, relation, object_, "user")
