"""What is written together for one passage, and what is read back for the views."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hippomem.types import Triple

FAILED = "failed:"  # begins the fingerprint of a source of which records failed
LAST_BIT = 62  # of a mask of lines: lines from here on share a bit, for the sign bit stays clear


def has_validity(triple: Triple) -> bool:
    """Whether it says from when or to when it holds."""
    return triple.valid_from is not None or triple.invalid_at is not None


def said(triple: Triple) -> tuple[Triple, datetime | None, datetime | None]:
    """A triple with when it holds, which says nothing about whether two triples are equal."""
    return triple, triple.valid_from, triple.invalid_at


@dataclass(frozen=True, slots=True)
class MentionRow:
    """An entity in a passage: the lines that name it (bit 0 the title, then the sentences), whether it is the title."""

    key: str
    name: str
    lines: int
    titled: bool


@dataclass(frozen=True, slots=True)
class FactRow:
    """A triple with the keys of its two entities."""

    subject_key: str
    object_key: str
    triple: Triple

    @property
    def is_brought(self) -> bool:
        """Whether a user brought it."""
        return self.triple.extractor == "user"

    @property
    def has_validity(self) -> bool:
        """Whether a user said from when or to when it holds."""
        return self.is_brought and has_validity(self.triple)


@dataclass(frozen=True, slots=True)
class Links:
    """All that ties a passage into the graph."""

    mentions: tuple[MentionRow, ...] = ()
    facts: tuple[FactRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Analysis:
    """Vectors of a content: `vector` (d,) float32, `sentence_vectors` float16 (title if any, then sentences; d),
    `sentences` (s, 2) int32, the sentences' spans in the text."""

    vector: NDArray[np.float32]
    sentence_vectors: NDArray[np.float16]
    sentences: NDArray[np.int32]

    @classmethod
    def unpacked(cls, vector: bytes, sentence_vectors: bytes, sentences: bytes) -> Analysis:
        """From what a row of `analyses` has. Raises ValueError where it cannot be that."""
        dense = np.frombuffer(vector, np.float32)
        return cls(
            dense,
            np.frombuffer(sentence_vectors, np.float16).reshape(-1, len(dense)),
            np.frombuffer(sentences, np.int32).reshape(-1, 2),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPassage:
    """A passage to write. `content` names its analysis, which others with the same title and text share.

    `triples` are what the user brings along: for a passage that is there already they replace, or where `extends` add
    to, those brought before; None leaves these as they are.
    """

    id: str
    text: str
    title: str
    source: str
    content: str
    position: int = 0
    start: int = 0
    end: int = 0
    session: str | None = None
    occurred_at: datetime | None = None
    recorded_at: datetime | None = None  # now, where it is not given
    told_at: datetime | None = None  # when it was recorded first, where it was updated since
    metadata: Mapping[str, Any] = field(default_factory=dict)
    triples: tuple[Triple, ...] | None = None
    extends: bool = False
    links: Links = field(default_factory=Links)
    analysis: Analysis | None = None


@dataclass(frozen=True, slots=True)
class ViewRow:
    """A passage as the views take it: `lines` are its title and its sentences, mentions (key, lines, titled).

    `told` is its place among others (places.py), `told_at` when it was recorded first.
    """

    number: int
    id: str
    lines: tuple[str, ...]
    vector: NDArray[np.float32]
    sentence_vectors: NDArray[np.float16]
    mentions: tuple[tuple[str, int, bool], ...]
    source: str
    session: str | None
    occurred_at: datetime | None
    told: int
    told_at: datetime
    start: int
    end: int
    strengths: Mapping[str, float] = field(default_factory=dict)  # of edges, by entity key, where use has changed them


def passage_id(
    namespace: str, source: str, title: str, text: str, session: str | None = None, occurred_at: datetime | None = None
) -> str:
    """The content hash that names a passage: the same thing added twice is one thing."""
    moment = occurred_at.astimezone(UTC).isoformat() if occurred_at else ""  # as the store has it, in whatever zone
    return digest(namespace, source, title, text, session or "", moment)


def content_id(title: str, text: str) -> str:
    """The hash of what the encoder reads."""
    return digest(title, text)


def failed_print(digests: Iterable[str]) -> str:
    """The fingerprint of the records of a source that failed, in whatever order."""
    return FAILED + digest(*sorted(digests))


def packed(analysis: Analysis) -> dict[str, bytes | int]:
    """What a row of `analyses` holds of one, with the checksum (CRC-32) by which a bit that falls over is found out."""
    parts = analysis.vector.tobytes(), analysis.sentence_vectors.tobytes(), analysis.sentences.tobytes()
    return dict(zip(("vector", "sentence_vectors", "sentences"), parts, strict=True)) | {"checksum": checksum(*parts)}


def checksum(vector: bytes, sentence_vectors: bytes, sentences: bytes) -> int:
    """Of what a row of `analyses` has."""
    return zlib.crc32(sentences, zlib.crc32(sentence_vectors, zlib.crc32(vector)))


def digest(*parts: str) -> str:
    """A hash of several texts, 32 hex digits."""
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8")
        hashed.update(len(data).to_bytes(8, "little"))  # so that ("ab", "c") is not ("a", "bc")
        hashed.update(data)
    return hashed.hexdigest()
