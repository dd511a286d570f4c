"""The ways to encode that `hippomem eval encoder` compares, behind one face. What is heavy is imported inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hippomem import Encoder, InvalidInputError
from hippomem.neocortex.encoder import PACKAGED
from hippomem.settings import load_settings

Vectors = NDArray[np.float32]
BASELINE = "sentence-transformers"
WAYS = (BASELINE, "sentence-transformers/8", "torch", "onnx", "onnx-int8")
GPU_WAYS = ("torch-fp16", "torch-bf16")  # on a processor they are slow


class Way(Protocol):
    """Encodes many passages in one call, and one question: (n, d) and (d,) float32, L2-normalised."""

    def passages(self, texts: Sequence[str]) -> Vectors: ...

    def query(self, text: str) -> Vectors: ...


def load_way(name: str, model: str) -> Way:
    """One of WAYS or GPU_WAYS for a model by name or folder, loaded when first used. Those on torch compute where
    `encoder_device` says. Raises InvalidInputError for no such way, and what `choose_encoder` raises.
    """
    from hippomem.neocortex.encoder_choice import choose_encoder

    device = load_settings().encoder_device
    if name == BASELINE or name.startswith(f"{BASELINE}/"):
        return _Public(model, int(name.partition("/")[2] or 32), device)
    if name == "torch":
        return _Ours(choose_encoder(model, "torch", device=device))
    if name == "torch-fp16":
        return _Ours(choose_encoder(model, "torch", "fp16", device))
    if name == "torch-bf16":
        return _Ours(choose_encoder(model, "torch", "bf16", device))
    if name == "onnx":
        return _Ours(choose_encoder(model, "onnx"))
    if name == "onnx-int8":
        return _Ours(choose_encoder(model, "onnx", "int8"))
    raise InvalidInputError(f"{name!r} is none of {', '.join((*WAYS, *GPU_WAYS))}")


@dataclass(frozen=True, slots=True)
class _Ours:
    encoder: Encoder

    def passages(self, texts: Sequence[str]) -> Vectors:
        return np.stack([e.vector for e in self.encoder.encode_passages(texts, [()] * len(texts))])

    def query(self, text: str) -> Vectors:
        return self.encoder.encode_query(text)


class _Public:
    """`SentenceTransformer.encode`, as its users call it. It sorts by length itself."""

    def __init__(self, model: str, batch: int, device: str) -> None:
        from hippomem.neocortex.model_folder import packaged_model

        self._folder = str(packaged_model()) if model == PACKAGED else model
        self._batch = batch
        self._device = None if device == "auto" else device
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
            self._model = SentenceTransformer(self._folder, device=self._device)
        vectors = self._model.encode(
            texts, batch_size=self._batch, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(vectors, np.float32)
