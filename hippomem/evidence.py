"""What the ranking's experts said about the candidates of a question: what their weights are learned from.

It is taken from the ranking without anything learned when feedback comes, and again, from the questions and useful
passages that the log keeps, when another encoder changes what the experts say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Connection

from hippomem.hippocampus.catchup import rebuilt
from hippomem.hippocampus.ranking import Learned, rank
from hippomem.hippocampus.recipe import U
from hippomem.hippocampus.sought import Sought
from hippomem.hippocampus.view import View
from hippomem.storage import learning as rows
from hippomem.storage import reads
from hippomem.storage.store import Store

# The experts whose weights are learned, as the ranking calls its terms; their weights in `Recipe` go by the same names.
EXPERTS = ("walk", "named walk", "cosine", "words", "brevity", "title hop")
CANDIDATES = 32  # best of the ranking that an event remembers, beside what was useful


def evidence_of(view: View, query: str, asked: Sought, useful: Sequence[int]) -> bytes | None:
    """What the experts say, without anything learned, about the passages that lead and about the useful ones."""
    marked = view.rows_of(useful)
    nothing = np.zeros(len(marked), np.float32)  # asks for these passages, and moves nothing
    unmoved = Learned(asked.key, marked, nothing, nothing.astype(np.int64))
    ranking = rank(view, query, asked, CANDIDATES, None, U, unmoved)
    candidates = np.unique(np.concatenate([ranking.order, marked])).astype(np.int64)
    if not len(marked) or len(candidates) == len(marked):
        return None
    places = np.searchsorted(ranking.rows, candidates)
    silent = np.zeros(len(ranking.rows), np.float32)
    terms = np.stack([ranking.terms.get(name, silent)[places] for name in EXPERTS], axis=1)
    return rows.Evidence(terms.astype(np.float32), np.isin(candidates, marked)).packed()


@dataclass(slots=True)
class Renewed:
    """The evidence of all events under an encoder that a store is about to have: by namespace the log's sequence then,
    and by event what the experts say, None where that teaches nothing.
    """

    encoder: int
    _found: dict[int, tuple[int, dict[int, bytes | None]]] = field(default_factory=dict)

    def gather(self, store: Store, advance: Callable[[int], None]) -> None:
        """Ask the experts about every event that they have not been asked about."""
        with store.read() as connection:
            for namespace in self._due(connection):
                known = self._found.get(namespace, (0, {}))[1]
                view = rebuilt(connection, namespace, self.encoder)
                for row in rows.event_rows(connection, namespace, self.encoder):
                    if row.number not in known:
                        useful = [number for number, _ in row.passages]
                        known[row.number] = evidence_of(view, row.query, Sought(row.vector), useful)
                        advance(1)
                self._found[namespace] = view.applied, known

    def write(self, connection: Connection) -> bool:
        """Write it, in the transaction that brings the new encoder. False where there is more to gather first."""
        if self._due(connection):
            return False
        for namespace, (_, known) in self._found.items():
            rows.set_evidence(connection, namespace, known)
        return True

    def _due(self, connection: Connection) -> list[int]:
        """Namespaces with events that are new here; what was gathered before something was forgotten is dropped."""
        due = []
        for namespace in rows.taught_namespaces(connection):
            sequence, known = self._found.get(namespace, (0, {}))
            if known and reads.forgotten_after(connection, namespace, sequence):
                self._found.pop(namespace)
                known = {}
            if not known.keys() >= set(rows.event_numbers(connection, namespace)):
                due.append(namespace)
        return due
