"""Questions that are asked of several systems or memories are encoded once."""

from __future__ import annotations

from collections.abc import Sequence

from hippomem import Encoder
from hippomem.neocortex.encoder import Encoded, Span, Vectors


class Remembering:
    """An encoder that encodes a question once."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[str, Vectors] = {}

    @property
    def identity(self) -> str:
        """That of the encoder."""
        return self._encoder.identity

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        """As the encoder does."""
        return self._encoder.encode_passages(texts, spans)

    def encode_query(self, text: str) -> Vectors:
        """As the encoder does, or did."""
        if text not in self._known:
            self._known[text] = self._encoder.encode_query(text)
        return self._known[text]
