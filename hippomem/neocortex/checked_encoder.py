"""An encoder that is not believed: its vectors are looked at before they are stored or compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from hippomem.errors import EncoderMismatchError, ModelError
from hippomem.neocortex.encoder import PACKAGED, Encoded, Encoder, Span, Vectors

ALIKE = 0.95  # the cosine of what one model makes of a text, on any machine and in int8; two models are far below
OFF = 0.01  # how far from 1 the length of a vector may be


@dataclass(frozen=True, slots=True)
class Sample:
    """A text, and the vector (d,) that a store has of it."""

    text: str
    vector: Vectors


class CheckedEncoder:
    """Another encoder, whose vectors must be sound, and those of the model that made the vectors in a store.

    `sample` gives one of these, or None as long as there is none. It is asked for with the first texts, and not for the
    packaged model, whose files are checked by hash. Safe to use from several threads where `encoder` is.

    Methods raise ModelError where the encoder gives other vectors than it should, as too few, some of another length,
    or numbers that are not finite, and EncoderMismatchError where the store's are those of another model.
    """

    def __init__(self, encoder: Encoder, sample: Callable[[], Sample | None] = lambda: None) -> None:
        self.encoder = encoder
        self._sample = sample
        self._is_proven = getattr(encoder, "name", None) == PACKAGED
        self._proving = Lock()
        self._dimension = 0

    @property
    def identity(self) -> str:
        """The encoder's own."""
        return self.encoder.identity

    @property
    def runtime(self) -> str:
        """What computes the vectors, where the encoder says so."""
        return getattr(self.encoder, "runtime", "")

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        """As the encoder."""
        self.prove()
        return self._passages(texts, spans)

    def encode_query(self, text: str) -> Vectors:
        """As the encoder."""
        self.prove()
        vector = self.encoder.encode_query(text)
        self._check(vector)
        return vector

    def prove(self) -> None:
        """Compare with the sample, unless that was done before. Raises EncoderMismatchError where they differ."""
        with self._proving:
            if self._is_proven or (sample := self._sample()) is None:
                return
            (own,) = self._passages([sample.text], [()])
            is_same = own.vector.shape == sample.vector.shape and float(own.vector @ sample.vector) >= ALIKE
            if not is_same and sample.vector.any():
                raise EncoderMismatchError(
                    f"the configured encoder {self.identity!r} does not make the vectors that are in this store, "
                    "although the one that made them has the same name: open the store with that model, or encode "
                    "everything anew with hippomem reencode"
                )
            self._is_proven = True

    def _passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        found = self.encoder.encode_passages(texts, spans)
        if len(found) != len(texts):
            raise ModelError(f"the encoder {self.identity!r} gave {len(found)} results for {len(texts)} texts")
        for encoded, own in zip(found, spans, strict=True):
            self._check(encoded.vector)
            if own:
                self._check(encoded.sentences, len(own))
        return found

    def _check(self, vectors: Any, *rows: int) -> None:
        """Raises ModelError unless this is a vector of length 1 or 0, or so many, with as many numbers as all."""
        if isinstance(vectors, np.ndarray) and vectors.dtype == np.float32 and vectors.ndim == len(rows) + 1:
            dimension = self._dimension or vectors.shape[-1]
            lengths = np.linalg.norm(vectors, axis=-1)  # not a number where one of them is none
            is_sound = ((abs(lengths - 1) < OFF) | (lengths == 0)).all()
            if is_sound and dimension and vectors.shape == (*rows, dimension):
                self._dimension = dimension
                return
        raise ModelError(
            f"the encoder {self.identity!r} gave other vectors than it should: they must be arrays of finite float32, "
            "each of length 1, all with the same number of dimensions, one for a text and one for each of its sentences"
        )
