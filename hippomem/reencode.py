"""Another encoder for a whole store: new vectors are written beside the old ones and take over in one transaction.

What was learned is kept: the questions are encoded anew, too, and the experts are asked about them again.

The number that the new vectors have is drawn, not counted: where a backup is put back and encoded with something else,
no view from before and no memory that is open takes these vectors for those that it has.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import Connection, Exists, FromClause, Select, delete, exists, insert, literal, select, tuple_

from hippomem.analyse import titled, titled_spans
from hippomem.errors import EncoderMismatchError, StoreBusyError
from hippomem.evidence import Renewed
from hippomem.hippocampus.catchup import rebuilt
from hippomem.hippocampus.recipe import U
from hippomem.hippocampus.speakers import unnamed
from hippomem.hippocampus.view import View
from hippomem.ingest.progress import ProgressBar
from hippomem.neocortex.encoder import Encoder
from hippomem.sample import encoder_of
from hippomem.storage import learning
from hippomem.storage.rows import Analysis, packed
from hippomem.storage.schema import analyses, passages, versions
from hippomem.storage.store import MEANS, Store
from hippomem.storage.writes import analysed

BATCH = 256
NUMBERS = 1 << 31  # what a column of integers holds


def reencode(store: Store, encoder: Encoder, progress: bool) -> int:
    """Encode what has no vectors of `encoder` yet, then make it the store's encoder. Returns how many texts were
    encoded; the questions of feedback are not counted.

    Raises StoreBusyError where another process begins the same with yet another encoder.
    """
    with store.read() as connection:
        known, current, new = store.info(connection, "encoder"), _number(store, connection), _next(store, connection)
    if known is None or (known == encoder.identity and _has_made(store, encoder, current)):
        return 0
    is_ours = _has_made(store, encoder, new)
    with store.write() as connection:
        if _number(store, connection) != current and _is_done(store, connection, encoder, current, new):
            return 0
        new = _next(store, connection)
        if store.info(connection, "next_encoder") != encoder.identity or not is_ours or not new:
            # Vectors of an attempt with yet another encoder are of no use.
            connection.execute(delete(analyses).where(analyses.c.encoder != current))
            learning.keep_vectors(connection, current)
            store.drop_info(connection, f"{MEANS}{new}")
            new = 2 + secrets.randbelow(NUMBERS - 2)
            store.set_info(connection, "next_encoder", encoder.identity)
            store.set_info(connection, "next_encoder_number", str(new))
    encoder = encoder_of(store, encoder, new)
    done = 0
    evidence, asked = Renewed(new), _Asked(current)
    with ProgressBar(progress, "encoding anew") as bar:
        bar.start(None)
        while True:
            last: tuple[int, str] | None = (0, "")
            while last is not None:
                texts, last = _batch(store, encoder, current, new, last)
                done += texts
                bar.advance(0, texts)
            while queries := _queries(store, encoder, current, new, asked):
                bar.advance(0, queries)
            evidence.gather(store, partial(bar.advance, 0))
            if _take_over(store, encoder, current, new, evidence):
                return done


def _number(store: Store, connection: Connection) -> int:
    """Of the store's encoder, which goes with its vectors."""
    return int(store.info(connection, "encoder_number") or 1)


def _next(store: Store, connection: Connection) -> int:
    """Of the encoder that a store is being encoded anew with, 0 where it is not."""
    return int(store.info(connection, "next_encoder_number") or 0)


def _has_made(store: Store, encoder: Encoder, number: int) -> bool:
    """Whether the vectors with this number, if there are any, are the encoder's: others may have its name."""
    try:
        encoder_of(store, encoder, number).prove()
    except EncoderMismatchError:
        return False
    return True


def _missing(current: int, new: int, after: tuple[int, str] = (0, "")) -> Select[Any]:
    """Contents of passages, and of what they were before updates, that lack vectors of the `new` encoder: those behind
    a namespace and content, in that order."""
    fresh, key = analyses.alias(), (analyses.c.namespace, analyses.c.content)

    def is_in(table: FromClause) -> Exists:
        return exists().where(table.c.namespace == analyses.c.namespace, table.c.content == analyses.c.content)

    query = select(*key, analyses.c.sentences).where(tuple_(*key) > tuple_(*map(literal, after))).order_by(*key)
    is_there = is_in(fresh).where(fresh.c.encoder == new)
    return query.where(analyses.c.encoder == current, ~is_there, is_in(passages) | is_in(versions))


def _texts(connection: Connection, rows: Any) -> dict[tuple[int, str], tuple[str, str]]:
    """(namespace, content) -> (title, text) of such contents."""
    found: dict[tuple[int, str], tuple[str, str]] = {}
    for space in {row.namespace for row in rows}:
        own = [row.content for row in rows if row.namespace == space]
        for t in (passages, versions):
            query = select(t.c.content, t.c.title, t.c.text).where(t.c.namespace == space, t.c.content.in_(own))
            found.update({(space, row.content): (row.title, row.text) for row in connection.execute(query)})
    return found


def _batch(
    store: Store, encoder: Encoder, current: int, new: int, after: tuple[int, str]
) -> tuple[int, tuple[int, str] | None]:
    """How many texts were encoded, and the last one; None where there is no more."""
    with store.read() as connection:
        rows = connection.execute(_missing(current, new, after).limit(BATCH)).all()
        said = _texts(connection, rows)
    if not rows:
        return 0, None
    sentences = [np.frombuffer(row.sentences, np.int32).reshape(-1, 2) for row in rows]
    texts, spans = [], []
    for row, own in zip(rows, sentences, strict=True):
        title, text = said[row.namespace, row.content]
        texts.append(titled(title, text))
        spans.append(titled_spans(title, own.tolist()))
    encoded = encoder.encode_passages(texts, spans)
    with store.write() as connection:
        if _is_done(store, connection, encoder, current, new):
            return 0, None
        # What was forgotten meanwhile stays forgotten; what another process encoded is there.
        still, there = _having(connection, rows, current), _having(connection, rows, new)
        added = [
            {
                "namespace": row.namespace,
                "content": row.content,
                "encoder": new,
                **packed(Analysis(e.vector, e.sentences.astype(np.float16), own)),
            }
            for row, own, e in zip(rows, sentences, encoded, strict=True)
            if (row.namespace, row.content) in still - there
        ]
        if added:
            connection.execute(insert(analyses), added)
    return len(rows), (rows[-1].namespace, rows[-1].content)


@dataclass(slots=True)
class _Asked:
    """What the queries of feedback are known by (`Sought.key`): without the names of those who talk. Who they are, the
    views with the `encoder` before tell."""

    encoder: int
    _view: tuple[int, View] | None = None  # of the namespace that was asked for last

    def text(self, connection: Connection, namespace: int, query: str) -> str:
        if self._view is None or self._view[0] != namespace:
            self._view = namespace, rebuilt(connection, namespace, self.encoder)
        return unnamed(self._view[1], query, U) or query


def _queries(store: Store, encoder: Encoder, current: int, new: int, asked: _Asked) -> int:
    """The queries that feedback was on, in batches like the passages."""
    with store.read() as connection:
        rows = learning.without_vectors(connection, new, BATCH)
        texts = [asked.text(connection, namespace, query) for namespace, _, query in rows]
    vectors = [
        (space, number, encoder.encode_query(text)) for (space, number, _), text in zip(rows, texts, strict=True)
    ]
    if rows:
        with store.write() as connection:
            if _is_done(store, connection, encoder, current, new):
                return 0
            learning.add_vectors(connection, new, vectors)
    return len(rows)


def _having(connection: Connection, rows: Any, encoder: int) -> set[tuple[int, str]]:
    """Namespace and content of those rows that have vectors of the encoder."""
    return {
        (space, content)
        for space in {row.namespace for row in rows}
        for content in analysed(connection, space, encoder, [r.content for r in rows if r.namespace == space])
    }


def _is_done(store: Store, connection: Connection, encoder: Encoder, current: int, new: int) -> bool:
    """Whether another process has finished the same work. Raises StoreBusyError where it does other work."""
    number, following = _number(store, connection), store.info(connection, "next_encoder")
    if number != current and store.info(connection, "encoder") == encoder.identity:
        return True
    if number != current or following != encoder.identity or _next(store, connection) != new:
        other = following or store.info(connection, "encoder")
        raise StoreBusyError(f"another process encodes this store anew, with {other!r}: let it finish first")
    return False


def _take_over(store: Store, encoder: Encoder, current: int, new: int, evidence: Renewed) -> bool:
    """Switch encoders, unless passages or feedback came meanwhile that lack the new vectors."""
    with store.write() as connection:
        if _is_done(store, connection, encoder, current, new):
            return True
        if connection.execute(_missing(current, new).limit(1)).first() is not None:
            return False
        if learning.without_vectors(connection, new, 1):
            return False
        if not evidence.write(connection):
            return False
        learning.keep_vectors(connection, new)
        connection.execute(delete(analyses).where(analyses.c.encoder != new))
        store.set_info(connection, "encoder", encoder.identity)
        store.set_info(connection, "encoder_number", str(new))
        store.set_info(connection, "next_encoder", "")
        store.set_info(connection, "next_encoder_number", "")
        store.drop_info(connection, f"{MEANS}{current}")
    return True
