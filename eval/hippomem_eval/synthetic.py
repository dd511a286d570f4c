"""A made-up encyclopaedia of any size, to measure growth: degrees, words and lengths are distributed like real ones.

Every passage follows from seed, size and its number alone, so a corpus is a stream that nobody holds. What is fitted,
and how close it comes, stands in eval/README.md ("Growth").
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from hippomem import InvalidInputError
from hippomem_eval.synthetic_names import FUNCTION_WORDS, entity_name, title_name, vocabulary

CLUSTERS = 512  # of words with a meaning in common: a word's is its hash, so that the encoder knows it too
_STARTS = ("The", "In", "It", "He", "She", "This", "After", "They", "During", "While", "There", "His")
_BLOCK = 64  # passages drawn at a time
_SENTENCES, _SPREAD = 4.5, 4.0  # mean sentences, and the shape of the gamma distribution of a passage's length
_WORDS = 14.0  # of a sentence beside its names
_FUNCTION_SHARE, _TOPIC_SHARE = 0.45, 0.4  # of the words; of those with a meaning
_LINKS, _POPULAR = 1.3, 0.25  # titles that a passage names, and the share of these that go to popular ones
_LINKABLE = 3  # one title in so many is ever named by other passages
_NEAR = 8  # how far apart two linked passages of a topic may be, in linkable ones
_HUBS, _HUB_RATE, _RARE = 200, 0.075, 1.05  # entity r is named at .075 r^-.5 a passage, beyond rank 200 as r^-1.05
_ENTITIES = 10**7
_LISTED = 0.35  # of the names follow another one behind a comma: no fact lies between the two
_TITLE_SAID = 0.8  # of the passages begin with their title


@dataclass(frozen=True, slots=True)
class SyntheticPassage:
    """A passage. `words` are the words with a meaning of each sentence; `links` (passage, sentence) what it names."""

    number: int
    title: str
    text: str
    words: tuple[tuple[str, ...], ...]
    links: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class SyntheticQuestion:
    """Two hops: it names `start` by its title and asks for `target`, which that one links to, by words of both."""

    id: str
    text: str
    start: int
    target: int


class SyntheticCorpus:
    """`size` passages, numbered from 0. Raises InvalidInputError where size < 1 or seed < 0."""

    def __init__(self, size: int, seed: int = 0) -> None:
        if size < 1 or seed < 0:
            raise InvalidInputError(f"a synthetic corpus needs size >= 1 and seed >= 0, not {size} and {seed}")
        self.size = size
        self.seed = seed
        self.topics = max(4, round(2 * size**0.5))  # a larger encyclopaedia has more of them, and larger ones
        self._block = lru_cache(maxsize=8)(self._drawn)

    def records(self, first: int = 0, last: int | None = None) -> Iterator[dict[str, str]]:
        """The passages first to last - 1 as `Memory.ingest` takes them."""
        for number in range(first, self.size if last is None else last):
            passage = self.passage(number)
            yield {"title": passage.title, "text": passage.text}

    def passage(self, number: int) -> SyntheticPassage:
        """One passage; its neighbours come cheaply after it."""
        return self._block(number // _BLOCK)[number % _BLOCK]

    def questions(self, count: int) -> Iterator[SyntheticQuestion]:
        """`count` questions about passages chosen at random; fewer where hardly any passage links to another."""
        rng = np.random.default_rng([self.seed, 1, self.size])
        asked: set[tuple[int, int]] = set()
        for _ in range(50 * count):
            if len(asked) == count:
                return
            start = self.passage(int(rng.integers(self.size)))
            if not start.links:
                continue
            target, sentence = start.links[int(rng.integers(len(start.links)))]
            if (start.number, target) in asked:
                continue
            said = list(dict.fromkeys(word for words in self.passage(target).words for word in words))
            around = list(dict.fromkeys(start.words[sentence]))
            if len(said) < 4 or len(around) < 2:
                continue
            asked.add((start.number, target))
            w, x, y, z = (said[i] for i in rng.choice(len(said), 4, replace=False))
            u, v = (around[i] for i in rng.choice(len(around), 2, replace=False))
            text = f"Which {w} {x} was the {y} {z} of the {u} that had {v} {start.title}?"
            yield SyntheticQuestion(f"s{len(asked)}", text, start.number, target)

    # -- how a block of passages is drawn -----------------------------------------------------------------------

    def _drawn(self, block: int) -> list[SyntheticPassage]:
        rng = np.random.default_rng([self.seed, 0, self.size, block])
        numbers = range(block * _BLOCK, min(self.size, (block + 1) * _BLOCK))
        length = rng.gamma(_SPREAD, 1 / _SPREAD, _BLOCK)
        sentences = np.maximum(1, np.rint(_SENTENCES * length)).astype(int)
        names = rng.poisson((self._named.rate * length)[:, None], (_BLOCK, 1))[:, 0]
        ranks = np.split(self._named.ranks(rng, int(names.sum())), np.cumsum(names)[:-1])
        links = rng.poisson(_LINKS, _BLOCK)
        return [
            self._passage(rng, number, int(sentences[i]), ranks[i], int(links[i])) for i, number in enumerate(numbers)
        ]

    def _passage(
        self, rng: np.random.Generator, number: int, sentences: int, ranks: NDArray[np.int64], links: int
    ) -> SyntheticPassage:
        topic = number % self.topics
        own = rng.random(len(ranks)) < 0.5  # of the rarer entities half belong to one topic
        local = np.where(own & (ranks > _HUBS + self.topics), ranks - ranks % self.topics + topic, ranks)
        linked = [target for target in self._targets(rng, number, links) if target != number]
        places = rng.integers(sentences, size=len(linked) + len(local)).tolist()
        title = title_name(number)
        named: list[list[str]] = [[] for _ in range(sentences)]
        said = [title_name(target) for target in linked] + [entity_name(rank) for rank in local.tolist()]
        for name, place in zip(said, places, strict=True):
            named[place].append(name)
        if rng.random() < _TITLE_SAID:
            named[0].insert(0, title)
        drawn = rng.poisson(_WORDS, sentences).tolist()
        lengths = [max(2 * len(here) + 3, count) for here, count in zip(named, drawn, strict=True)]
        words, meant = self._words(rng, topic, sum(lengths))
        starts = rng.integers(len(_STARTS), size=sentences).tolist()
        lines: list[str] = []
        meanings: list[tuple[str, ...]] = []
        at = 0
        for here, count, start in zip(named, lengths, starts, strict=True):
            run = slice(at, at + count)
            meanings.append(tuple(compress(words[run], meant[run])))
            lines.append(_sentence(_STARTS[start], words[run], here, (rng.random(len(here)) < _LISTED).tolist()))
            at += count
        return SyntheticPassage(
            number, title, " ".join(lines), tuple(meanings), tuple(zip(linked, places, strict=False))
        )

    def _targets(self, rng: np.random.Generator, number: int, count: int) -> set[int]:
        """Passages of the same topic that this one names: near ones, and popular ones."""
        topic, place = number % self.topics, number // self.topics
        in_topic = (self.size - topic + self.topics - 1) // self.topics
        slots = (in_topic + _LINKABLE - 1) // _LINKABLE
        found = set()
        for step, chance in zip(rng.integers(-_NEAR, _NEAR + 1, count).tolist(), rng.random(count), strict=True):
            slot = place // _LINKABLE + step
            if chance < _POPULAR:
                slot -= slot % 16
            slot = abs(slot)  # turned back at both ends
            slot = slot if slot < slots else max(0, 2 * (slots - 1) - slot)
            found.add(slot * _LINKABLE * self.topics + topic)
        return found

    def _words(self, rng: np.random.Generator, topic: int, count: int) -> tuple[list[str], list[bool]]:
        chance = rng.random((3, count))
        meant = chance[0] >= _FUNCTION_SHARE
        topical = meant & (chance[1] < _TOPIC_SHARE)
        ids = np.searchsorted(self._vocabulary.general, chance[2])
        ids[~meant] = np.searchsorted(self._vocabulary.function, chance[2][~meant]) + len(self._vocabulary.words)
        own, weights = self._topic(topic)
        ids[topical] = own[np.searchsorted(weights, chance[2][topical])]
        return self._vocabulary.strings[ids].tolist(), meant.tolist()

    @cached_property
    def _vocabulary(self) -> _Vocabulary:
        return _Vocabulary.made()

    @cached_property
    def _named(self) -> _Named:
        return _Named.made()

    def _topic(self, topic: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The words of a topic: those of three clusters, by rank; and their cumulative chances."""
        chosen = np.random.default_rng([self.seed, 2, topic]).choice(CLUSTERS, 3, replace=False)
        words = np.sort(np.concatenate([self._vocabulary.clusters[cluster] for cluster in chosen]))
        return words, _cumulative(1 / (np.arange(len(words)) + 3.0))


def word_hash(word: str) -> int:
    """32 bits that say what a word means: its cluster is the remainder by CLUSTERS."""
    return zlib.crc32(word.encode("utf-8", "replace"))


def _sentence(start: str, words: list[str], names: list[str], listed: list[bool]) -> str:
    """The words with the names among them, evenly: never the first word, and never side by side."""
    parts = [start, *words]
    groups: list[str] = []
    for name, behind in zip(names, listed, strict=True):
        if behind and groups:
            groups[-1] += f", {name}"
        else:
            groups.append(name)
    for place in range(len(groups) - 1, -1, -1):
        parts.insert(2 + place * (len(words) - 1) // len(groups), groups[place])
    return " ".join(parts) + "."


def _cumulative(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.cumsum(weights)
    return np.asarray(sums[:-1] / sums[-1])  # without the last: a place is found for every chance below 1


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """Words by rank with their chances (Zipf and Mandelbrot), those without a meaning behind them."""

    words: list[str]
    strings: NDArray[np.object_]
    general: NDArray[np.float64]
    function: NDArray[np.float64]
    clusters: list[NDArray[np.int64]]

    @classmethod
    @cache
    def made(cls) -> _Vocabulary:
        words = vocabulary()
        cluster = np.array([word_hash(word) % CLUSTERS for word in words])
        order = np.argsort(cluster, kind="stable")
        return cls(
            words,
            np.array([*words, *FUNCTION_WORDS], dtype=object),
            _cumulative(1 / (np.arange(len(words)) + 30.0)),
            _cumulative(1 / (np.arange(len(FUNCTION_WORDS)) + 1.5)),
            np.split(order, np.searchsorted(cluster[order], np.arange(1, CLUSTERS))),
        )


@dataclass(frozen=True, slots=True)
class _Named:
    """How often entities are named: `rate` names a passage in all, drawn by rank."""

    hubs: NDArray[np.float64]
    hub_mass: float
    rare_mass: float

    @classmethod
    def made(cls) -> _Named:
        hubs = _HUB_RATE / np.sqrt(np.arange(1, _HUBS + 1))
        rare = float(hubs[-1]) * _HUBS / (_RARE - 1) * (1 - (_HUBS / _ENTITIES) ** (_RARE - 1))
        return cls(_cumulative(hubs), float(hubs.sum()), rare)

    @property
    def rate(self) -> float:
        """Names a passage of mean length, its own title and links not counted."""
        return self.hub_mass + self.rare_mass

    def ranks(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Ranks from 0: (count,)."""
        chance, kind = rng.random((2, count))
        tail = 1 - chance * (1 - (_HUBS / _ENTITIES) ** (_RARE - 1))
        rare = _HUBS * tail ** (-1 / (_RARE - 1))
        is_hub = kind * self.rate < self.hub_mass
        return np.asarray(np.where(is_hub, np.searchsorted(self.hubs, chance), rare), dtype=np.int64)
