"""The knowledge graph as arrays: passages and entities, an edge wherever a passage names an entity.

Edges lie in compressed rows by passage (CSR), memory-mapped from the snapshot, with rows appended behind it; edges that
a new entity gives to earlier passages ("late" ones) lie beside them until the next snapshot. Removing changes no
array of the snapshot: a node whose inverse weight is 0 passes nothing on, which is to be gone.

Weight of an edge: ln(1 + n) + 4 [the entity names the passage's title], n the lines of the passage that name it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hippomem.hippocampus.arrays import Growing
from hippomem.hippocampus.grams import GramIndex
from hippomem.hippocampus.names import KeyTable

TITLE_WEIGHT = 4.0
LINES = np.int64((1 << 63) - 1)  # bits 0..62 of an edge's mask: the lines that name the entity
# The sign bit says that the entity names the passage's title.

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]
Matrix: TypeAlias = "tuple[sparse.csr_matrix, sparse.csc_matrix]"  # rows by entities, and transposed


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges of some passages, row by row: `starts` (rows + 1), the others (edges,)."""

    starts: NDArray[np.int64]
    entities: Ints
    weights: Floats
    masks: NDArray[np.int64]
    primary: NDArray[np.bool_]  # found by the extractor or the title, not only by the words


def edge_weight(mask: int) -> float:
    """The weight of an edge with this mask of lines."""
    return float(np.log1p((mask & int(LINES)).bit_count()) + (TITLE_WEIGHT if mask < 0 else 0.0))


class KnowledgeGraph:
    """Nodes are numbered from 0 in the order of their coming; the numbers of what is gone are not used again."""

    def __init__(
        self, edges: Edges | None = None, keys: KeyTable | None = None, gram_index: GramIndex | None = None
    ) -> None:
        empty = Edges(
            np.zeros(1, np.int64),
            np.empty(0, np.int32),
            np.empty(0, np.float32),
            np.empty(0, np.int64),
            np.empty(0, np.bool_),
        )
        self._base = edges or empty
        self.keys = keys or KeyTable()
        self._grams = gram_index or GramIndex()
        self._starts = Growing(np.int64, start=np.zeros(1, np.int64))
        self._entities, self._weights = Growing(np.int32), Growing(np.float32)
        self._masks, self._primary = Growing(np.int64), Growing(np.bool_)
        self._late_rows, self._late_entities = Growing(np.int32), Growing(np.int32)
        self._late_weights, self._late_masks = Growing(np.float32), Growing(np.int64)
        self._late_of_row: dict[int, list[tuple[int, int]]] = {}
        self._titled_new: dict[int, list[int]] = {}
        self._gone = False  # whether any entity is
        self._cache: tuple[list[Matrix], Floats, Floats] | None = None
        self._count_base()

    def _count_base(self) -> None:
        base, rows, nodes = self._base, len(self._base.starts) - 1, len(self.keys)
        row_of_edge = np.repeat(np.arange(rows), np.diff(base.starts))
        self._passage_weight = Growing(np.float64, start=np.bincount(row_of_edge, base.weights, rows))
        self._entity_weight = Growing(np.float64, start=np.bincount(base.entities, base.weights, nodes))
        self._frequency = Growing(np.int32, start=np.bincount(base.entities, minlength=nodes))
        self._namings = Growing(np.int32, start=np.bincount(base.entities[base.primary], minlength=nodes))
        self._alive = Growing(np.bool_, start=np.ones(rows, np.bool_))
        titled = np.nonzero(base.masks < 0)[0]
        order = np.lexsort((row_of_edge[titled], base.entities[titled]))
        self._titled_entities = base.entities[titled][order]
        self._titled_sorted = self._titled_entities.data
        self._titles_any = Growing(np.bool_, start=np.bincount(self._titled_entities, minlength=nodes) > 0)
        self._titled_rows = row_of_edge[titled][order].astype(np.int32)

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> int:
        """Passages, those that are gone included."""
        return len(self._alive)

    @property
    def nodes(self) -> int:
        """Entities, those that are gone included."""
        return len(self._frequency)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which passages are there: (rows,)."""
        return np.asarray(self._alive.array)

    @property
    def frequency(self) -> Ints:
        """In how many passages each entity stands: (nodes,) int32, 0 where it is gone."""
        return np.asarray(self._frequency.array)

    @property
    def inverse_passage_weight(self) -> Floats:
        """1 / sum of a passage's edge weights, 0 where it has none or is gone: (rows,) float32."""
        return self._derived()[1]

    @property
    def inverse_entity_weight(self) -> Floats:
        """1 / sum of an entity's edge weights, 0 where it has none: (nodes,) float32."""
        return self._derived()[2]

    def find(self, key: str) -> int | None:
        """The entity with this key, None where there is none."""
        node = self.keys.find(key) if key else None
        return node if node is not None and self._namings.array[node] > 0 else None

    def edges_of(self, row: int) -> list[tuple[int, int]]:
        """The entities of a passage, with the mask of the lines that name them."""
        arrays, run = self._run(row)
        edges = list(zip(arrays.entities[run].tolist(), arrays.masks[run].tolist(), strict=True))
        edges.extend(self._late_of_row.get(row, ()))
        if self._gone:
            there = self._namings.array
            return [edge for edge in edges if there[edge[0]] > 0]
        return edges

    def _primary_edges(self, row: int) -> set[int]:
        arrays, run = self._run(row)
        return set(arrays.entities[run][arrays.primary[run]].tolist())

    def _run(self, row: int) -> tuple[Edges, slice]:
        """The arrays that hold a row, and where in them."""
        base_rows = len(self._base.starts) - 1
        arrays, place = (self._base, row) if row < base_rows else (self._tail, row - base_rows)
        return arrays, slice(int(arrays.starts[place]), int(arrays.starts[place + 1]))

    @property
    def _tail(self) -> Edges:
        return Edges(
            self._starts.array, self._entities.array, self._weights.array, self._masks.array, self._primary.array
        )

    def titled(self, entity: int) -> list[int]:
        """The passages whose title names the entity."""
        if not self._titles_any.array[entity]:
            return []
        start, end = bisect_left(self._titled_sorted, entity), bisect_right(self._titled_sorted, entity)
        found = [int(row) for row in self._titled_rows[start:end]] + self._titled_new.get(entity, [])
        return [row for row in found if self._alive.array[row]]

    def edge_count(self) -> int:
        """Edges between what is there."""
        return int(self.frequency.sum())

    def to_passages(self, entity_values: Floats) -> Floats:
        """For each passage the weighted sum over its entities: (nodes,) -> (rows,), both float32."""
        parts = [part @ entity_values for part, _ in self._matrices()]
        values = np.concatenate(parts).astype(np.float32, copy=False)
        if len(self._late_rows):
            flow = self._late_weights.array * entity_values[self._late_entities.array]
            values += np.bincount(self._late_rows.array, flow, len(values)).astype(np.float32)
        return values

    def to_entities(self, passage_values: Floats) -> Floats:
        """For each entity the weighted sum over its passages: (rows,) -> (nodes,), both float32."""
        first = 0
        values = np.zeros(self.nodes, np.float32)
        for part, transposed in self._matrices():
            values += transposed @ passage_values[first : first + part.shape[0]]
            first += part.shape[0]
        if len(self._late_rows):
            flow = self._late_weights.array * passage_values[self._late_rows.array]
            values += np.bincount(self._late_entities.array, flow, len(values)).astype(np.float32)
        return values

    def _matrices(self) -> list[Matrix]:
        return self._derived()[0]

    def _derived(self) -> tuple[list[Matrix], Floats, Floats]:
        """The rows of the snapshot and those appended as matrices over the same memory; the inverse weights."""
        if self._cache is None:
            tail = self._tail
            parts = [
                sparse.csr_matrix((e.weights, e.entities, e.starts.astype(np.int32)), (len(e.starts) - 1, self.nodes))
                for e in (self._base, tail)
                if len(e.starts) > 1
            ]
            self._cache = (
                [(part, part.T) for part in parts],
                _inverse(self._passage_weight.array, self.alive),
                _inverse(self._entity_weight.array, self.frequency > 0),
            )
        return self._cache

    # -- writing ------------------------------------------------------------------------------------------------

    def append(self, passages: Iterable[tuple[dict[str, int], dict[str, int]]]) -> None:
        """Append passages, each given by its extracted entities and its grams: key -> mask of lines.

        Linked by the words against all entities there are then, and the other way round for entities that are new.
        """
        batch = list(passages)
        self._cache = None
        self._add_entities({key for extracted, _ in batch for key in extracted})
        for extracted, _ in batch:  # before any row is linked: rows of one batch name each other's entities
            for key in extracted:
                self._namings.array[self._node(key)] += 1
        for extracted, found in batch:
            self._append_row(self.rows, extracted, found)

    def _add_entities(self, keys: set[str]) -> None:
        for key in sorted(keys):
            if self.find(key) is not None:
                continue
            node = self.keys.add(key)
            for counts in (self._entity_weight, self._frequency, self._namings, self._titles_any):
                counts.extend([0])
            for row, mask in self._grams.find(key):
                if self._alive.array[row]:
                    self._append_late(row, node, mask)

    def _append_row(self, row: int, extracted: dict[str, int], found: dict[str, int]) -> None:
        masks = dict(extracted)
        for key, mask in found.items():
            if key in masks or self.find(key) is not None:
                masks[key] = masks.get(key, 0) | mask
        ordered = sorted(masks)
        nodes = [self._node(key) for key in ordered]
        weights = [edge_weight(masks[key]) for key in ordered]
        self._entities.extend(nodes)
        self._weights.extend(weights)
        self._masks.extend([masks[key] for key in ordered])
        self._primary.extend([key in extracted for key in ordered])
        self._starts.extend([len(self._entities)])
        self._passage_weight.extend([sum(weights)])
        self._alive.extend([True])
        for key, node, weight in zip(ordered, nodes, weights, strict=True):
            self._entity_weight.array[node] += weight
            self._frequency.array[node] += 1
            if masks[key] < 0:
                self._titled_new.setdefault(node, []).append(row)
                self._titles_any.array[node] = True
        self._grams.add(row, found)

    def _node(self, key: str) -> int:
        node = self.keys.find(key)
        if node is None:
            raise LookupError(key)
        return node

    def _append_late(self, row: int, node: int, mask: int) -> None:
        weight = edge_weight(mask)
        for array, value in (
            (self._late_rows, row),
            (self._late_entities, node),
            (self._late_weights, weight),
            (self._late_masks, mask),
        ):
            array.extend([value])
        self._late_of_row.setdefault(row, []).append((node, mask))
        self._passage_weight.array[row] += weight
        self._entity_weight.array[node] += weight
        self._frequency.array[node] += 1

    def remove(self, rows: Iterable[int]) -> None:
        """Take passages out, and the entities that no other passage was found to name."""
        unnamed: set[int] = set()
        self._cache = None
        for row in rows:
            if not self._alive.array[row]:
                continue
            found = self._primary_edges(row)
            for entity, mask in self.edges_of(row):
                primary = entity in found
                self._entity_weight.array[entity] -= edge_weight(mask)
                self._frequency.array[entity] -= 1
                self._namings.array[entity] -= primary
                if primary and self._namings.array[entity] == 0:
                    unnamed.add(entity)
            self._alive.array[row] = False
            self._passage_weight.array[row] = 0.0
        self._gone = self._gone or bool(unnamed)
        for entity in unnamed:
            # What still points to it does so by the words alone, so its edges are where its key stands in the text.
            for row, mask in self._grams.find(self.keys.key(entity)):
                if self._alive.array[row]:
                    self._passage_weight.array[row] -= edge_weight(mask)
            self._entity_weight.array[entity] = 0.0
            self._frequency.array[entity] = 0

    # -- snapshots ----------------------------------------------------------------------------------------------

    def compact(self, rows: NDArray[np.int64]) -> dict[str, dict[str, NDArray[np.generic]]]:
        """The arrays of a graph of these live passages, in this order, entities by key: equal memories, equal arrays.

        Returns the constructor's arguments: "edges", "keys" and "grams".
        """
        live = sorted((n for n in range(self.nodes) if self._namings.array[n] > 0), key=self.keys.key)
        new_node = np.full(self.nodes, -1, np.int32)
        new_node[live] = np.arange(len(live), dtype=np.int32)
        new_row = np.full(self.rows, -1, np.int32)
        new_row[rows] = np.arange(len(rows), dtype=np.int32)
        source = np.concatenate(
            [
                np.repeat(np.arange(len(self._base.starts) - 1), np.diff(self._base.starts)),
                np.repeat(np.arange(len(self._starts) - 1), np.diff(self._starts.array)) + len(self._base.starts) - 1,
                self._late_rows.array,
            ]
        )
        late = np.zeros(len(self._late_rows), np.bool_)
        row = new_row[source] if len(source) else np.empty(0, np.int32)
        entity = new_node[np.concatenate([self._base.entities, self._entities.array, self._late_entities.array])]
        mask = np.concatenate([self._base.masks, self._masks.array, self._late_masks.array])
        weight = np.concatenate([self._base.weights, self._weights.array, self._late_weights.array])
        primary = np.concatenate([self._base.primary, self._primary.array, late])
        kept = np.nonzero((row >= 0) & (entity >= 0))[0]
        kept = kept[np.lexsort((entity[kept], row[kept]))]
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(np.bincount(row[kept], minlength=len(rows)), out=starts[1:])
        return {
            "edges": {
                "starts": starts,
                "entities": entity[kept].astype(np.int32),
                "weights": weight[kept].astype(np.float32),
                "masks": mask[kept],
                "primary": primary[kept],
            },
            "keys": self.keys.arrays(live),
            "grams": self._grams.arrays(new_row),
        }


def _inverse(weights: NDArray[np.float64], there: NDArray[np.bool_]) -> Floats:
    return np.divide(1.0, weights, out=np.zeros(len(weights)), where=there & (weights > 1e-6)).astype(np.float32)
