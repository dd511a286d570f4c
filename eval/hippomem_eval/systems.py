"""What is measured: systems that rank the passages of one corpus for a question, each known by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from hippomem import Memory
from hippomem_eval.corpus import Corpus


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that a system brought back."""

    id: str
    title: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """Passages, best first, and the milliseconds it took: `total`, and of these `encode` where a text is encoded."""

    passages: tuple[Found, ...]
    timings: Mapping[str, float] = field(default_factory=dict)


class System(Protocol):
    """A way to find passages. Asked the same question a second time, it need not encode it again."""

    def recall(self, question: str, k: int) -> Ranking:
        """The `k` best passages."""


@dataclass(frozen=True, slots=True)
class MemorySystem:
    """hippomem itself, with one of its methods of recall."""

    memory: Memory
    method: Literal["graph", "dense"]

    def recall(self, question: str, k: int) -> Ranking:
        """Memory.recall."""
        recall = self.memory.recall(question, k=k, method=self.method)
        passages = tuple(Found(p.id, p.title, p.text, p.score) for p in recall.passages)
        return Ranking(passages, recall.timings)


# A baseline is built from the passages of the corpus, or from the memory that holds the same ones.
SYSTEMS: Mapping[str, Callable[[Memory, Corpus], System]] = {
    "hippomem": lambda memory, _: MemorySystem(memory, "graph"),
    "dense": lambda memory, _: MemorySystem(memory, "dense"),
}
