"""What else could learn from feedback: on top of the plain recall, with the same events.

The constants were chosen on LoCoMo's first two conversations, each baseline at its best there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hippomem import Recall

Floats = NDArray[np.float32]


class Learner(Protocol):
    """Reorders a plain recall by what it was taught."""

    def rank(self, vector: Floats, plain: Recall) -> list[str]:
        """Ids of passages, best first, for a question's vector (d,)."""

    def learn(self, vector: Floats, useful: Sequence[str]) -> None:
        """These passages (ids) were useful for this question."""


class _Remembering:
    """Keeps each question's vector, with what was useful for it."""

    def __init__(self) -> None:
        self._vectors: list[Floats] = []
        self._useful: list[list[str]] = []

    def learn(self, vector: Floats, useful: Sequence[str]) -> None:
        self._vectors.append(vector)
        self._useful.append(list(useful))


class KnnCache(_Remembering):
    """The passages of the most like earlier question come first, where it is like enough."""

    LEAST = 0.85  # cosine

    def rank(self, vector: Floats, plain: Recall) -> list[str]:
        ids = [passage.id for passage in plain.passages]
        if not self._vectors:
            return ids
        cosines = np.stack(self._vectors) @ vector
        nearest = int(np.argmax(cosines))
        first = self._useful[nearest] if cosines[nearest] >= self.LEAST else []
        return list(dict.fromkeys([*first, *ids]))


class SoftVote(_Remembering):
    """Every earlier question votes for its passages with its cosine: added to the score of the plain recall."""

    WEIGHT, LEAST = 0.3, 0.3  # of a vote; the cosine below which there is none

    def rank(self, vector: Floats, plain: Recall) -> list[str]:
        scores = {passage.id: passage.score for passage in plain.passages}
        last = min(scores.values(), default=0.0)
        cosines = np.stack(self._vectors) @ vector if self._vectors else np.empty(0, np.float32)
        for cosine, useful in zip(cosines.tolist(), self._useful, strict=True):
            for id_ in useful if cosine > self.LEAST else ():
                scores[id_] = scores.get(id_, last) + self.WEIGHT * cosine
        return sorted(scores, key=lambda id_: -scores[id_])
