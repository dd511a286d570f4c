"""A small encoder where there is a GPU: on onnxruntime until there is so much to encode that the GPU is worth it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Lock

from hippomem.errors import ModelError
from hippomem.importing import import_whole
from hippomem.neocortex.encoder import Encoded, Span, Vectors
from hippomem.neocortex.onnx_encoder import OnnxEncoder
from hippomem.neocortex.torch_encoder import SentenceTransformerEncoder

log = logging.getLogger("hippomem")

MANY = 64  # texts in one call that count as part of a bulk
WORTH = 2048  # such texts: by then a processor has spent on them what torch takes to load, with the GPU's libraries


class BulkEncoder:
    """Questions and few texts on onnxruntime, which a process has at once; many, once they are worth it, on a GPU.

    Both make the same vectors but for the last digits. Where torch finds no GPU, or this one fails, as one whose memory
    others have, it stays with onnxruntime, and says so.
    """

    runtime = "onnxruntime, and a GPU for many texts"

    def __init__(self, name: str) -> None:
        self.name = name
        self._few = OnnxEncoder(name)
        self._many = SentenceTransformerEncoder(name)
        self._seen = 0
        self._has_gpu: bool | None = None
        self._looking = Lock()

    @property
    def identity(self) -> str:
        return self._few.identity

    def encode_query(self, text: str) -> Vectors:
        return self._few.encode_query(text)

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        if len(texts) >= MANY:
            self._seen += len(texts)
            if self._seen > WORTH and self._finds_gpu():
                try:
                    return self._many.encode_passages(texts, spans)
                except ModelError as error:
                    log.warning("the GPU is left alone, and onnxruntime encodes: %s", error)
                    self._has_gpu = False
        return self._few.encode_passages(texts, spans)

    def _finds_gpu(self) -> bool:
        with self._looking:
            if self._has_gpu is None:
                import_whole("sentence_transformers")
                from sentence_transformers.util import get_device_name

                self._has_gpu = get_device_name() != "cpu"
            return self._has_gpu
