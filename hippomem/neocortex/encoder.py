"""What an encoder is: text in, vectors out. `encoder_choice.py` makes one from a setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Span = tuple[int, int]
Backend = Literal["auto", "torch", "onnx"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]

PACKAGED = "all-MiniLM-L6-v2"


@dataclass(frozen=True, slots=True)
class Encoded:
    """`vector` is (d,) and `sentences` (s, d), float32, each L2-normalised."""

    vector: Vectors
    sentences: Vectors


@runtime_checkable
class Encoder(Protocol):
    """What turns text into vectors. `identity` is stored with them: vectors of two identities never mix. See
    CheckedEncoder for what is checked of them."""

    @property
    def identity(self) -> str:
        """Names the model and everything else that changes its vectors; known without loading the model."""

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        """Encode passages and, for each, the sentences at its character `spans`."""

    def encode_query(self, text: str) -> Vectors:
        """Encode a question: (d,) float32, L2-normalised."""
