"""BM25 as a baseline at its best: bm25s, English stop words, stemmed, k1 1.5 and b .75."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class BM25:
    """Okapi BM25 (Robertson and Zaragoza 2009), in Lucene's variant, over a fixed list of texts."""

    def __init__(self, texts: Sequence[str], k1: float = 1.5, b: float = 0.75) -> None:
        import bm25s
        import Stemmer

        self._stemmer = Stemmer.Stemmer("english")
        self._size = len(texts)
        self._index = bm25s.BM25(k1=k1, b=b)
        tokens = self._tokens(texts)
        self._is_wordless = not any(tokens)  # of which bm25s makes no index
        if not self._is_wordless:
            self._index.index(tokens, show_progress=False)

    def scores(self, query: str) -> NDArray[np.float32]:
        """The score of every text: (n,) float32, 0 where no word of the query stands in it."""
        words = self._tokens([query])[0]
        if self._is_wordless or not words:  # nothing but stop words
            return np.zeros(self._size, np.float32)
        return np.asarray(self._index.get_scores(words), dtype=np.float32)

    def _tokens(self, texts: Sequence[str]) -> list[list[str]]:
        import bm25s

        # In one normal form, as hippomem reads: a mark that stands by itself would cut "Zu\u0308rich" into two words.
        composed = [unicodedata.normalize("NFC", text) for text in texts]
        tokens: list[list[str]] = bm25s.tokenize(
            composed, stopwords="en", stemmer=self._stemmer, return_ids=False, show_progress=False
        )
        return tokens
