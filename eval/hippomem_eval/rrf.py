"""Reciprocal rank fusion of dense and lexical search, as a baseline (Cormack, Clarke and Büttcher, SIGIR 2009)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hippomem_eval.lexical import BM25
from hippomem_eval.material import Material, Questions, ranked, timed
from hippomem_eval.ranking import Ranking

K = 60  # the paper's constant


class ReciprocalRankFusion:
    """A passage scores 1/(60 + its rank by cosine) + 1/(60 + its rank by BM25), over whole rankings; a passage that
    shares no word with the question has no rank by BM25."""

    def __init__(self, material: Material) -> None:
        self._sources = material.sources
        self._vectors = material.vectors
        self._questions = Questions(material.encoder)
        self._bm25 = BM25([source.whole for source in material.sources])

    def recall(self, question: str, k: int) -> Ranking:
        """The `k` best passages by fused rank."""

        def search(vector: NDArray[np.float32]) -> Any:
            lexical = self._bm25.scores(question)
            fused = reciprocal_ranks(self._vectors @ vector) + reciprocal_ranks(lexical) * (lexical > 0)
            return ranked(self._sources, fused, k)

        return timed(lambda: self._questions.vector(question), search)


def reciprocal_ranks(scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """1/(60 + rank) for each of `scores` (n,), ranks from 1, of equals the first one before."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return 1.0 / (K + ranks)
