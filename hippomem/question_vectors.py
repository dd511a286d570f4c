"""The vectors of the last questions: the same question again, or another recall of it, need not be encoded anew."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from hippomem.neocortex.checked_encoder import CheckedEncoder

KEPT = 1024  # 1.5 kB each


class QuestionVectors:
    """Encodes questions and remembers the last of them. Safe to use from several threads."""

    def __init__(self, encoder: CheckedEncoder) -> None:
        self._encoder = encoder
        self._vectors: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = Lock()

    def known(self, question: str) -> NDArray[np.float32] | None:
        """The vector (d,) of a question that was encoded lately."""
        with self._lock:
            if question in self._vectors:
                self._vectors.move_to_end(question)
            return self._vectors.get(question)

    def encode(self, question: str) -> NDArray[np.float32]:
        """The question's vector: (d,) float32, L2-normalised. Other threads go on meanwhile."""
        vector = self._encoder.encode_query(question)
        with self._lock:
            self._vectors[question] = vector
            if len(self._vectors) > KEPT:
                self._vectors.popitem(last=False)
        return vector
