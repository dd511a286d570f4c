"""The encoder of a store: its vectors are centred by means that the store keeps, and compared with one that it has, as
two models may have one name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from hippomem.analyse import titled
from hippomem.errors import EncoderMismatchError
from hippomem.neocortex.centring import CENTRED, CentredEncoder, Means
from hippomem.neocortex.checked_encoder import CheckedEncoder, Sample
from hippomem.neocortex.encoder import Encoder
from hippomem.storage import encoders
from hippomem.storage.store import MEANS, Store

AMONG = 64  # passages, of which one is short enough to be encoded in a moment


def claimed(store: Store, encoder: Encoder) -> int:
    """Hold the store to an encoder: its number. Raises EncoderMismatchError where its vectors are those of another."""
    with store.read() as connection:
        known = store.info(connection, "encoder")
    if encoder.identity == f"{known}{CENTRED}":
        raise EncoderMismatchError(
            f"the vectors in this store were made by {known!r} before vectors were centred, as they are now: encode "
            f"everything anew with the same encoder, by hippomem reencode --db {store.name}, or by Memory.reencode "
            "where it is an object"
        )
    return store.claim_encoder(encoder.identity)


def encoder_of(store: Store, encoder: Encoder, number: int) -> CheckedEncoder:
    """An encoder as the one of a number in this store."""
    if isinstance(encoder, CentredEncoder):
        encoder = encoder.kept(partial(_kept, store, number))
    return CheckedEncoder(encoder, partial(sample_of, store, number))


def _kept(store: Store, number: int, measure: Callable[[], Means]) -> Means:
    with store.read() as connection:
        text = _valid(connection, number)
    text = keep_means(store, number, measure().text()) if text is None else text
    try:
        return Means.read(text)
    except ValueError as error:
        raise EncoderMismatchError(
            f"what the vectors in this store are centred by is damaged ({error}): put a backup back, or encode "
            "everything anew with hippomem reencode"
        ) from error


def keep_means(store: Store, number: int, text: str) -> str:
    """Have the store keep means, unless it has vectors that others centred before. Returns what it keeps."""
    with store.write() as connection:
        known = _valid(connection, number)
        if known is None:
            store.set_info(connection, f"{MEANS}{number}", text)
        return text if known is None else known


def _valid(connection: Connection, number: int) -> str | None:
    """The means that the store keeps for the encoder of a number; None where there are none, or no vectors yet: then
    those of another model of this name may have been left, whose vectors were forgotten or never written."""
    return Store.info(connection, f"{MEANS}{number}") if encoders.has_vectors(connection, number) else None


def sample_of(store: Store, encoder: int) -> Sample | None:
    """A passage with the vector that the store has of it from the encoder of a number; None where there is none."""
    with store.read() as connection:
        found = encoders.one_vector(connection, encoder, AMONG)
        is_ours = store.info(connection, "store_id") == store.id  # else it was replaced, as whoever writes is told
    if found is None or not is_ours:
        return None
    title, text, vector = found
    return Sample(titled(title, text), vector)
