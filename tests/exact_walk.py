"""The exact walk's mass on both sides of a graph."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from hippomem.hippocampus.graph import KnowledgeGraph
from hippomem.hippocampus.pagerank import DAMPING, ITERATIONS, personalized_pagerank


def masses(
    graph: KnowledgeGraph,
    passage_seeds: np.ndarray,
    entity_seeds: np.ndarray,
    damping: float = DAMPING,
    iterations: int = ITERATIONS,
) -> tuple[np.ndarray, np.ndarray]:
    """The mass on passages, and that on entities: the same with the graph's sides exchanged."""
    turned = SimpleNamespace(
        inverse_passage_weight=graph.inverse_entity_weight,
        inverse_entity_weight=graph.inverse_passage_weight,
        to_passages=graph.to_entities,
        to_entities=graph.to_passages,
    )
    return (
        personalized_pagerank(graph, passage_seeds, entity_seeds, damping, iterations),
        personalized_pagerank(turned, entity_seeds, passage_seeds, damping, iterations),
    )
