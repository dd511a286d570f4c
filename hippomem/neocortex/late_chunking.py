"""A passage vector and its sentences' vectors from one forward pass, whatever computes it.

Late chunking (Günther et al., arXiv 2409.04701): a sentence's vector is the mean of the token embeddings inside its
span, computed with the whole passage in view, so sentences cost no encoding of their own. Texts longer than the model's
window are encoded in consecutive windows and pooled over all their tokens, so that nothing is cut off silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hippomem.errors import ModelError
from hippomem.neocortex.encoder import Encoded, Span, Vectors

HELD_TEXTS = 64


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text's token ids, window by window, and each token's character span: (t, 2) for a window of t tokens."""

    windows: list[list[int]]
    offsets: list[NDArray[Any]]


def windows_of(ids: Sequence[int], offsets: NDArray[Any], marks: tuple[int, int], limit: int) -> Tokens:
    """A text's tokens in windows of at most `limit`, each between the model's own marks: so many before the text's
    tokens and after them. A tokenizer could cut, too, but some of its versions (0.23.1, 0.23.2) lose what is cut off.
    """
    before, after = marks
    end, offsets = len(ids) - after, offsets.reshape(-1, 2)
    room = max(1, limit - before - after)
    windows, cut = [], []
    for start in range(before, max(end, before + 1), room):
        stop = min(start + room, end)
        windows.append([*ids[:before], *ids[start:stop], *ids[end:]])
        cut.append(np.concatenate([offsets[:before], offsets[start:stop], offsets[end:]]))
    return Tokens(windows, cut)


def marks_of(special: Sequence[int]) -> tuple[int, int]:
    """How many tokens of a text are marks before it and after it; `special` is 1 where a token is one."""
    text = [place for place, is_mark in enumerate(special) if not is_mark]
    return (text[0], len(special) - 1 - text[-1]) if text else (len(special), 0)


@dataclass(frozen=True, slots=True)
class Pooled:
    """One window: its token embeddings (t, d) and the model's own pooled embedding (d,)."""

    rows: Vectors
    vector: Vectors


def encode_late(
    texts: Sequence[str],
    spans: Sequence[Sequence[Span]],
    tokenize: Callable[[list[str]], list[Tokens]],
    forward: Callable[[list[list[int]]], list[Pooled]],
) -> list[Encoded]:
    """Encode texts and the sentences at their `spans`. The same text is encoded once."""
    places: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        places.setdefault(text, []).append(place)
    # Token embeddings are large: they are held for a few texts at a time, of similar length.
    by_length = sorted(places, key=len)
    encoded: dict[int, Encoded] = {}
    for first in range(0, len(by_length), HELD_TEXTS):
        some = by_length[first : first + HELD_TEXTS]
        tokens = tokenize(some)
        done = iter(forward([window for each in tokens for window in each.windows]))
        for text, each in zip(some, tokens, strict=True):
            own = [next(done) for _ in each.windows]
            vector = _mean(own)
            rows, offsets = np.concatenate([w.rows for w in own]), np.concatenate(each.offsets)
            for place in places[text]:
                encoded[place] = Encoded(normalised(vector), _span_means(rows, offsets, spans[place], vector))
    return [encoded[place] for place in range(len(texts))]


def encode_separately(
    encode: Callable[[list[str]], Vectors], texts: Sequence[str], spans: Sequence[Sequence[Span]]
) -> list[Encoded]:
    """Where there are no token embeddings: passages and sentences as strings of their own, each different one once."""
    pieces = [[text[start:end] for start, end in own] for text, own in zip(texts, spans, strict=True)]
    unique = sorted({*texts, *(piece for own in pieces for piece in own)}, key=len)
    vectors = encode(unique)
    is_sound = vectors.ndim == 2 and len(vectors) == len(unique) and vectors.shape[1] > 0
    if not is_sound or not np.isfinite(vectors).all():
        raise ModelError(f"the encoder answered {vectors.shape} for {len(unique)} texts, or not finite numbers")
    row = {string: normalised(vectors[i]) for i, string in enumerate(unique)}
    dimension = vectors.shape[1]
    return [
        Encoded(row[text], np.array([row[p] for p in own], dtype=np.float32).reshape(-1, dimension))
        for text, own in zip(texts, pieces, strict=True)
    ]


def with_prompt(
    prompt: str, texts: Sequence[str], spans: Sequence[Sequence[Span]]
) -> tuple[Sequence[str], Sequence[Sequence[Span]]]:
    """What the model wants before each text, and the spans moved behind it."""
    if not prompt:
        return texts, spans
    size = len(prompt)
    return [prompt + text for text in texts], [[(start + size, end + size) for start, end in own] for own in spans]


def batches(windows: Sequence[Sequence[int]], limit: int) -> Iterator[list[int]]:
    """The windows' places in batches of similar length, of at most `limit` padded tokens (or one window)."""
    by_length = sorted(range(len(windows)), key=lambda place: len(windows[place]))
    start = 0
    while start < len(by_length):
        stop = start + 1
        while stop < len(by_length) and (stop + 1 - start) * len(windows[by_length[stop]]) <= limit:
            stop += 1
        yield by_length[start:stop]
        start = stop


def padded(windows: Sequence[Sequence[int]], pad: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids (b, t) of a batch, filled up with `pad`, and the mask (b, t), 1 where a token is real."""
    longest = max(map(len, windows))
    ids = np.full((len(windows), longest), pad, np.int64)
    mask = np.zeros((len(windows), longest), np.int64)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = window
        mask[row, : len(window)] = 1
    return ids, mask


def normalised(vector: Vectors) -> Vectors:
    """At length 1, float32; a vector of zeros stays as it is."""
    norm = float(np.linalg.norm(vector))
    return (vector / norm).astype(np.float32) if norm > 0 else vector.astype(np.float32)


def _mean(windows: Sequence[Pooled]) -> Vectors:
    if len(windows) == 1:
        return np.asarray(windows[0].vector, dtype=np.float32)
    weights = [len(w.rows) for w in windows]
    return np.asarray(np.average([w.vector for w in windows], axis=0, weights=weights), dtype=np.float32)


def _span_means(rows: Vectors, offsets: NDArray[Any], spans: Sequence[Span], fallback: Vectors) -> Vectors:
    """The mean token embedding inside each span; `fallback` where a span holds no token."""
    means = np.empty((len(spans), rows.shape[1]), dtype=np.float32)
    real = offsets[:, 1] > offsets[:, 0]  # special tokens have empty offsets
    for i, (start, end) in enumerate(spans):
        inside = real & (offsets[:, 0] >= start) & (offsets[:, 0] < end)
        means[i] = normalised(rows[inside].mean(axis=0) if inside.any() else fallback)
    return means
