"""Following the log: a view reads what changed after the last change it applied, inside one read transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from sqlalchemy import Connection

from hippomem.hippocampus.view import Indexed, View
from hippomem.storage import reads
from hippomem.storage.rows import ViewRow
from hippomem.storage.writes import chunks

BATCH = 2048  # passages held in memory at once


def catch_up(view: View, connection: Connection, namespace: int, encoder: int) -> int:
    """Apply all changes since `view.applied`. Returns how many there were."""
    log = reads.log_after(connection, namespace, view.applied)
    if not log:
        return 0
    gone = {e.previous for e in log if e.previous is not None} | {e.passage for e in log if e.action != "add"}
    view.remove(gone)
    touched = {e.passage for e in log if e.action in ("add", "update", "link")}
    missing = (number for number in sorted(touched) if view.row_of(number) is None)
    for some in chunks(missing, BATCH):
        view.append([_indexed(row) for row in reads.view_rows(connection, namespace, encoder, some)])
    view.applied = log[-1].sequence
    return len(log)


def rebuilt(connection: Connection, namespace: int, encoder: int) -> View:
    """A view of everything there is now, made from nothing."""
    view = View()
    for some in chunks(reads.passage_numbers(connection, namespace), BATCH):
        view.append([_indexed(row) for row in reads.view_rows(connection, namespace, encoder, some)])
    view.applied = reads.last_sequence(connection, namespace)
    return view


def differences(view: View, other: View) -> Iterator[str]:
    """What tells two views apart, in words; nothing where they are equal."""
    ours, theirs = _contents(view), _contents(other)
    for number in sorted(ours.keys() | theirs.keys()):
        if number not in theirs or number not in ours:
            yield f"passage {number} is only in {'one view' if number in ours else 'the other'}"
        elif ours[number] != theirs[number]:
            yield f"passage {number} has other edges or vectors"


def _contents(view: View) -> dict[int, tuple[object, ...]]:
    contents: dict[int, tuple[object, ...]] = {}
    for row in _live(view):
        edges = sorted((view.graph.keys.key(entity), mask) for entity, mask in view.graph.edges_of(row))
        vector = view.vectors.take(np.array([row])).tobytes() if view.vectors else b""
        _, lines, sentences = view.sentences_of(np.array([row]))
        contents[int(view.numbers[row])] = (tuple(edges), vector, lines.tobytes(), sentences.tobytes())
    return contents


def _live(view: View) -> Iterable[int]:
    return (int(row) for row in range(view.graph.rows) if view.graph.alive[row])


def _indexed(row: ViewRow) -> Indexed:
    return Indexed(
        row.number,
        int(row.id[:16], 16),
        row.lines,
        {key: lines for key, lines, _ in row.mentions},
        frozenset(key for key, _, titled in row.mentions if titled),
        row.vector,
        row.sentence_vectors,
    )
