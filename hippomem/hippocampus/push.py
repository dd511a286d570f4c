"""Personalized PageRank from sparse seeds at a cost that does not depend on the size of the graph.

The same quantity as pagerank.py, x <- d T x + (1 - d) s for a few steps from x = s, written as the series
x = sum_i (1 - d) d^i T^i s + d^n T^n s: each step carries T^i s on from the nodes that it has reached, and a node
passes on only what comes to at least epsilon over an edge of weight 1. That is the rule of local push (Andersen, Chung
and Lang, "Local Graph Partitioning using PageRank Vectors", FOCS 2006: a node is pushed while its residual exceeds
epsilon times its degree). What is different: steps are taken one after the other and counted, as in the exact walk,
instead of pushing from a queue towards the limit, so nothing depends on the order of seeds or passages but the
rounding of sums; and what a passage holds is at last gathered over its own entities, so that those which passed
nothing on (above all those with many passages) are still felt by the passages that were reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hippomem.hippocampus.pagerank import DAMPING, ITERATIONS

if TYPE_CHECKING:
    from hippomem.hippocampus.graph import KnowledgeGraph
    from hippomem.hippocampus.push_kernel import Side, Work

EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class Sparse:
    """Values of some nodes: `nodes` (n,) int32, `values` (n,) float64, none negative."""

    nodes: NDArray[np.int32]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, values: dict[int, float]) -> Sparse:
        """From node -> value."""
        size = len(values)
        return cls(np.fromiter(values, np.int32, size), np.fromiter(values.values(), np.float64, size))


def local_pagerank(
    graph: KnowledgeGraph,
    passage_seeds: Sparse,
    entity_seeds: Sparse,
    damping: float = DAMPING,
    iterations: int = ITERATIONS,
    epsilon: float = EPSILON,
) -> tuple[Sparse, Sparse]:
    """Walk from the seeds. Returns the mass of the passages and of the entities that were reached, by node.

    Seeds that are given twice add up; one of value 0 asks for the mass there. What is gone is in no result. With
    `epsilon` 0 it equals the exact walk; else no value is above it. The first call compiles, or loads what an earlier
    process has compiled.
    """
    from hippomem.hippocampus.push_kernel import MASS, reset, walk

    work = _borrow(graph)
    seeds = (passage_seeds.nodes, passage_seeds.values, entity_seeds.nodes, entity_seeds.values)
    *found, _ = walk(*_sides(graph), *work, *seeds, damping, iterations, epsilon)
    masses = []
    for own, there, seen in zip(work, (graph.alive, graph.frequency), found, strict=True):
        reached = np.sort(own.seen_list[:seen])
        reached = reached[np.asarray(there[reached], np.bool_)]
        masses.append(Sparse(reached, own.state[reached, MASS]))
        reset(own, seen)
    graph.idle.append(work)  # not where anything failed: it has to be all zeros
    return masses[0], masses[1]


def _sides(graph: KnowledgeGraph) -> tuple[Side, Side]:
    from hippomem.hippocampus.push_kernel import Side

    base, log = graph.base, graph.log
    first_of_row, first_of_entity, next_of_row, next_of_entity = log.links
    return (
        Side(
            base.starts, base.entities, base.weights,
            first_of_row, next_of_row, log.entities, log.weights, graph.passage_weight,
        ),
        Side(
            base.entity_starts, base.rows, base.row_weights,
            first_of_entity, next_of_entity, log.rows, log.weights, graph.entity_weight,
        ),
    )  # fmt: skip


def _borrow(graph: KnowledgeGraph) -> tuple[Work, Work]:
    """Work arrays that fit the graph: those of an earlier walk, or new ones, of which a walk touches only a part."""
    needed = (graph.rows, graph.nodes)
    while graph.idle:
        work: tuple[Work, Work] = graph.idle.pop()  # so that two walks at once have their own
        if all(len(own.state) >= size for own, size in zip(work, needed, strict=True)):
            return work
    rows, nodes = (_zeros(size + size // 4 + 16) for size in needed)
    return rows, nodes


def _zeros(size: int) -> Work:
    from hippomem.hippocampus.push_kernel import Work

    flows, seen = np.zeros((2, size // 64 + 1), np.uint64)
    return Work(np.zeros((size, 4)), flows, seen, *np.zeros((3, size), np.int32))
