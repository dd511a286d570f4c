"""LinearRAG as a baseline (Zhuang et al., arXiv 2510.10114, and the authors' own code): a graph without relations.

Index (the Tri-Graph): passages, their sentences, and the names that spaCy finds in them. A passage and a name are
joined by the name's share of all occurrences of names in the passage.
Query: each name in the question activates the name most like it, with their cosine (1 where they are the same). By
semantic bridging, an active name of score s passes s times the sentence's cosine with the question to all names in
those of its sentences that are most like the question, as long as the product reaches a threshold; a sentence is used
once. Passages are seeded with `passage_weight` times (`ratio` times the min-max scaled cosine + ln(1 + sum over active
names of score ln(1 + occurrences) / step)), names with what they received. Personalized PageRank over passages and
names ranks the passages; without a name in the question the cosine does.

Unlike there: names, sentences and vectors are those of the memory, so sentences are encoded in their passage; names
are compared without case and punctuation; occurrences are whole words. Passages that follow each other are not
joined, for in these corpora the order gives away which passages belong to one question. Two changes favour it: a
passage's title counts as a name, and names of the index that stand in the question are found also where spaCy, whose
small pipeline is not the authors' large one, does not see them.

The defaults of `Configuration` were chosen on hotpotqa_train and musique_train, for the mean of recall@2, @5 and @10
over both, one parameter after the other, twice around, from the authors' values: titles or not, sentences 1 … 10,
threshold .05 … .5, steps 1 … 5, ratio .5 … 8, passage_weight .01 … 1, damping .5 … .85; sentences encoded on their own
(no better), names by spaCy alone or with those that stand in the question. The authors' values (3 sentences, .4, 3
steps, 2, .05, damping .5) are 6 points below on that mean.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hippomem.neocortex.extraction import LocalExtractor
from hippomem_eval.material import Material, Questions, Source, min_max, ranked, timed
from hippomem_eval.pagerank import PassageGraph
from hippomem_eval.ranking import Ranking
from hippomem_eval.vectors import vectors_of

_WORD = re.compile(r"\w+")
_LONGEST_NAME = 12  # words


@dataclass(frozen=True, slots=True)
class Configuration:
    """The authors' parameters: sentences a name, the least score to go on, steps with that of the question's names,
    what passages are seeded with, and PageRank's damping. `titles` says whether a passage's title counts as a name."""

    sentences: int = 1
    threshold: float = 0.2
    steps: int = 3
    ratio: float = 3.0
    passage_weight: float = 0.05
    damping: float = 0.8
    titles: bool = True


@dataclass(frozen=True, slots=True)
class Active:
    """A name that bridging reached: its score, and at which step, from 1."""

    score: float
    step: int


class LinearRAG:
    """LinearRAG over the memory's passages."""

    def __init__(self, material: Material, configuration: Configuration | None = None) -> None:
        self._ours = configuration or Configuration()
        self._sources = material.sources
        self._vectors = material.vectors
        self._questions = Questions(material.encoder)
        self._encoder = material.encoder
        self._extractor = LocalExtractor(material.pipeline)
        self._linked: tuple[str, Mapping[int, float]] | None = None
        self._build(material)

    def _build(self, material: Material) -> None:
        from scipy.sparse import csc_matrix

        self._name: dict[str, int] = {}
        self._sentences_of: list[list[int]] = []
        self._names_in: list[list[int]] = []
        per_passage = [self._read(source) for source in material.sources]
        self._lines = np.concatenate([source.lines for source in material.sources])
        names = list(self._name)
        self._name_vectors = vectors_of(names, material.encoder, material.folder, "names")
        passages = len(material.sources)
        edges: list[tuple[int, int]] = []
        weights: list[float] = []
        cells: list[tuple[int, int, int]] = []
        longest = max((name.count(" ") + 1 for name in names), default=0)
        for passage, (source, own) in enumerate(zip(material.sources, per_passage, strict=True)):
            counts = self._occurrences(source, min(longest, _LONGEST_NAME))
            counts |= {name: max(1, counts[name]) for name in own}  # written in a way that words do not tell apart
            total = sum(counts[name] for name in own)
            for name in own:
                edges.append((passage, passages + name))
                weights.append(counts[name] / total)
            cells += [(passage, name, count) for name, count in counts.items()]
        rows, columns, counted = np.array(cells, np.int64).reshape(-1, 3).T
        shape = (passages, len(names))
        self._counts: Any = csc_matrix((np.log1p(counted), (rows, columns)), shape=shape)
        self._graph = PassageGraph(passages + len(names), passages, edges, weights, self._ours.damping)

    def _read(self, source: Source) -> list[int]:
        """Enter a passage's sentences and names. Returns its names."""
        first = len(self._names_in)
        self._names_in += [[] for _ in source.lines]
        own: dict[int, None] = {}
        for mention in source.mentions:
            name = normalised(mention.name)
            if not name or (mention.titled and not self._ours.titles):
                continue
            number = self._name.setdefault(name, len(self._name))
            if number == len(self._sentences_of):
                self._sentences_of.append([])
            own[number] = None
            for line in mention.lines:
                sentence = first + (line if source.title else line - 1)
                if first <= sentence < len(self._names_in) and number not in self._names_in[sentence]:
                    self._names_in[sentence].append(number)
                    self._sentences_of[number].append(sentence)
        return list(own)

    def _occurrences(self, source: Source, longest: int) -> Counter[int]:
        words = _WORD.findall(source.whole.lower())
        found: Counter[int] = Counter()
        for start in range(len(words)):
            for end in range(start + 1, min(start + longest, len(words)) + 1):
                number = self._name.get(" ".join(words[start:end]))
                if number is not None:
                    found[number] += 1
        return found

    def recall(self, question: str, k: int) -> Ranking:
        """The `k` best passages by PageRank."""
        began = time.perf_counter()
        names = self._names_of(question)
        read = time.perf_counter() - began
        ranking = timed(
            lambda: (self._questions.vector(question), self._linked_names(question, names)),
            lambda encoded: ranked(self._sources, self._scores(*encoded), k),
        )
        return Ranking(ranking.passages, {**ranking.timings, "total": ranking.timings["total"] + 1e3 * read})

    def _names_of(self, question: str) -> list[str]:
        """The names that spaCy finds in the question, and those of the index that stand in it."""
        (extraction,) = self._extractor.extract([question], [""])
        found = [normalised(mention.name) for mention in extraction.mentions]
        return [name for name in dict.fromkeys([*found, *self._written_in(question)]) if name]

    def _written_in(self, question: str) -> Iterator[str]:
        words = _WORD.findall(question)
        first = 0
        while first < len(words):
            size = 0
            for size in range(min(_LONGEST_NAME, len(words) - first), 0, -1):
                run = words[first : first + size]
                name = " ".join(run).lower()
                # The first word has a capital whatever it is.
                if name in self._name and any(map(_is_namelike, run)) and (first or size > 1):
                    yield name
                    break
            else:
                size = 1
            first += size

    def _linked_names(self, question: str, names: Sequence[str]) -> Mapping[int, float]:
        """The names of the index most like `names`, those of the question, with their cosine."""
        if self._linked is not None and self._linked[0] == question:
            return self._linked[1]
        linked = {self._name[name]: 1.0 for name in names if name in self._name}
        others = [name for name in names if name not in self._name] if self._name else []
        if others:
            for encoded in self._encoder.encode_passages(others, [()] * len(others)):
                cosines = self._name_vectors @ encoded.vector
                best = int(cosines.argmax())
                linked[best] = max(linked.get(best, 0.0), float(cosines[best]))
        self._linked = question, linked
        return linked

    def _scores(self, question: NDArray[np.float32], linked: Mapping[int, float]) -> NDArray[np.float64]:
        dense = np.asarray(min_max(self._vectors @ question), np.float64)
        if not linked:
            return dense
        received, active = self._bridged(question, linked)
        bonus = np.zeros(len(dense))
        for name, state in active.items():
            column = slice(self._counts.indptr[name], self._counts.indptr[name + 1])
            bonus[self._counts.indices[column]] += state.score / state.step * self._counts.data[column]
        seeds = np.zeros(self._graph.nodes)
        seeds[: len(dense)] = self._ours.passage_weight * (self._ours.ratio * dense + np.log1p(bonus))
        for name, score in received.items():
            seeds[len(dense) + name] = score
        return self._graph.ranks(seeds)

    def _bridged(
        self, question: NDArray[np.float32], linked: Mapping[int, float]
    ) -> tuple[dict[int, float], dict[int, Active]]:
        """What each name received in all, and the names that are active in the end."""
        received = dict(linked)
        active = {name: Active(score, 1) for name, score in linked.items()}
        used: set[int] = set()
        current = dict(active)
        for step in range(2, self._ours.steps + 1):
            reached: dict[int, Active] = {}
            for name, state in current.items():
                sentences = [s for s in self._sentences_of[name] if s not in used]
                if state.score < self._ours.threshold or not sentences:
                    continue
                cosines = self._lines[sentences] @ question
                for best in np.argsort(-cosines, kind="stable")[: self._ours.sentences]:
                    used.add(sentences[best])
                    score = state.score * float(cosines[best])
                    if score < self._ours.threshold:
                        continue
                    for other in self._names_in[sentences[best]]:
                        received[other] = received.get(other, 0.0) + score
                        reached[other] = Active(score, step)
            active |= reached
            current = reached
        return received, active


def _is_namelike(word: str) -> bool:
    """With a capital, of a script that has none, or a year."""
    is_caseless = word[0].isalpha() and word[0].lower() == word[0].upper()
    return word[0].isupper() or is_caseless or (len(word) == 4 and word.isdigit())


def normalised(name: str) -> str:
    """A name as its lower-case words."""
    return " ".join(_WORD.findall(name.lower()))
