"""What is measured on conversations: ways to find turns, each known by its name.

All rank the same turns and read the same of them: who said it and when, and the captions of images. `strong` is the
baseline to beat: what is cheap and known to help, added up. Its form was chosen on LoCoMo's first five conversations,
which favours it there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hippomem import Encoder, Memory, Recipe
from hippomem_eval.ablation import HIPPOMEM, WITHOUT
from hippomem_eval.conversation_formats import Turn
from hippomem_eval.lexical import BM25
from hippomem_eval.progress import progress_bar
from hippomem_eval.systems import Found, Ranking, System

Floats = NDArray[np.float32]
FULL_CONTEXT = "full-context"
STRONG_LEXICAL, STRONG_LENGTH = 0.5, 0.1
RRF_CONSTANT = 60  # Cormack, Clarke and Büttcher (2009)
_AT_ONCE = 512  # turns between two steps of the progress bar
_WORD = re.compile(r"[^\W_]{2,}")


class Transcript:
    """The turns of one haystack, and what baselines make of them; each is made once, when first needed."""

    def __init__(self, turns: Sequence[Turn], encoder: Encoder) -> None:
        self.turns = tuple(turns)
        self.encoder = encoder

    @cached_property
    def vectors(self) -> Floats:
        """Of `Speaker: text`: (n, d) float32, L2-normalised."""
        lines = [turn.line for turn in self.turns]
        rows: list[Floats] = []
        with progress_bar("encoding turns", len(lines)) as advance:
            for first in range(0, len(lines), _AT_ONCE):
                some = lines[first : first + _AT_ONCE]
                for encoded in self.encoder.encode_passages(some, [()] * len(some)):
                    rows.append(encoded.vector)
                    advance()
        return np.array(rows, np.float32)

    @cached_property
    def lexical(self) -> BM25:
        """Over `Speaker: text`."""
        return BM25([turn.line for turn in self.turns])

    @cached_property
    def dated_lexical(self) -> BM25:
        """Over `8 May 2023 Speaker: text`."""
        return BM25([turn.dated_line for turn in self.turns])

    def ranking(self, scores: Floats, k: int, *, least: float = -np.inf, encode: float = 0.0) -> Ranking:
        """The `k` best of `scores` (n,) above `least`; of equals, what was said first. `encode` is in seconds."""
        best = [int(i) for i in np.argsort(-scores, kind="stable")[:k] if scores[i] > least]
        found = tuple(
            Found(self.turns[i].id, self.turns[i].speaker, self.turns[i].text, float(scores[i])) for i in best
        )
        return Ranking(found, {"encode": 1e3 * encode})


class _Encoding:
    """Encodes questions, and remembers the last one: asked again, it costs nothing."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._last: tuple[str, Floats] | None = None

    def vector(self, question: str) -> tuple[Floats, float]:
        """(d,) float32, L2-normalised; and the seconds it took."""
        began = time.perf_counter()
        if self._last is None or self._last[0] != question:
            self._last = question, self._encoder.encode_query(question)
        return self._last[1], time.perf_counter() - began


class Dense:
    """Cosine similarity."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._questions = _Encoding(transcript.encoder)
        self._vectors = transcript.vectors

    def recall(self, question: str, k: int) -> Ranking:
        """The `k` most similar turns."""
        vector, seconds = self._questions.vector(question)
        return self._transcript.ranking(self._vectors @ vector, k, encode=seconds)


class Lexical:
    """BM25."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._index = transcript.lexical

    def recall(self, question: str, k: int) -> Ranking:
        """The `k` best turns that share a word with the question."""
        return self._transcript.ranking(self._index.scores(question), k, least=0.0)


class Fusion:
    """Reciprocal rank fusion of `Dense` and `Lexical`."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._questions = _Encoding(transcript.encoder)

    def recall(self, question: str, k: int) -> Ranking:
        """The `k` best by the sum of 1 / (60 + rank); a turn without a common word has no rank by BM25."""
        vector, seconds = self._questions.vector(question)
        lexical = self._transcript.lexical.scores(question)
        fused = _reciprocal_ranks(self._transcript.vectors @ vector)
        fused += np.where(lexical > 0, _reciprocal_ranks(lexical), 0)
        return self._transcript.ranking(fused, k, encode=seconds)


class Strong:
    """Centred cosine + .5 BM25 relative to the best turn's + .1 standardised log length.

    Centring takes what all turns have in common out of the vectors, and the question's. BM25 reads the date too. The
    length counts because a short turn ("Wow, that's great!") seldom answers anything.
    """

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._questions = _Encoding(transcript.encoder)
        self._mean = transcript.vectors.mean(axis=0)
        self._vectors = _normalised(transcript.vectors - self._mean)
        lengths = np.log1p([len(turn.text) for turn in transcript.turns]).astype(np.float32)
        self._length = STRONG_LENGTH * _standardised(lengths)

    def recall(self, question: str, k: int) -> Ranking:
        """The `k` best turns by the sum."""
        vector, seconds = self._questions.vector(question)
        lexical = self._transcript.dated_lexical.scores(question)
        best = float(lexical.max(initial=0.0))
        scores = self._vectors @ _normalised(vector - self._mean) + self._length
        if best > 0:
            scores = scores + STRONG_LEXICAL * lexical / best
        return self._transcript.ranking(scores, k, encode=seconds)


class Grep:
    """What an agent with nothing but `grep -i` over the transcript would see first.

    Looked for is each word of the question that is no English stop word, as it is written there, in any case and also
    inside of other words. Turns with more of them come first, of these the latest; turns with none do not come.
    """

    def __init__(self, transcript: Transcript) -> None:
        from spacy.lang.en.stop_words import STOP_WORDS

        self._stop_words = STOP_WORDS
        self._transcript = transcript
        self._lines = [turn.line.lower() for turn in transcript.turns]
        self._recency = np.arange(len(self._lines), dtype=np.float32) / max(len(self._lines), 1)

    def recall(self, question: str, k: int) -> Ranking:
        """The `k` first turns that match."""
        words = {word for word in _WORD.findall(question.lower()) if word not in self._stop_words}
        counts = np.array([sum(word in line for word in words) for line in self._lines], np.float32)
        return self._transcript.ranking(np.where(counts > 0, counts + self._recency, 0), k, least=0.0)


class FullContext:
    """All turns in the reader's prompt: nothing is missed, and everything is paid for."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript

    def recall(self, question: str, k: int) -> Ranking:  # noqa: ARG002
        """All turns, as they were said."""
        return self._transcript.ranking(np.zeros(len(self._transcript.turns), np.float32), len(self._transcript.turns))


@dataclass(frozen=True, slots=True)
class TurnMemory:
    """hippomem itself, with its recipe or another. A turn that was too long for one passage comes where the first of
    its passages does; what is no turn is known by its own id.
    """

    memory: Memory
    recipe: Recipe | None = None

    def recall(self, question: str, k: int) -> Ranking:
        """Memory.recall."""
        recall = self.memory.recall(question, k=k, recipe=self.recipe)
        found: dict[str, Found] = {}
        for p in recall.passages:
            turn = str(p.metadata.get("turn", p.id))
            found.setdefault(turn, Found(turn, p.title, p.text, p.score))
        return Ranking(tuple(found.values()), recall.timings)


BASELINES: Mapping[str, Callable[[Transcript], System]] = {
    "strong": Strong,
    "dense": Dense,
    "bm25": Lexical,
    "rrf": Fusion,
    "grep": Grep,
    FULL_CONTEXT: FullContext,
}
RECIPES: Mapping[str, Recipe | None] = {HIPPOMEM: None, **WITHOUT}
CONVERSATION_SYSTEMS = (HIPPOMEM, *BASELINES, *WITHOUT)


def _reciprocal_ranks(scores: Floats) -> Floats:
    ranks = np.empty(len(scores), np.float32)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return np.float32(1) / (np.float32(RRF_CONSTANT) + ranks)


def _normalised(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1), np.float32)


def _standardised(values: Floats) -> Floats:
    deviation = float(values.std())
    return np.asarray((values - values.mean()) / (deviation or 1.0), np.float32)
