"""The encoder of a store: its vectors are centred by means that the store keeps, and compared with one that it has, as
two models may have one name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hippomem.analyse import titled
from hippomem.neocortex.centring import CentredEncoder, Means
from hippomem.neocortex.checked_encoder import CheckedEncoder, Sample
from hippomem.neocortex.encoder import Encoder
from hippomem.storage import reads
from hippomem.storage.store import MEANS, Store

AMONG = 64  # passages, of which one is short enough to be encoded in a moment


def encoder_of(store: Store, encoder: Encoder, number: int) -> CheckedEncoder:
    """An encoder as the one of a number in this store."""
    if isinstance(encoder, CentredEncoder):
        encoder = encoder.kept(partial(_kept, store, number))
    return CheckedEncoder(encoder, partial(sample_of, store, number))


def _kept(store: Store, number: int, measure: Callable[[], Means]) -> Means:
    if (text := means_of(store, number)) is None:
        text = keep_means(store, number, measure().text())
    return Means.read(text)


def means_of(store: Store, number: int) -> str | None:
    """What the store centres the vectors of an encoder by, as it keeps it; None where that was not measured yet."""
    with store.read() as connection:
        return store.info(connection, f"{MEANS}{number}")


def keep_means(store: Store, number: int, text: str) -> str:
    """Have the store keep what was measured, unless another process was first. Returns what it keeps."""
    with store.write() as connection:
        known = store.info(connection, f"{MEANS}{number}")
        if known is None:
            store.set_info(connection, f"{MEANS}{number}", text)
        return known or text


def sample_of(store: Store, encoder: int) -> Sample | None:
    """A passage with the vector that the store has of it from the encoder of a number; None where there is none."""
    with store.read() as connection:
        found = reads.one_vector(connection, encoder, AMONG)
        is_ours = store.info(connection, "store_id") == store.id  # else it was replaced, as whoever writes is told
    if found is None or not is_ours:
        return None
    title, text, vector = found
    return Sample(titled(title, text), vector)
