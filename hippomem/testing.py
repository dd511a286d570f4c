"""Doubles for tests of programs that use hippomem: no model, no download, the same result everywhere."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hippomem.errors import InvalidInputError
from hippomem.neocortex.encoder import Encoded, Span, Vectors
from hippomem.neocortex.prompts import PLAIN_PASSAGE

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

    from hippomem.scripted_chat import ScriptedChatModel

__all__ = ["PLAIN_PASSAGE", "HashEncoder", "ScriptedChatModel", "capitals"]

_WORD = re.compile(r"\w+")


def __getattr__(name: str) -> Any:
    if name == "ScriptedChatModel":  # the only one that needs langchain-core, which takes its time to import
        from hippomem.scripted_chat import ScriptedChatModel

        return ScriptedChatModel
    raise AttributeError(f"module 'hippomem.testing' has no attribute {name!r}")


class HashEncoder:
    """An `Encoder` without a model: each word adds 1 or -1 at a place that its hash gives (feature hashing,
    Weinberger et al., arXiv 0902.2206).

    Texts are alike as far as they share words; case does not count. Vectors depend on nothing but the text: not on
    the process, the machine or the batch. A million words take seconds.

        memory = Memory.open(":memory:", encoder=HashEncoder())
    """

    def __init__(self, dimension: int = 64) -> None:
        if isinstance(dimension, bool) or not isinstance(dimension, int) or dimension < 1:
            raise InvalidInputError(f"dimension must be a whole number of at least 1, not {dimension!r}")
        self.dimension = dimension

    @property
    def identity(self) -> str:
        """`hash-64` for 64 dimensions."""
        return f"hash-{self.dimension}"

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        """A vector (d,) for each text and one for each of its `spans` (s, d), float32, L2-normalised."""
        return [
            Encoded(self._vector(text), self._stacked(self._vector(text[start:end]) for start, end in own))
            for text, own in zip(texts, spans, strict=True)
        ]

    def encode_query(self, text: str) -> Vectors:
        """The vector of a question: (d,) float32, L2-normalised."""
        return self._vector(text)

    def _vector(self, text: str) -> Vectors:
        vector = np.zeros(self.dimension, np.float32)
        for word in _WORD.findall(text.lower()):
            place = _hash(word)
            vector[place // 2 % self.dimension] += 1 if place % 2 else -1
        norm = float(np.linalg.norm(vector))
        if norm == 0.0:  # no word, or words that cancel out: still a direction, as every vector is
            vector[0] = norm = 1.0
        return vector / np.float32(norm)

    def _stacked(self, vectors: Iterable[Vectors]) -> Vectors:
        return np.array(list(vectors), np.float32).reshape(-1, self.dimension)


@lru_cache(maxsize=65536)
def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), "little")


@cache
def capitals() -> Language:
    """A spaCy pipeline without a model: sentences end at full stops, runs of capitalised words are names.

    There is one for all who call: making it takes longer than most tests.
    """
    import spacy
    from spacy.language import Language

    if not Language.has_factory("hippomem_capitals"):
        Language.component("hippomem_capitals", func=_name_capitals)
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("hippomem_capitals")
    return nlp


def _name_capitals(doc: Doc) -> Doc:
    from spacy.util import filter_spans

    spans, first = [], None
    for place, token in enumerate(doc):
        if token.text[0].isupper():
            first = place if first is None else first
        elif first is not None:
            spans.append(doc[first:place])
            first = None
    if first is not None:
        spans.append(doc[first:])
    for span in spans:
        span.label_ = "NAME"
    doc.ents = filter_spans(spans)
    return doc
