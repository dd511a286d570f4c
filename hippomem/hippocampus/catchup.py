"""Following the log: a view reads what changed after the last change it applied, inside one read transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
from sqlalchemy import Connection

from hippomem.clock import date_in_words
from hippomem.errors import ForeignStoreError
from hippomem.hippocampus.chains import NONE, NOWHERE, Place
from hippomem.hippocampus.common import title_keys
from hippomem.hippocampus.names import key_hash
from hippomem.hippocampus.talk import asks
from hippomem.hippocampus.view import Indexed, View
from hippomem.storage import reads
from hippomem.storage.chunks import chunks
from hippomem.storage.rows import ViewRow
from hippomem.storage.schema import PASSAGE_ACTIONS, RELINKING

BATCH = 2048  # passages held in memory at once


def catch_up(view: View, connection: Connection, namespace: int, encoder: int, most: int = reads.EVERY) -> bool:
    """Apply all changes since `view.applied`, or the first of them.

    Returns False, with the view as it was, where it has followed another log than this one: the database was put back
    to an earlier state, and the view may hold what is no longer there.
    """
    log = reads.log_from(connection, namespace, view.applied, most)
    if view.applied:
        if not log or (log[0].sequence, log[0].mark) != (view.applied, view.mark):
            return False
        del log[0]
    if not log:
        return True
    own = [e for e in log if e.action in (*PASSAGE_ACTIONS, *RELINKING)]
    gone = {e.previous for e in own if e.previous is not None} | {e.passage for e in own if e.action != "add"}
    view.remove(gone)
    touched = {e.passage for e in own if e.action in ("add", "update", "link", *RELINKING)}
    missing = (number for number in sorted(touched) if view.row_of(number) is None)
    for some in chunks(missing, BATCH):
        _read_in(view, connection, namespace, encoder, some)
    view.applied, view.mark = log[-1].sequence, log[-1].mark
    view.purged = max((e.sequence for e in own if e.action == "forget"), default=view.purged)
    return True


def rebuilt(connection: Connection, namespace: int, encoder: int) -> View:
    """A view of everything there is now, made from nothing."""
    return rebuilt_in_steps(lambda: nullcontext(connection), namespace, encoder)


def rebuilt_in_steps(
    read: Callable[[], AbstractContextManager[Connection]],
    namespace: int,
    encoder: int,
    tell: Callable[[int, int], None] = lambda *_: None,
) -> View:
    """The same in several transactions, since a long one keeps others from clearing away what they forget. It has
    applied the log as it was at first; what it has of later changes it has again after catching up. `tell` gets the
    number of passages in it, and of all, on the way.
    """
    view = View()
    with read() as connection:
        numbers = reads.numbers_where(connection, namespace)
        newest = reads.log_from(connection, namespace, reads.last_sequence(connection, namespace))
        view.purged = reads.forgotten_after(connection, namespace, 0)
    for some in chunks(numbers, BATCH):
        with read() as connection:
            _read_in(view, connection, namespace, encoder, some)
        tell(view.size, len(numbers))
    for last in newest:
        view.applied, view.mark = last.sequence, last.mark
    return view


def _read_in(view: View, connection: Connection, namespace: int, encoder: int, numbers: Iterable[int]) -> None:
    try:
        view.append([indexed(row) for row in reads.view_rows(connection, namespace, encoder, numbers)])
    except ValueError as error:
        raise ForeignStoreError(f"a passage is damaged ({error}): hippomem doctor says which") from error


def differences(view: View, other: View, numbers: Iterable[int] | None = None) -> Iterator[str]:
    """What tells two views apart, in words, or these passages in them; nothing where they are equal."""
    for number in numbers_in(view, other) if numbers is None else numbers:
        ours, theirs = _content(view, number), _content(other, number)
        if ours is None or theirs is None:
            if ours is not theirs:
                yield f"passage {number} is only in {'one view' if ours else 'the other'}"
        elif ours != theirs:
            yield f"passage {number} has other edges, vectors, neighbours or words"


def numbers_in(*views: View) -> list[int]:
    """The numbers of the passages that are in any of these views, ascending."""
    return sorted(set().union(*(view.numbers[view.graph.alive].tolist() for view in views)))


def _content(view: View, number: int) -> tuple[object, ...] | None:
    row = view.row_of(number)
    if row is None:
        return None
    _, lines, sentences = view.sentences_of(np.array([row]))
    near = [*view.chains.neighbours(row), *(int(side[0]) for side in view.chains.around(np.array([row])))]
    return (
        sorted((view.graph.keys.key(entity), mask) for entity, mask in view.graph.edges_of(row)),
        round(float(view.graph.passage_weight[row]), 3),
        view.vectors.take(np.array([row])).tobytes() if view.vectors else b"",
        lines.tobytes(),
        sentences.tobytes(),
        [int(view.numbers[at]) if at != NONE else at for at in near],
        (int(view.lexical.lengths[row]), int(view.lexical.sizes[row])),
    )


def indexed(row: ViewRow) -> Indexed:
    """A row of the store as a view takes it."""
    common = title_keys("" if row.session else row.lines[0])  # the title of a turn is who spoke
    return Indexed(
        row.number,
        int(row.id[:16], 16),
        row.lines,
        {key: lines for key, lines, _ in row.mentions} | dict.fromkeys(common, 1),
        frozenset(key for key, _, titled in row.mentions if titled) | common,
        row.vector,
        row.sentence_vectors,
        date_in_words(row.occurred_at) if row.occurred_at else "",
        _place(row),
        row.strengths,
    )


def _place(row: ViewRow) -> Place:
    """A session has one moment; notes without a title are told at times of their own; a document's parts follow each
    other, and a source may hold several documents of one title.
    """
    if row.session:
        session = key_hash(f"session\0{row.source}\0{row.session}")
        return Place(session, asks=asks(row.lines[-1]), spoken=bool(row.lines[0]), told=row.told)
    if not row.lines[0]:
        moment = (row.occurred_at or row.told_at).timestamp() or 1.0  # 0 is that of a session's turns
        return Place(key_hash(f"notes\0{row.source}"), moment, moment, asks(row.lines[-1]), told=row.told)
    if row.source and row.start < row.end:
        return Place(key_hash(f"document\0{row.source}\0{row.lines[0]}"), row.start, row.end, told=row.told)
    return NOWHERE
