"""What is measured: systems that rank the passages of one corpus for a question, each known by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from hippomem import Memory, Recipe
from hippomem_eval.ablation import WITHOUT
from hippomem_eval.configured import configured_encoder
from hippomem_eval.corpus import Corpus
from hippomem_eval.index import Index
from hippomem_eval.material import Material
from hippomem_eval.openie import OpenIE
from hippomem_eval.ranking import Found, Ranking, System
from hippomem_eval.remembering import Remembering

__all__ = ["ASKING", "RECOGNISING", "SYSTEMS", "WITH_OPENIE", "Bench", "Found", "MemorySystem", "Ranking", "System"]


@dataclass(frozen=True, slots=True)
class MemorySystem:
    """hippomem itself, with one of its methods of recall, by way of sub-questions or not, with a recipe of its own."""

    memory: Memory
    method: Literal["graph", "dense"]
    decompose: bool = False
    iterative: bool = False
    recipe: Recipe | None = None
    recognise: bool = False

    def recall(self, question: str, k: int) -> Ranking:
        """Memory.recall."""
        recall = self.memory.recall(
            question,
            k,
            method=self.method,
            decompose=self.decompose,
            iterative=self.iterative,
            recipe=self.recipe,
            recognise=self.recognise,
        )
        passages = tuple(Found(p.id, p.title, p.text, p.score) for p in recall.passages)
        return Ranking(passages, recall.timings, recall.usage, recall.warnings)


@dataclass
class Bench:
    """What the baselines of one run share: a corpus, its index without an LLM's triples, and these where given."""

    corpus: Corpus
    index: Index
    openie: OpenIE | None = None

    @cached_property
    def remembering(self) -> Remembering:
        """The configured encoder, for systems that are all asked the same."""
        return Remembering(configured_encoder())

    @cached_property
    def material(self) -> Material:
        """The passages of the index."""
        with self.index.open() as memory:
            return Material.of(memory, self.index.database.parent)

    def facts(self) -> list[list[tuple[str, str, str]]]:
        """For each passage of the material its triples: the LLM's, or else those that the memory found itself."""
        if self.openie is None:
            return [[(f.subject, f.relation, f.object) for f in source.facts] for source in self.material.sources]
        places = [sorted(self.corpus.places_of(source.title, source.text)) for source in self.material.sources]
        return [[fact for place in own for fact in self.openie.facts[place]] for own in places]


def _without(recipe: Recipe) -> Callable[[Memory, Bench], System]:
    return lambda memory, _: MemorySystem(memory, "graph", recipe=recipe)


def _bm25(_: Memory, bench: Bench) -> System:
    from hippomem_eval.bm25 import BM25System

    return BM25System(bench.material)


def _rrf(_: Memory, bench: Bench) -> System:
    from hippomem_eval.rrf import ReciprocalRankFusion

    return ReciprocalRankFusion(bench.material)


def _hipporag2(_: Memory, bench: Bench) -> System:
    from hippomem_eval.hipporag2 import HippoRAG2

    return HippoRAG2(bench.material, bench.facts())


def _linearrag(_: Memory, bench: Bench) -> System:
    from hippomem_eval.linearrag import LinearRAG

    return LinearRAG(bench.material)


# A system is made of a memory over the corpus, opened for it alone, and of what the run's baselines share.
SYSTEMS: Mapping[str, Callable[[Memory, Bench], System]] = {
    "hippomem": lambda memory, _: MemorySystem(memory, "graph"),
    "hippomem-local": lambda memory, _: MemorySystem(memory, "graph"),
    "dense": lambda memory, _: MemorySystem(memory, "dense"),
    "hippomem+decompose": lambda memory, _: MemorySystem(memory, "graph", decompose=True),
    "hippomem+iterative": lambda memory, _: MemorySystem(memory, "graph", iterative=True),
    "hippomem+recognise": lambda memory, _: MemorySystem(memory, "graph", recognise=True),
    "bm25": _bm25,
    "rrf": _rrf,
    "hipporag2": _hipporag2,
    "linearrag": _linearrag,
    **{name: _without(recipe) for name, recipe in WITHOUT.items()},
}
RECOGNISING = "hippomem+recognise"
ASKING = frozenset({"hippomem+decompose", "hippomem+iterative", RECOGNISING})  # these ask a chat model
# What an LLM's triples change: hippomem searches an index that holds them too, hipporag2 has no others.
WITH_OPENIE = frozenset({"hippomem", "hipporag2", *ASKING, *WITHOUT})
