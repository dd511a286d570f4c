"""Vectors of many short strings, encoded once and kept in a file, so that a second run is quick."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hippomem import Encoder
from hippomem_eval.progress import progress_bar

Vectors = NDArray[np.float32]
_AT_ONCE = 512  # strings between two steps of the progress bar


def vectors_of(texts: Sequence[str], encoder: Encoder, folder: Path, label: str) -> Vectors:
    """The vectors of `texts`: (n, d) float32, L2-normalised. Each different string is encoded once, by length.

    They are kept in `folder`/vectors-HASH.npz, by a hash over the strings and the encoder's identity. `label` names
    the progress bar.
    """
    different = sorted(set(texts), key=lambda text: (len(text), text))
    if not different:
        return np.empty((0, 0), np.float32)
    path = folder / f"vectors-{_digest(encoder.identity, different)}.npz"
    stacked = _kept(path, len(different))
    if stacked is None:
        stacked = _encoded(different, encoder, label)
        part = path.with_name(path.name + ".part")
        with part.open("wb") as stream:
            np.savez(stream, vectors=stacked)
        part.replace(path)
    row = {text: i for i, text in enumerate(different)}
    return stacked[[row[text] for text in texts]]


def _encoded(texts: Sequence[str], encoder: Encoder, label: str) -> Vectors:
    rows: list[Vectors] = []
    with progress_bar(f"encoding {label}", len(texts)) as advance:
        for first in range(0, len(texts), _AT_ONCE):
            some = texts[first : first + _AT_ONCE]
            for encoded in encoder.encode_passages(some, [()] * len(some)):
                rows.append(encoded.vector)
                advance()
    return np.array(rows, np.float32)


def _kept(path: Path, count: int) -> Vectors | None:
    """What an earlier run kept; None where there is nothing, or nothing usable."""
    try:
        with path.open("rb") as stream, np.load(stream) as arrays:
            vectors: Vectors = arrays["vectors"]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    return vectors if vectors.ndim == 2 and len(vectors) == count else None


def _digest(identity: str, texts: Sequence[str]) -> str:
    digest = hashlib.blake2b(identity.encode(), digest_size=12)
    for text in texts:
        data = text.encode("utf-8")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
