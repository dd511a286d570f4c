"""The ways to encode that `hippomem eval encoder` compares, behind one face. What is heavy is imported inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hippomem import Encoder, InvalidInputError
from hippomem.neocortex.encoder import PACKAGED

Vectors = NDArray[np.float32]
BASELINE = "sentence-transformers"
WAYS = (BASELINE, "sentence-transformers/8", "torch", "onnx", "onnx-int8")


class Way(Protocol):
    """Encodes many passages in one call, and one question: (n, d) and (d,) float32, L2-normalised."""

    def passages(self, texts: Sequence[str]) -> Vectors: ...

    def query(self, text: str) -> Vectors: ...


def load_way(name: str, model: str) -> Way:
    """One of WAYS for a model by name or folder, loaded when first used. Raises InvalidInputError for no such way, and
    what `resolve_encoder` raises.
    """
    from hippomem.neocortex.encoder_choice import resolve_encoder

    if name == BASELINE or name.startswith(f"{BASELINE}/"):
        return _Public(model, int(name.partition("/")[2] or 32))
    if name == "torch":
        return _Ours(resolve_encoder(model, "torch"))
    if name == "onnx":
        return _Ours(resolve_encoder(model, "onnx"))
    if name == "onnx-int8":
        return _Ours(resolve_encoder(model, "onnx", "int8"))
    raise InvalidInputError(f"{name!r} is none of {', '.join(WAYS)}")


@dataclass(frozen=True, slots=True)
class _Ours:
    encoder: Encoder

    def passages(self, texts: Sequence[str]) -> Vectors:
        return np.stack([e.vector for e in self.encoder.encode_passages(texts, [()] * len(texts))])

    def query(self, text: str) -> Vectors:
        return self.encoder.encode_query(text)


class _Public:
    """`SentenceTransformer.encode`, as its users call it. It sorts by length itself."""

    def __init__(self, model: str, batch: int) -> None:
        from hippomem.neocortex.model_folder import packaged_model

        self._folder = str(packaged_model()) if model == PACKAGED else model
        self._batch = batch
        self._model: Any = None

    def passages(self, texts: Sequence[str]) -> Vectors:
        return self._encode(list(texts))

    def query(self, text: str) -> Vectors:
        vector: Vectors = self._encode([text])[0]
        return vector

    def _encode(self, texts: list[str]) -> Vectors:
        if self._model is None:
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging

            logging.disable_progress_bar()  # type: ignore[no-untyped-call]
            self._model = SentenceTransformer(self._folder)
        vectors = self._model.encode(
            texts, batch_size=self._batch, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(vectors, np.float32)
