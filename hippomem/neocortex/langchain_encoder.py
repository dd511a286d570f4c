"""A LangChain `Embeddings` as an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hippomem.neocortex.encoder import Encoded, Span, Vectors
from hippomem.neocortex.late_chunking import encode_separately, normalised

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings


class LangChainEncoder:
    """Any LangChain `Embeddings`. Sentences are embedded on their own: the interface gives no token embeddings."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings

    @property
    def identity(self) -> str:
        kind = type(self._embeddings)
        model = getattr(self._embeddings, "model", None) or getattr(self._embeddings, "model_name", None) or ""
        return f"langchain:{kind.__module__.split('.')[0]}.{kind.__qualname__}:{model}"

    def encode_query(self, text: str) -> Vectors:
        return normalised(np.asarray(self._embeddings.embed_query(text), dtype=np.float32))

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        def encode(strings: list[str]) -> Vectors:
            return np.asarray(self._embeddings.embed_documents(strings), dtype=np.float32)

        return encode_separately(encode, texts, spans)
