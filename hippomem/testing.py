"""Doubles for tests of programs that use hippomem: an encoder and a pipeline without models, fast and deterministic.

    memory = Memory.open(":memory:", encoder=HashEncoder(), pipeline=capitals())
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hippomem.neocortex.encoder import Encoded, Span

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

_WORD = re.compile(r"\w+")


class HashEncoder:
    """A bag of hashed words: texts that share words are alike. Each text's vectors are its own, whatever the batch."""

    def __init__(self, dimension: int = 64) -> None:
        self.dimension = dimension

    @property
    def identity(self) -> str:
        """Names this encoder and its dimension."""
        return f"hash-{self.dimension}"

    def encode_query(self, text: str) -> NDArray[np.float32]:
        """(dimension,) float32, L2-normalised."""
        vector = np.zeros(self.dimension, np.float32)
        for word in _WORD.findall(text.lower()):
            digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
            vector[int.from_bytes(digest[:4], "little") % self.dimension] += 1.0 if digest[4] & 1 else -1.0
        if not vector.any():
            vector[0] = 1.0
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        """Passages and the sentences at their spans."""
        return [
            Encoded(
                self.encode_query(text),
                np.array([self.encode_query(text[a:b]) for a, b in own], np.float32).reshape(-1, self.dimension),
            )
            for text, own in zip(texts, spans, strict=True)
        ]


def capitals() -> Language:
    """A spaCy pipeline without a model: sentences end at full stops, runs of capitalised words are names."""
    import spacy
    from spacy.language import Language
    from spacy.util import filter_spans

    if not Language.has_factory("hippomem_capitals"):

        def name_capitals(doc: Doc) -> Doc:
            spans, first = [], None
            for token in [*doc, None]:
                capital = token is not None and token.text[:1].isupper()
                if capital and first is None:
                    first = token.i if token is not None else None
                elif not capital and first is not None:
                    spans.append(doc[first : token.i if token is not None else len(doc)])
                    first = None
            for span in spans:
                span.label_ = "NAME"
            doc.ents = filter_spans(spans)
            return doc

        Language.component("hippomem_capitals", func=name_capitals)
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("hippomem_capitals")
    return nlp
