"""Another encoder for a whole store: new vectors are written beside the old ones and take over in one transaction."""

from __future__ import annotations

import numpy as np
from sqlalchemy import delete, insert, select

from hippomem.ingest.progress import ProgressBar
from hippomem.neocortex.encoder import Encoder
from hippomem.storage.schema import analyses, passages
from hippomem.storage.store import Store
from hippomem.storage.writes import analysed

BATCH = 256


def reencode(store: Store, encoder: Encoder, progress: bool) -> int:
    """Encode what has no vectors of `encoder` yet, then make it the store's encoder. Returns how many were encoded."""
    with store.read() as connection:
        if store.info(connection, "encoder") in (None, encoder.identity):
            return 0
        current = int(store.info(connection, "encoder_number") or 1)
        begun = store.info(connection, "next_encoder")
    following = current + 1
    with store.write() as connection:
        if begun != encoder.identity:  # vectors of an attempt with yet another encoder are of no use
            connection.execute(delete(analyses).where(analyses.c.encoder == following))
            store.set_info(connection, "next_encoder", encoder.identity)
    done = 0
    with ProgressBar(progress) as bar:
        bar.start(None)
        while True:
            count = _batch(store, encoder, current, following)
            done += count
            bar.advance(0, count)
            if count == 0 and _take_over(store, encoder, current, following):
                return done


def _batch(store: Store, encoder: Encoder, current: int, following: int) -> int:
    fresh = analyses.alias()
    query = (
        select(analyses.c.namespace, analyses.c.content, analyses.c.sentences, passages.c.title, passages.c.text)
        .join(passages, (passages.c.namespace == analyses.c.namespace) & (passages.c.content == analyses.c.content))
        .where(
            analyses.c.encoder == current,
            ~select(fresh.c.content)
            .where(
                fresh.c.namespace == analyses.c.namespace,
                fresh.c.content == analyses.c.content,
                fresh.c.encoder == following,
            )
            .exists(),
        )
        .group_by(analyses.c.namespace, analyses.c.content)
        .limit(BATCH)
    )
    with store.read() as connection:
        rows = connection.execute(query).all()
    if not rows:
        return 0
    texts, spans = [], []
    for row in rows:
        shift = len(row.title) + 1 if row.title else 0
        sentences = np.frombuffer(row.sentences, np.int32).reshape(-1, 2).tolist()
        texts.append(f"{row.title}\n{row.text}" if row.title else row.text)
        spans.append(([(0, len(row.title))] if row.title else []) + [(a + shift, b + shift) for a, b in sentences])
    encoded = encoder.encode_passages(texts, spans)
    with store.write() as connection:
        there = {
            (space, content)
            for space in {row.namespace for row in rows}
            for content in analysed(connection, space, following, [r.content for r in rows if r.namespace == space])
        }
        connection.execute(
            insert(analyses),
            [
                {
                    "namespace": row.namespace,
                    "content": row.content,
                    "encoder": following,
                    "vector": e.vector.tobytes(),
                    "sentence_vectors": e.sentences.astype(np.float16).tobytes(),
                    "sentences": row.sentences,
                }
                for row, e in zip(rows, encoded, strict=True)
                if (row.namespace, row.content) not in there
            ],
        )
    return len(rows)


def _take_over(store: Store, encoder: Encoder, current: int, following: int) -> bool:
    """Switch encoders, unless passages were added meanwhile that lack the new vectors."""
    fresh = analyses.alias()
    missing = select(analyses.c.content).where(
        analyses.c.encoder == current,
        ~select(fresh.c.content)
        .where(
            fresh.c.namespace == analyses.c.namespace,
            fresh.c.content == analyses.c.content,
            fresh.c.encoder == following,
        )
        .exists(),
    )
    with store.write() as connection:
        if connection.execute(missing.limit(1)).first() is not None:
            return False
        connection.execute(delete(analyses).where(analyses.c.encoder != following))
        store.set_info(connection, "encoder", encoder.identity)
        store.set_info(connection, "encoder_number", str(following))
        store.set_info(connection, "next_encoder", "")
    return True
