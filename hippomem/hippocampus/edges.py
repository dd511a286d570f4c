"""The edges of the knowledge graph, readable from both ends at the cost of a node's own edges.

Those of the snapshot lie in compressed rows, once by passage and once by entity, memory-mapped; those that came since
lie in a log that is chained by passage and by entity (a linked list in arrays), so that one more costs the same
whatever is there already.

Weight of an edge: ln(1 + n) + 4 [the entity names the passage's title], n the lines of the passage that name it; times
how far use has strengthened it, which consolidation sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from math import log1p

import numpy as np
from numpy.typing import NDArray

from hippomem.hippocampus.arrays import Growing

TITLE_WEIGHT = 4.0
LINES = np.int64((1 << 63) - 1)  # bits 0..62 of an edge's mask: the lines that name the entity
# The sign bit says that the entity names the passage's title.

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]


def edge_weight(mask: int) -> float:
    """The weight of an edge with this mask of lines."""
    return log1p((mask & int(LINES)).bit_count()) + (TITLE_WEIGHT if mask < 0 else 0.0)


def strengthened(weights: list[float], primary: Sequence[bool], strengths: Sequence[float] | None) -> list[float]:
    """Weights of one passage's edges by how use has strengthened them. Of those found by the extractor (primary) the
    sum stays: what one gains the others give. The rest, found by the words alone, are as they were.
    """
    if strengths is None:
        return weights
    own = [w for w, is_primary in zip(weights, primary, strict=True) if is_primary]
    grown = [w * s for w, s, is_primary in zip(weights, strengths, primary, strict=True) if is_primary]
    share = sum(own) / sum(grown) if sum(grown) > 0 else 1.0
    return [w * s * share if is_primary else w for w, s, is_primary in zip(weights, strengths, primary, strict=True)]


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges of some passages, passage by passage: `starts` (rows + 1), the next four (edges,).

    The same edges entity by entity: `entity_starts` (nodes + 1), `rows` and `row_weights` (edges,); and of these the
    passages whose title the entity names: `title_starts` (nodes + 1), `title_rows`.
    """

    starts: Longs
    entities: Ints
    weights: Floats
    masks: Longs
    primary: Flags  # found by the extractor or the title, not only by the words
    entity_starts: Longs
    rows: Ints
    row_weights: Floats
    title_starts: Longs
    title_rows: Ints

    @classmethod
    def sorted(
        cls, passages: int, nodes: int, rows: Ints, entities: Ints, weights: Floats, masks: Longs, primary: Flags
    ) -> Edges:
        """From edges in any order, (edges,) each."""
        order = np.lexsort((entities, rows))
        rows, entities, weights = rows[order], entities[order], weights[order]
        masks, primary = masks[order], primary[order]
        transposed = np.argsort(entities, kind="stable")
        titles = transposed[masks[transposed] < 0]
        edges = cls(
            _starts(rows, passages),
            entities,
            weights,
            masks,
            primary,
            _starts(entities, nodes),
            rows[transposed],
            weights[transposed],
            _starts(entities[titles], nodes),
            rows[titles],
        )
        for name in EDGE_FIELDS:  # as those of a snapshot are
            getattr(edges, name).setflags(write=False)
        return edges

    @classmethod
    def none(cls) -> Edges:
        """No edges of no passages."""
        empty = np.empty(0, np.int32)
        return cls.sorted(0, 0, empty, empty, empty.astype(np.float32), empty.astype(np.int64), empty.astype(np.bool_))

    @property
    def passages(self) -> int:
        """How many passages they are of."""
        return len(self.starts) - 1

    @property
    def nodes(self) -> int:
        """How many entities they lead to."""
        return len(self.entity_starts) - 1

    def lead_somewhere(self, sums: Sums) -> bool:
        """Whether all that they lead to is there, which who walks along them does not look for (push_kernel.py)."""
        passages, nodes, edges = self.passages, self.nodes, len(self.entities)
        of_node = (sums.entity_weight, sums.frequency, sums.namings, self.title_starts[1:])
        of_edge = (self.weights, self.masks, self.primary, self.rows, self.row_weights)
        return (
            len(sums.passage_weight) == passages
            and all(len(values) == nodes for values in of_node)
            and all(len(values) == edges for values in of_edge)
            and _are_starts(self.starts, edges)
            and _are_starts(self.entity_starts, edges)
            and _are_starts(self.title_starts, len(self.title_rows))
            and _are_below(nodes, self.entities)
            and _are_below(passages, self.rows)
            and _are_below(passages, self.title_rows)
        )

    def row_of_edge(self) -> Ints:
        """The passage of each edge, in the order by passages: (edges,)."""
        return np.repeat(np.arange(self.passages, dtype=np.int32), np.diff(self.starts))

    def titled(self, entity: int) -> Ints:
        """The passages whose title names the entity."""
        if entity >= self.nodes:
            return self.title_rows[:0]
        return self.title_rows[int(self.title_starts[entity]) : int(self.title_starts[entity + 1])]


EDGE_FIELDS = tuple(field.name for field in fields(Edges))


@dataclass(frozen=True, slots=True)
class Sums:
    """What the edges of each node come to: passages (rows,), the others (nodes,). Written in place.

    A weight of 0 is that of a node without edges or one that is gone.
    """

    passage_weight: Doubles
    entity_weight: Doubles
    frequency: Ints  # passages
    namings: Ints  # passages that were found to name it, not only by the words

    @classmethod
    def of(cls, edges: Edges) -> Sums:
        """Those of edges that are all there."""
        nodes = edges.nodes
        return cls(
            np.bincount(edges.row_of_edge(), edges.weights, edges.passages).astype(np.float64),
            np.bincount(edges.entities, edges.weights, nodes).astype(np.float64),
            np.diff(edges.entity_starts).astype(np.int32),
            np.bincount(edges.entities[edges.primary], minlength=nodes).astype(np.int32),
        )


SUM_FIELDS = tuple(field.name for field in fields(Sums))


class EdgeLog:
    """Edges in the order of their coming. A link is 1 + the number of the next edge of the same node, 0 at the end."""

    def __init__(self, passages: int, nodes: int) -> None:
        self._rows, self._entities = Growing(np.int32), Growing(np.int32)
        self._weights, self._masks = Growing(np.float32), Growing(np.int64)
        self._primary = Growing(np.bool_)
        self._next_of_row, self._next_of_entity = Growing(np.int32), Growing(np.int32)
        self._first_of_row = Growing(np.int32, start=np.zeros(passages, np.int32))
        self._first_of_entity = Growing(np.int32, start=np.zeros(nodes, np.int32))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> Ints:
        """The passage of each edge: (edges,), as the other four."""
        return np.asarray(self._rows.array)

    @property
    def entities(self) -> Ints:
        return np.asarray(self._entities.array)

    @property
    def weights(self) -> Floats:
        return np.asarray(self._weights.array)

    @property
    def masks(self) -> Longs:
        return np.asarray(self._masks.array)

    @property
    def primary(self) -> Flags:
        return np.asarray(self._primary.array)

    @property
    def links(self) -> tuple[Ints, Ints, Ints, Ints]:
        """First of each passage (rows,) and entity (nodes,), next of the same passage and the same entity (edges,)."""
        return (
            np.asarray(self._first_of_row.array),
            np.asarray(self._first_of_entity.array),
            np.asarray(self._next_of_row.array),
            np.asarray(self._next_of_entity.array),
        )

    def frozen(self) -> EdgeLog:
        """The edges that there are now, whatever comes; its links are not to be followed."""
        frozen = EdgeLog(0, 0)
        for name in ("_rows", "_entities", "_weights", "_masks", "_primary"):
            setattr(frozen, name, getattr(self, name).frozen())
        return frozen

    def add_passage(self) -> None:
        """One more passage, without edges."""
        self._first_of_row.extend([0])

    def add_entity(self) -> None:
        """One more entity, without edges."""
        self._first_of_entity.extend([0])

    def append(
        self,
        row: int,
        nodes: Sequence[int],
        masks: Sequence[int],
        primary: Sequence[bool],
        strengths: Sequence[float] | None = None,
    ) -> list[float]:
        """Edges of one passage to different entities, with factors of their weights. Returns the weights."""
        weights = strengthened([edge_weight(mask) for mask in masks], primary, strengths)
        if not weights:
            return weights
        first, end = len(self._rows), len(self._rows) + len(nodes)
        of_row, of_entity = self._first_of_row.array, self._first_of_entity.array
        self._next_of_row.extend([*range(first + 2, end + 1), int(of_row[row])])
        of_row[row] = first + 1
        self._next_of_entity.extend(of_entity[nodes])
        of_entity[nodes] = np.arange(first + 1, end + 1)
        self._rows.extend([row] * len(nodes))
        self._entities.extend(nodes)
        self._weights.extend(weights)
        self._masks.extend(masks)
        self._primary.extend(primary)
        return weights

    def of_row(self, row: int) -> list[tuple[int, int, bool, float]]:
        """The edges of a passage: entity, mask, primary, weight."""
        edges, _ = self.numbers_of([row])
        arrays = (self.entities, self.masks, self.primary, self.weights)
        return list(zip(*(array[edges].tolist() for array in arrays), strict=True))

    def numbers_of(self, rows: Iterable[int]) -> tuple[list[int], list[int]]:
        """The places of the passages' edges in the arrays above, one passage after the other; how many each has."""
        # Single numbers are read from a memoryview several times as fast as from an array.
        first, following = self._first_of_row.array.data, self._next_of_row.array.data
        found: list[int] = []
        sizes = []
        for row in rows:
            before, at = len(found), first[row]
            while at:
                found.append(at - 1)
                at = following[at - 1]
            sizes.append(len(found) - before)
        return found, sizes


def _starts(sorted_numbers: Ints, size: int) -> Longs:
    starts = np.zeros(size + 1, np.int64)
    np.cumsum(np.bincount(sorted_numbers, minlength=size), out=starts[1:])
    return starts


def _are_starts(starts: Longs, end: int) -> bool:
    return bool(len(starts)) and starts[0] == 0 and starts[-1] == end and bool(np.all(starts[1:] >= starts[:-1]))


def _are_below(size: int, numbers: Ints) -> bool:
    return not len(numbers) or (int(numbers.min()) >= 0 and int(numbers.max()) < size)
