"""What a store's vectors are known by, if two models have one name."""

from __future__ import annotations

from hippomem.analyse import titled
from hippomem.neocortex.checked_encoder import Sample
from hippomem.storage import reads
from hippomem.storage.store import Store

AMONG = 64  # passages, of which one is short enough to be encoded in a moment


def sample_of(store: Store, encoder: int) -> Sample | None:
    """A passage with the vector that the store has of it from the encoder of a number; None where there is none."""
    with store.read() as connection:
        found = reads.one_vector(connection, encoder, AMONG)
        is_ours = store.info(connection, "store_id") == store.id  # else it was replaced, as whoever writes is told
    if found is None or not is_ours:
        return None
    title, text, vector = found
    return Sample(titled(title, text), vector)
