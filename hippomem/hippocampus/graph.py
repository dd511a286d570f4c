"""The knowledge graph: passages and entities, an edge wherever a passage names an entity.

Removing changes no edge: a node whose inverse weight is 0 passes nothing on, which is to be gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import chain, islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hippomem.hippocampus.arrays import Growing, renumbered, runs
from hippomem.hippocampus.edges import EDGE_FIELDS, LINES, SUM_FIELDS, EdgeLog, Edges, Sums, edge_weight
from hippomem.hippocampus.grams import Columns, GramIndex
from hippomem.hippocampus.names import KeyTable, key_hashes

__all__ = ["LINES", "KnowledgeGraph", "edge_weight"]

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Linked: TypeAlias = "tuple[dict[str, int], dict[str, int]] | tuple[dict[str, int], dict[str, int], Mapping[str, float]]"
Matrix: TypeAlias = "tuple[sparse.csr_matrix, sparse.csc_matrix]"  # rows by entities, and transposed


class KnowledgeGraph:
    """Nodes are numbered from 0 in the order of their coming; the numbers of what is gone are not used again."""

    def __init__(
        self,
        edges: Edges | None = None,
        keys: KeyTable | None = None,
        gram_index: GramIndex | None = None,
        sums: Sums | None = None,
    ) -> None:
        self.base = edges or Edges.none()
        self.log = EdgeLog(self.base.passages, self.base.nodes)
        self.keys = keys or KeyTable()
        self._grams = gram_index or GramIndex()
        sums = sums or Sums.of(self.base)
        self._passage_weight, self._entity_weight = Growing.over(sums.passage_weight), Growing.over(sums.entity_weight)
        self._frequency, self._namings = Growing.over(sums.frequency), Growing.over(sums.namings)
        self._alive = Growing.over(np.ones(self.base.passages, np.bool_))
        self._titled_new: dict[int, list[int]] = {}
        self._gone = False  # whether any entity is
        self._cache: tuple[list[Matrix], Floats, Floats] | None = None
        self.idle: list[Any] = []  # work arrays of local walks

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
    def passage_weight(self) -> Doubles:
        """The sum of a passage's edge weights, 0 where it has none or is gone: (rows,) float64."""
        return np.asarray(self._passage_weight.array)

    @property
    def entity_weight(self) -> Doubles:
        """The sum of an entity's edge weights, 0 where it has none or is gone: (nodes,) float64."""
        return np.asarray(self._entity_weight.array)

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
        return self.edges_of_rows([row])[0]

    def edges_of_rows(self, rows: Sequence[int]) -> list[list[tuple[int, int]]]:
        """`edges_of` of several passages, cheaper than one by one."""
        places, entities, masks = self.edges_at(np.asarray(rows, np.int64))
        pairs = list(zip(entities.tolist(), masks.tolist(), strict=True))
        ends = np.searchsorted(places, np.arange(len(rows)), side="right").tolist()
        return [pairs[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def edges_at(self, rows: Longs) -> tuple[Longs, Ints, Longs]:
        """The edges of passages `rows` (n,): the passage's place among them, ascending, entity and mask, (e,) each."""
        base, log = self.base, self.log
        old = np.nonzero(rows < base.passages)[0]
        starts = base.starts[rows[old]]
        sizes = base.starts[rows[old] + 1] - starts
        edges = runs(starts, sizes)
        places, entities, masks = np.repeat(old, sizes), base.entities[edges], base.masks[edges]
        if len(log):
            logged, of_each = log.numbers_of(rows.tolist())
            if logged:
                places = np.concatenate([places, np.repeat(np.arange(len(rows)), of_each)])
                entities = np.concatenate([entities, log.entities[logged]])
                masks = np.concatenate([masks, log.masks[logged]])
                order = np.argsort(places, kind="stable")
                places, entities, masks = places[order], entities[order], masks[order]
        if self._gone:
            there = self._namings.array[entities] > 0
            places, entities, masks = places[there], entities[there], masks[there]
        return places, entities, masks

    def _edges(self, row: int) -> list[tuple[int, int, bool, float]]:
        """Entity, mask, whether primary, weight; also of entities that are gone."""
        found = []
        if row < self.base.passages:
            run = slice(int(self.base.starts[row]), int(self.base.starts[row + 1]))
            arrays = (self.base.entities, self.base.masks, self.base.primary, self.base.weights)
            found = list(zip(*(array[run].tolist() for array in arrays), strict=True))
        return found + self.log.of_row(row)

    def have_titles(self, entities: Ints) -> NDArray[np.bool_]:
        """Whether passages are titled by each of `entities` (n,), or were: (n,)."""
        starts = self.base.title_starts
        old = np.minimum(entities, self.base.nodes - 1)
        there = (entities < self.base.nodes) & (starts[old + 1] > starts[old]) if self.base.nodes else entities < 0
        if self._titled_new:
            new = (entity in self._titled_new for entity in entities.tolist())
            there |= np.fromiter(new, np.bool_, len(entities))
        return np.asarray(there)

    def titled(self, entity: int, most: int) -> list[int]:
        """`most` of the passages whose title names the entity, or all where there are fewer: who speaks in a memory
        titles a good part of it.
        """
        found = map(int, chain(self.base.titled(entity), self._titled_new.get(entity, ())))
        return list(islice((row for row in found if self._alive.array[row]), most))

    def are_titled(self, rows: Longs, entities: Iterable[int]) -> NDArray[np.bool_]:
        """Which of `rows` (n,) have a title that names one of `entities`; none that are below 0: (n,)."""
        titled = np.zeros(self.rows, np.bool_)
        for entity in entities:
            titled[self.base.titled(entity)] = True
            titled[self._titled_new.get(entity, [])] = True
        return np.asarray(titled[rows] & (rows >= 0))

    def edge_count(self) -> int:
        """Edges between what is there."""
        return int(self.frequency.sum())

    def to_passages(self, entity_values: Floats) -> Floats:
        """For each passage the weighted sum over its entities: (nodes,) -> (rows,), both float32."""
        values = np.zeros(self.rows, np.float32)
        for part, _ in self._derived()[0]:
            values[: part.shape[0]] += part @ entity_values[: part.shape[1]]
        return values

    def to_entities(self, passage_values: Floats) -> Floats:
        """For each entity the weighted sum over its passages: (rows,) -> (nodes,), both float32."""
        values = np.zeros(self.nodes, np.float32)
        for part, transposed in self._derived()[0]:
            values[: part.shape[1]] += transposed @ passage_values[: part.shape[0]]
        return values

    def _derived(self) -> tuple[list[Matrix], Floats, Floats]:
        """The edges of the snapshot (over the same memory) and those of the log as matrices; the inverse weights."""
        if self._cache is None:
            base, log = self.base, self.log
            parts = []
            if base.passages:
                triple = (base.weights, base.entities, base.starts.astype(np.int32))
                parts.append(sparse.csr_matrix(triple, (base.passages, base.nodes)))
            if len(log):
                parts.append(
                    sparse.coo_matrix((log.weights, (log.rows, log.entities)), (self.rows, self.nodes)).tocsr()
                )
            self._cache = (
                [(part, part.T) for part in parts],
                _inverse(self._passage_weight.array, self.alive),
                _inverse(self._entity_weight.array, self.frequency > 0),
            )
        return self._cache

    # -- writing ------------------------------------------------------------------------------------------------

    def append(self, passages: Iterable[Linked]) -> None:
        """Append passages, each given by its extracted entities and its grams, key -> mask of lines; where use has
        changed its edges, also by their strengths, key -> factor.

        Linked by the words against all entities there are then, and the other way round for entities that are new.
        """
        batch = list(passages)
        self._cache = None
        self._add_entities({key for extracted, *_ in batch for key in extracted})
        for extracted, *_ in batch:  # before any row is linked: rows of one batch name each other's entities
            for key in extracted:
                self._namings.array[self._node(key)] += 1
        for extracted, found, *strengths in batch:
            self._append_row(self.rows, extracted, found, strengths[0] if strengths else {})

    def _add_entities(self, keys: set[str]) -> None:
        for key in sorted(keys):
            if self.find(key) is not None:
                continue
            node = self.keys.add(key)
            for counts in (self._entity_weight, self._frequency, self._namings):
                counts.extend([0])
            self.log.add_entity()
            for row, mask in self._grams.find(key):
                if self._alive.array[row]:
                    self._append_edges(row, [node], [mask], [False])

    def _append_row(
        self, row: int, extracted: dict[str, int], found: dict[str, int], strengths: Mapping[str, float]
    ) -> None:
        masks, hashes = dict(extracted), key_hashes(found)
        for key in self.keys.among(list(found), hashes):
            if key in masks or self.find(key) is not None:
                masks[key] = masks.get(key, 0) | found[key]
        ordered = sorted(masks)
        self._passage_weight.extend([0.0])
        self._alive.extend([True])
        self.log.add_passage()
        nodes = [self._node(key) for key in ordered]
        factors = [strengths.get(key, 1.0) for key in ordered] if strengths else None
        self._append_edges(row, nodes, [masks[key] for key in ordered], [key in extracted for key in ordered], factors)
        for key, node in zip(ordered, nodes, strict=True):
            if masks[key] < 0:
                self._titled_new.setdefault(node, []).append(row)
        self._grams.add(row, hashes, found.values())

    def _append_edges(
        self, row: int, nodes: list[int], masks: list[int], primary: list[bool], factors: list[float] | None = None
    ) -> None:
        weights = self.log.append(row, nodes, masks, primary, factors)
        self._passage_weight.array[row] += sum(weights)
        self._entity_weight.array[nodes] += weights  # the nodes differ
        self._frequency.array[nodes] += 1

    def _node(self, key: str) -> int:
        node = self.keys.find(key)
        if node is None:
            raise LookupError(key)
        return node

    def remove(self, rows: Iterable[int]) -> None:
        """Take passages out, and the entities that no other passage was found to name."""
        unnamed: set[int] = set()
        self._cache = None
        for row in rows:
            if not self._alive.array[row]:
                continue
            for entity, _, primary, weight in self._edges(row):
                if self._namings.array[entity] == 0:  # gone before
                    continue
                self._entity_weight.array[entity] -= weight
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

    def frozen(self) -> KnowledgeGraph:
        """For a snapshot: what there is now, whatever comes. Sums of weights go on, which no snapshot takes over."""
        frozen = copy(self)
        frozen.log, frozen._grams = self.log.frozen(), self._grams.frozen()
        frozen._alive, frozen._namings = self._alive.copied(), self._namings.copied()
        frozen._frequency = self._frequency.copied()
        return frozen

    def compact(self, rows: NDArray[np.int64]) -> Iterator[tuple[str, dict[str, NDArray[np.generic]]]]:
        """The arrays of a graph of these live passages, in this order, entities by key: equal memories, equal arrays.

        Gives the fields of the constructor's arguments one after the other: "edges", "sums" and "keys". Those of
        "grams", which are the largest, come in blocks of their own.
        """
        live = sorted((n for n in range(self.nodes) if self._namings.array[n] > 0), key=self.keys.key)
        new_node = np.full(self.nodes, -1, np.int32)
        new_node[live] = np.arange(len(live), dtype=np.int32)
        new_row = renumbered(self.rows, rows)
        base, log = self.base, self.log
        row = new_row[np.concatenate([base.row_of_edge(), log.rows])]
        entity = new_node[np.concatenate([base.entities, log.entities])]
        kept = np.nonzero((row >= 0) & (entity >= 0))[0]
        edges = Edges.sorted(
            len(rows),
            len(live),
            row[kept],
            entity[kept],
            np.concatenate([base.weights, log.weights])[kept],
            np.concatenate([base.masks, log.masks])[kept],
            np.concatenate([base.primary, log.primary])[kept],
        )
        sums = Sums.of(edges)
        yield "edges", {name: getattr(edges, name) for name in EDGE_FIELDS}
        del edges
        yield "sums", {name: getattr(sums, name) for name in SUM_FIELDS}
        yield "keys", self.keys.arrays(live)

    def compact_grams(self, rows: NDArray[np.int64]) -> tuple[int, Iterator[Columns]]:
        """How many entries the grams of these passages are, and the arrays of them in blocks."""
        new_row = renumbered(self.rows, rows)
        return self._grams.size(new_row), self._grams.blocks(new_row)


def _inverse(weights: NDArray[np.float64], there: NDArray[np.bool_]) -> Floats:
    return np.divide(1.0, weights, out=np.zeros(len(weights)), where=there & (weights > 1e-6)).astype(np.float32)
