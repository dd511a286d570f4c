"""What the baselines are made of: the passages of an index as the memory itself cut, encoded and read them.

So every system ranks the same passages, and none pays for an encoding that another one has done.
"""

from __future__ import annotations

import base64
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hippomem import Encoder, Memory, Triple
from hippomem.neocortex.encoder_choice import resolve_encoder
from hippomem_eval.ranking import Found, Ranking

T = TypeVar("T")
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Mention:
    """A name in a passage, and the lines that hold it: 0 is the title, i + 1 sentence i of the text."""

    name: str
    lines: tuple[int, ...]
    titled: bool


@dataclass(frozen=True, slots=True)
class Source:
    """A passage with what the memory found in it. `lines` (l, d) float32 are its title's, if any, and its sentences'
    vectors by late chunking, in the order that the mentions count in.
    """

    id: str
    title: str
    text: str
    lines: Vectors
    mentions: tuple[Mention, ...]
    facts: tuple[Triple, ...]

    @property
    def whole(self) -> str:
        """What an encoder and BM25 read."""
        return f"{self.title}\n{self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Material:
    """The passages, in the order in which they were ingested, and their `vectors`: (n, d) float32, L2-normalised.

    `folder` is where a baseline may keep what is dear to compute, `pipeline` the spaCy pipeline of the memory.
    """

    sources: tuple[Source, ...]
    vectors: Vectors
    encoder: Encoder
    pipeline: Any
    folder: Path

    @classmethod
    def of(cls, memory: Memory, folder: Path) -> Material:
        """Read all of a memory's namespace, by way of an export that is deleted again."""
        with tempfile.TemporaryDirectory(prefix="material-", dir=folder) as name:
            dump = Path(name) / "dump.jsonl"
            memory.export(dump)
            sources, vectors = _read(dump)
        our = memory.settings
        return cls(sources, vectors, resolve_encoder(*our.encoding), our.pipeline, folder)


class Questions:
    """Encodes questions, each once: the last one is remembered."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._last: tuple[str, Vectors] | None = None

    def vector(self, question: str) -> Vectors:
        """(d,) float32, L2-normalised."""
        if self._last is None or self._last[0] != question:
            self._last = question, self._encoder.encode_query(question)
        return self._last[1]


def ranked(sources: Sequence[Source], scores: NDArray[np.floating[Any]], k: int) -> tuple[Found, ...]:
    """The `k` best by `scores` (n,), of equals the first one."""
    k = min(k, len(sources))
    if k < len(scores):
        # All that score as high as the k-th: which of equals argpartition takes is chance.
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        among = np.flatnonzero(scores >= least)
    else:
        among = np.arange(len(scores))
    best = among[np.argsort(-scores[among], kind="stable")][:k]
    return tuple(Found(sources[i].id, sources[i].title, sources[i].text, float(scores[i])) for i in best)


def timed(encode: Callable[[], T], search: Callable[[T], tuple[Found, ...]]) -> Ranking:
    """Encode and search, with the milliseconds of the encoding and of it all."""
    began = time.perf_counter()
    encoded = encode()
    after = time.perf_counter()
    passages = search(encoded)
    return Ranking(passages, {"encode": 1e3 * (after - began), "total": 1e3 * (time.perf_counter() - began)})


def min_max(values: NDArray[Any]) -> NDArray[Any]:
    """Scaled to 0 … 1; all zero where all are equal."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _read(dump: Path) -> tuple[tuple[Source, ...], Vectors]:
    sources, vectors = [], []
    with dump.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            item = json.loads(line)
            if item["type"] == "passage":
                vectors.append(np.frombuffer(base64.b64decode(item["vector"]), np.float32))
                sources.append(_source(item, len(vectors[-1])))
    return tuple(sources), np.array(vectors, np.float32)


def _source(item: Mapping[str, Any], dimension: int) -> Source:
    vectors = np.frombuffer(base64.b64decode(item["sentence_vectors"]), np.float16)
    return Source(
        item["id"],
        item["title"],
        item["text"],
        vectors.reshape(-1, dimension).astype(np.float32),
        tuple(Mention(name, _bits(lines), titled) for name, lines, titled in item["mentions"]),
        tuple(Triple(*fact) for fact in item["facts"]),
    )


def _bits(mask: int) -> tuple[int, ...]:
    return tuple(bit for bit in range(mask.bit_length()) if mask >> bit & 1)
