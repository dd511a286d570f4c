"""Personalized PageRank on the bipartite graph of passages and entities, by power iteration.

x <- d T x + (1 - d) s, with T the column-normalised adjacency and s the seeds (Haveliwala 2002; as memory retrieval:
HippoRAG, arXiv 2405.14831, section 2). A few iterations suffice: what is recalled lies a few hops away.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

DAMPING = 0.7
ITERATIONS = 5


class BipartiteGraph(Protocol):
    """Weighted edges between passages and entities, with what each node's weights sum up to, inverted (0: no node)."""

    @property
    def inverse_passage_weight(self) -> Floats: ...

    @property
    def inverse_entity_weight(self) -> Floats: ...

    def to_passages(self, entity_values: Floats) -> Floats:
        """W x: (entities,) -> (passages,)."""

    def to_entities(self, passage_values: Floats) -> Floats:
        """W^T x: (passages,) -> (entities,)."""


def personalized_pagerank(
    graph: BipartiteGraph,
    passage_seeds: Floats,
    entity_seeds: Floats,
    damping: float = DAMPING,
    iterations: int = ITERATIONS,
) -> Floats:
    """Walk from the seeds, on passages (p,) and on entities (e,). Returns the mass on passages, (p,) float32.

    Passages receive from entities alone, and entities from passages: of either, every second step counts towards that.
    """
    stay = np.float32(1 - damping)
    keep = np.float32(damping)
    passages, entities = passage_seeds.astype(np.float32), entity_seeds.astype(np.float32)
    passage_restart, entity_restart = stay * passages, stay * entities
    from_passage = keep * graph.inverse_passage_weight
    from_entity = keep * graph.inverse_entity_weight
    for left in range(iterations, 0, -1):
        if left % 2:
            passages = graph.to_passages(entities * from_entity) + passage_restart
        else:
            entities = graph.to_entities(passages * from_passage) + entity_restart
    return passages
