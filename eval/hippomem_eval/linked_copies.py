"""A bigger graph out of a real one: copies of it that hold together as a corpus of that size does.

In a growing corpus, names that are common stay the same and gather passages, and names that are rare are joined by new
ones. So entities in at least `COMMON` passages are one and the same in all copies; every copy has the others for
itself, and one in ten of the edges to those leads to another copy's. Passages and edges grow with the copies, common
entities become hubs, and from any copy a walk reaches all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hippomem.hippocampus.edges import Edges
from hippomem.hippocampus.graph import KnowledgeGraph

COMMON = 10
ASTRAY = 0.1


@dataclass(frozen=True, slots=True)
class Mentions:
    """The edges between passages and entities of one memory: numbers of their ends and weights, (edges,) each.

    `ids` are the passages in the order of their numbers.
    """

    ids: tuple[str, ...]
    entities: int
    rows: NDArray[np.int32]
    nodes: NDArray[np.int32]
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, graph: Any) -> Mentions:
        """From `Memory.graph()`."""
        passages = [node for node, kind in graph.nodes(data="kind") if kind == "passage"]
        row_of = {node: row for row, node in enumerate(passages)}
        node_of: dict[str, int] = {}
        rows, nodes, weights = [], [], []
        for passage, entity, data in graph.edges(data=True):
            if data["kind"] == "mentions":
                rows.append(row_of[passage])
                nodes.append(node_of.setdefault(entity, len(node_of)))
                weights.append(data["weight"])
        ends = np.array(rows, np.int32), np.array(nodes, np.int32)
        return cls(tuple(passages), len(node_of), *ends, np.array(weights, np.float32))

    def copied(self, copies: int, seed: int) -> KnowledgeGraph:
        """The graph of so many copies; passage r of copy c has the row c * len(ids) + r."""
        rng = np.random.default_rng(seed)
        common = np.bincount(self.nodes, minlength=self.entities) >= COMMON
        rows, nodes = [], []
        for copy in range(copies):
            rows.append(self.rows + np.int32(copy * len(self.ids)))
            where = np.full(len(self.nodes), copy)
            astray = rng.random(len(self.nodes)) < (ASTRAY if copies > 1 else 0)
            where[astray] = rng.integers(copies, size=int(astray.sum()))
            nodes.append(self.nodes + np.where(common[self.nodes], 0, where).astype(np.int32) * self.entities)
        row, node = np.concatenate(rows), np.concatenate(nodes)
        numbers, node = np.unique(node, return_inverse=True)
        weights = np.tile(self.weights, copies)
        # The entities that nothing leads to are left out; masks only serve removal, which does not happen here.
        ones = np.ones(len(row), np.int64)
        return KnowledgeGraph(
            Edges.sorted(
                copies * len(self.ids), len(numbers), row, node.astype(np.int32), weights, ones, ones.astype(np.bool_)
            )
        )
