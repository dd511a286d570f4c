"""What a question is about without saying it, as a follow-up or a part of a question is ("Where was he born?"): the
passages that were found before, whose names count as its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hippomem.hippocampus.graph import KnowledgeGraph

MOST = 20  # names, the rarest
SHARE = 0.5  # of the seeds, where the question names something itself


def with_names_of(graph: KnowledgeGraph, named: Mapping[int, float], rows: NDArray[np.int64]) -> dict[int, float]:
    """Seeds on what a question names (they sum up to 1), and on what passages name that it is about, by rarity."""
    weights: dict[int, float] = {}
    for edges in graph.edges_of_rows(rows.tolist()) if len(rows) else ():
        for entity, _ in edges:
            weights[entity] = weights.get(entity, 0.0) + 1.0 / float(graph.frequency[entity])
    # Equal weights are common: the key decides, so that the order in which memories came does not.
    rarest = sorted(weights, key=lambda entity: (-weights[entity], graph.keys.key(entity)))[:MOST]
    if not rarest:
        return dict(named)
    share = (SHARE if named else 1.0) / sum(weights[entity] for entity in rarest)
    seeds = {entity: (1 - SHARE) * value for entity, value in named.items()}
    for entity in rarest:
        seeds[entity] = seeds.get(entity, 0.0) + share * weights[entity]
    return seeds
