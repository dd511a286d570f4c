"""A LangChain `Embeddings` as an encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hippomem.errors import ModelError
from hippomem.neocortex.encoder import Encoded, Span, Vectors
from hippomem.neocortex.late_chunking import encode_separately, normalised

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings


class LangChainEncoder:
    """Any LangChain `Embeddings`. Sentences are embedded on their own: the interface gives no token embeddings.

    Methods raise ModelError where it fails, as where its server does not answer.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings

    @property
    def identity(self) -> str:
        kind = type(self._embeddings)
        names = (getattr(self._embeddings, attribute, None) for attribute in ("model", "model_name"))
        # A model itself is written with its address in memory, or whatever else is another one tomorrow.
        model = next((name for name in names if name and isinstance(name, str)), "")
        return f"langchain:{kind.__module__.split('.')[0]}.{kind.__qualname__}:{model}"

    def encode_query(self, text: str) -> Vectors:
        return normalised(self._array(self._embeddings.embed_query, text))

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        def encode(strings: list[str]) -> Vectors:
            return self._array(self._embeddings.embed_documents, strings)

        return encode_separately(encode, texts, spans)

    def _array(self, embed: Callable[[Any], Any], given: str | list[str]) -> Vectors:
        try:
            numbers = embed(given)
        except Exception as error:  # whatever a provider's package can raise
            told = f"{type(error).__name__}: {error}"
            raise ModelError(f"the encoder {self.identity!r} did not answer ({told})") from error
        try:
            return np.asarray(numbers, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ModelError(f"the encoder {self.identity!r} gave no vectors of one length: {error}") from error
