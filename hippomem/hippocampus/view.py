"""The hippocampus as one view of the store: knowledge graph, vectors of passages and sentences, words, chains.

A view has applied the log up to a sequence number and catches up from there; its mark tells the change of that number
from another one, in a database that was put back to an earlier state. It can be thrown away and rebuilt; one that
caught up step by step equals one that was built at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakMethod

import numpy as np
from numpy.typing import NDArray

from hippomem.hippocampus.arrays import Growing, merged, runs, widened, write_array
from hippomem.hippocampus.chains import NOWHERE, Chains, Place
from hippomem.hippocampus.common import text_keys
from hippomem.hippocampus.grams import grams
from hippomem.hippocampus.graph import KnowledgeGraph
from hippomem.hippocampus.lexical import LexicalIndex, word_count
from hippomem.hippocampus.sought import Sought
from hippomem.hippocampus.vectors import VectorIndex

BLOCK = 256  # passages whose sentence vectors are gathered at once to be written
TITLED = -(1 << 63)  # the sign bit of an edge's mask


@dataclass(frozen=True, slots=True)
class Indexed:
    """A passage to index. Line 0 is its title ("" where it has none), the others its sentences.

    `entities` gives each extracted entity's key the lines that name it as bits; `titles` are the keys that name the
    passage's title; `vector` is (d,) float32 and `sentence_vectors` (s, d) float16, L2-normalised: one for each line
    that is not empty. `tie` is a hash of the passage's content that orders passages of equal score, `date` when it
    happened, in words, `place` its place in a chain, `strengths` factors of edges that use has strengthened, by the
    entity's key.
    """

    number: int
    tie: int
    lines: Sequence[str]
    entities: dict[str, int]
    titles: frozenset[str]
    vector: NDArray[np.float32]
    sentence_vectors: NDArray[np.float16]
    date: str = ""
    place: Place = NOWHERE
    strengths: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sentences:
    """Sentence vectors of some passages, row by row: `starts` (rows + 1), `vectors` (s, d) float16.

    `first` (rows,) is the line of a passage's first vector: 0 the title, 1 where there is none.
    """

    starts: NDArray[np.int64]
    first: NDArray[np.int8]
    vectors: NDArray[np.float16]


class View:
    """What recall reads. Rows are passages, numbered from 0; those that are gone stay behind as dead rows."""

    def __init__(
        self,
        graph: KnowledgeGraph | None = None,
        numbers: NDArray[np.int64] | None = None,
        vectors: VectorIndex | None = None,
        sentences: Sentences | None = None,
        applied: int = 0,
        ties: NDArray[np.uint64] | None = None,
        mark: str = "",
        lexical: LexicalIndex | None = None,
        chains: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        self.graph = graph or KnowledgeGraph()
        self.vectors = vectors
        self.lexical = lexical or LexicalIndex()
        taken = WeakMethod(self._taken)  # a view that held itself would keep its files open until a garbage collection
        self.chains = Chains(lambda rows: taken()(rows), **(chains or {}))  # type: ignore[misc]
        self.applied = applied
        self.mark = mark
        self.purged = 0  # the last change that it followed of those that forgot something
        self.saved_rows = 0 if numbers is None else len(numbers)
        self.removed = 0
        self._base_sentences = sentences
        self._starts = Growing(np.int64, start=np.zeros(1, np.int64))
        self._first = Growing(np.int8)
        self._sentences: Growing | None = None
        self._numbers = Growing(np.int64, start=numbers)
        self._ties = Growing(np.uint64, start=ties)
        # The snapshot's rows are in the order of their numbers; what came since need not be.
        self._base_numbers = np.empty(0, np.int64) if numbers is None else np.array(numbers)
        self._new_rows: dict[int, int] = {}

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The passage number of each row: (rows,)."""
        return np.asarray(self._numbers.array)

    @property
    def ties(self) -> NDArray[np.uint64]:
        """What orders rows of equal score, whatever order they came in: (rows,)."""
        return np.asarray(self._ties.array)

    @property
    def size(self) -> int:
        """Live passages."""
        return int(np.count_nonzero(self.graph.alive))

    @property
    def changed(self) -> int:
        """Rows that came or went since it was loaded."""
        return self.graph.rows - self.graph.base.passages + self.removed

    def row_of(self, number: int) -> int | None:
        """The live row of a passage, None where it has none."""
        row = self._new_rows.get(number)
        if row is None:
            at = int(np.searchsorted(self._base_numbers, number))
            if at == len(self._base_numbers) or self._base_numbers[at] != number:
                return None
            row = at
        return row if self.graph.alive[row] else None

    def rows_of(self, numbers: Iterable[int]) -> NDArray[np.int64]:
        """The live rows of the passages that have one."""
        wanted = np.fromiter(numbers, np.int64)
        rows = np.searchsorted(self._base_numbers, wanted)
        there = rows < len(self._base_numbers)
        there[there] = self._base_numbers[rows[there]] == wanted[there]
        rows[~there] = -1
        if self._new_rows:
            new = np.array([self._new_rows.get(number, -1) for number in wanted.tolist()], np.int64)
            rows = np.where(new < 0, rows, new)
        rows = rows[rows >= 0]
        return np.asarray(rows[self.graph.alive[rows]], np.int64)

    def append(self, passages: Sequence[Indexed]) -> None:
        """Index passages that are not there yet."""
        if not passages:
            return
        if self.vectors is None:
            self.vectors = VectorIndex(len(passages[0].vector))
        dimension = self.vectors.dimension
        if self._sentences is None:
            self._sentences = Growing(np.float16, dimension)
        first = self.graph.rows
        self.graph.append(
            (
                {key: mask | TITLED if key in p.titles else mask for key, mask in p.entities.items()},
                # Of the title's own words only what was extracted counts: its parts led nowhere when measured.
                grams(["", *p.lines[1:]]) | text_keys(["", *p.lines[1:]]),
                p.strengths,
            )
            for p in passages
        )
        self.vectors.add(np.stack([p.vector for p in passages]))
        for row, passage in enumerate(passages, first):
            self._sentences.extend(passage.sentence_vectors)
            self._starts.extend([len(self._sentences)])
            self._first.extend([0 if passage.lines[0] else 1])
            self._new_rows[passage.number] = row
            text = " ".join(passage.lines[1:])
            self.lexical.append(f"{passage.date} {passage.lines[0]} {text}", word_count(text))
        self._numbers.extend([p.number for p in passages])
        self.chains.append(p.place for p in passages)
        self._ties.extend(np.array([p.tie for p in passages], np.uint64))

    def remove(self, numbers: Iterable[int]) -> None:
        """Take passages out."""
        rows = [row for number in numbers if (row := self.row_of(number)) is not None]
        self.graph.remove(rows)
        self.chains.remove(rows)
        for row in rows:
            self.lexical.remove(row)
        self.removed += len(rows)

    def nearest(self, sought: Sought, count: int | None) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The passages most like a question, about `count` with their neighbours in time (twice that where some
        are compared with something else), or all where that is None: their rows (n,), ascending, and `likeness` (n,).
        """
        if self.vectors is None:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        alive = self.graph.alive
        if count is None:
            rows = np.nonzero(alive)[0]
            return rows, self.likeness_of(np.arange(len(alive)), sought)[rows]
        found, cosine = self.vectors.search(sought.vector, count, alive)
        if sought.of_told is not None:
            rows = merged(found, self.vectors.search(sought.of_told, count, alive)[0])
            rows = self.chains.with_neighbours(rows)
            return rows, self.likeness_of(rows, sought)
        rows, known = self.chains.with_neighbours(found), cosine[np.argsort(found)]

        def measured(some: NDArray[np.int64]) -> NDArray[np.float32]:  # these rows, or with their neighbours
            return known if len(some) == len(known) else self.cosine_of(some, sought)

        return rows, self.chains.smooth_likeness_of(rows, measured)

    def likeness_of(self, rows: NDArray[np.int64], sought: Sought) -> NDArray[np.float32]:
        """The cosine of a question with some passages (n,), ascending, as their neighbours in time colour it: (n,)
        float32."""
        return self.chains.smooth_likeness_of(rows, lambda some: self.cosine_of(some, sought))

    def cosine_of(self, rows: NDArray[np.int64], sought: Sought) -> NDArray[np.float32]:
        """The cosine of a question with some passages by themselves: (n,) float32."""
        if self.vectors is None:
            return np.empty(0, np.float32)
        cosine = self.vectors.similarities_of(rows, sought.vector)
        if sought.of_told is not None:
            told = self.chains.are_told(rows)
            cosine[told] = self.vectors.similarities_of(rows[told], sought.of_told)
        return cosine

    def _taken(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        if self.vectors is None:
            raise LookupError("no vectors")
        return self.vectors.take(rows)

    def sentences_of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The sentences of passages: their row, their line, and their vectors (s, d) float32."""
        found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
        first_row = 0
        for part in self._sentence_parts():
            here = rows[(rows >= first_row) & (rows < first_row + len(part.first))] - first_row
            if len(here):
                starts, sizes = part.starts[here], part.starts[here + 1] - part.starts[here]
                owners, lines = np.repeat(here + first_row, sizes), runs(part.first[here].astype(np.int64), sizes)
                found.append((owners, lines, widened(part.vectors[runs(starts, sizes)])))
            first_row += len(part.first)
        if not found:
            none, dimension = np.empty(0, np.int64), self.vectors.dimension if self.vectors else 0
            found.append((none, none, np.empty((0, dimension), np.float32)))
        if len(found) == 1:
            return found[0]
        return (
            np.concatenate([o for o, _, _ in found]),
            np.concatenate([n for _, n, _ in found]),
            np.concatenate([v for _, _, v in found]),
        )

    def frozen(self) -> View:
        """For a snapshot: what there is now, whatever comes. It takes no changes."""
        frozen = copy(self)
        frozen.graph, frozen.lexical, frozen.chains = self.graph.frozen(), self.lexical.frozen(), self.chains.frozen()
        frozen.vectors = self.vectors.frozen() if self.vectors else None
        frozen._sentences = self._sentences.frozen() if self._sentences else None
        for name in ("_starts", "_first", "_numbers", "_ties"):
            setattr(frozen, name, getattr(self, name).frozen())
        return frozen

    def compact_sentences(self, rows: NDArray[np.int64], vectors_path: Path) -> dict[str, NDArray[np.generic]]:
        """Write the sentence vectors of these rows, in this order, to a .npy file; the small arrays are returned."""
        parts = self._sentence_parts()
        sizes = np.concatenate([np.diff(part.starts) for part in parts] or [np.empty(0, np.int64)])[rows]
        first = np.concatenate([part.first for part in parts] or [np.empty(0, np.int8)])[rows]
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(sizes, out=starts[1:])
        shape = (int(starts[-1]), self.vectors.dimension if self.vectors else 0)
        blocks = (self._vectors_of(rows[at : at + BLOCK], shape[1]) for at in range(0, len(rows), BLOCK))
        write_array(vectors_path, np.float16, shape, blocks)
        return {"starts": starts, "first": first}

    def _vectors_of(self, rows: NDArray[np.int64], dimension: int) -> NDArray[np.float16]:
        """The sentence vectors of these rows, in this order: (s, d) float16."""
        found = [np.empty((0, dimension), np.float16)] * len(rows)
        first_row = 0
        for part in self._sentence_parts():
            for place in np.nonzero((rows >= first_row) & (rows < first_row + len(part.first)))[0]:
                row = rows[place] - first_row
                found[place] = part.vectors[part.starts[row] : part.starts[row + 1]]
            first_row += len(part.first)
        return np.concatenate(found)

    def _sentence_parts(self) -> list[Sentences]:
        base = self._base_sentences
        parts = [] if base is None or not len(base.first) else [base]  # an empty snapshot's vectors have no dimension
        if self._sentences is not None:
            parts.append(Sentences(self._starts.array, self._first.array, self._sentences.array))
        return parts
