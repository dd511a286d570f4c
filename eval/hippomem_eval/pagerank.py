"""Personalized PageRank over passages and names, as the baselines call it: igraph's prpack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class PassageGraph:
    """An undirected weighted graph in which nodes 0 … `passages` - 1 are the passages."""

    def __init__(
        self,
        nodes: int,
        passages: int,
        edges: Sequence[tuple[int, int]],
        weights: Sequence[float],
        damping: float,
    ) -> None:
        import igraph

        self.nodes = nodes
        self._damping = damping
        self._passages = passages
        # Parallel edges add up: to PageRank that is the same, and it halves what prpack has to read.
        self._graph = igraph.Graph(n=nodes, edges=list(edges), edge_attrs={"weight": list(weights)}, directed=False)
        self._graph.simplify(loops=True, combine_edges="sum")

    @property
    def edges(self) -> int:
        """How many pairs of nodes are joined."""
        return int(self._graph.ecount())

    def ranks(self, seeds: NDArray[np.float64]) -> NDArray[np.float64]:
        """PageRank of the passages for the reset distribution `seeds` (nodes,), which need not sum to 1."""
        ranks: list[Any] = self._graph.personalized_pagerank(
            vertices=range(self._passages),
            damping=self._damping,
            directed=False,
            weights="weight",
            reset=seeds,
            implementation="prpack",
        )
        return np.asarray(ranks, np.float64)
