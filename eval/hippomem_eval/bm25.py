"""BM25 over title and text, as a baseline."""

from __future__ import annotations

import time

from hippomem_eval.lexical import BM25
from hippomem_eval.material import Material, ranked
from hippomem_eval.ranking import Ranking


class BM25System:
    """Lexical search alone; nothing is encoded."""

    def __init__(self, material: Material) -> None:
        self._sources = material.sources
        self._bm25 = BM25([source.whole for source in material.sources])

    def recall(self, question: str, k: int) -> Ranking:
        """The `k` best passages that share a word with the question: the others have no order but the corpus's."""
        began = time.perf_counter()
        best = ranked(self._sources, self._bm25.scores(question), k)
        passages = tuple(passage for passage in best if passage.score > 0)
        return Ranking(passages, {"total": 1e3 * (time.perf_counter() - began)})
