"""One walk, by the cheaper of two ways: exact over the whole graph while it is small, local push above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hippomem.hippocampus.graph import KnowledgeGraph
from hippomem.hippocampus.pagerank import personalized_pagerank
from hippomem.hippocampus.push import EPSILON, Sparse, local_pagerank

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Masses:
    """What a walk left on passages: on `rows` (n,), ascending, or where that is None on all of them: `values` (n,)."""

    rows: Rows | None
    values: Floats

    def at(self, rows: Rows) -> Floats:
        """The mass of some passages, 0 where the walk did not come."""
        if self.rows is None:
            return self.values[rows] if len(rows) != len(self.values) else self.values
        return aligned(self.rows, self.values, rows)

    def heaviest(self, count: int) -> Rows:
        """The `count` passages that hold most, in no order; none where the walk went everywhere."""
        if self.rows is None or not count:
            return np.empty(0, np.int64)
        if len(self.rows) <= count:
            return self.rows
        return self.rows[np.argpartition(self.values, -count)[-count:]]


def walk(
    graph: KnowledgeGraph,
    passages: tuple[Rows, Floats],
    entities: dict[int, float],
    asked: Rows | None,
    epsilon: float = EPSILON,
) -> Masses:
    """Walk from seeds on passages (rows and values) and on entities. `asked` are passages whose mass is wanted in any
    case, by a local walk; None asks for an exact one.
    """
    rows, values = passages
    if asked is None:
        on_passages, on_entities = np.zeros(graph.rows, np.float32), np.zeros(graph.nodes, np.float32)
        on_passages[rows] = values
        for entity, value in entities.items():
            on_entities[entity] = value
        return Masses(None, personalized_pagerank(graph, on_passages, on_entities))
    seeds = Sparse(
        np.concatenate([rows, asked]).astype(np.int32),
        np.concatenate([values.astype(np.float64), np.zeros(len(asked))]),
    )
    found, _ = local_pagerank(graph, seeds, Sparse.of(entities), epsilon=epsilon)
    return Masses(found.nodes.astype(np.int64), found.values.astype(np.float32))


def aligned(known: Rows, values: Floats, rows: Rows) -> Floats:
    """`values` of `known` (ascending) at `rows`, 0 where they are not among them: (len(rows),) float32."""
    found = np.zeros(len(rows), np.float32)
    if len(known):
        at = np.searchsorted(known, rows)
        at[at == len(known)] = 0
        there = known[at] == rows
        found[there] = values[at[there]]
    return found
