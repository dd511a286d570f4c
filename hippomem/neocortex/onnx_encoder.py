"""Sentence encoders on onnxruntime: BERT-shaped models, with the vectors of sentence-transformers at less cost."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from hippomem.errors import HippomemError, InvalidInputError, MissingDependencyError, ModelError
from hippomem.neocortex.bert_folder import BertFolder, read_bert
from hippomem.neocortex.bert_graph import build_graph
from hippomem.neocortex.encoder import PACKAGED, Encoded, Precision, Span, Vectors
from hippomem.neocortex.late_chunking import (
    Pooled,
    Tokens,
    batches,
    encode_late,
    marks_of,
    normalised,
    padded,
    windows_of,
    with_prompt,
)
from hippomem.neocortex.model_folder import identity_of, packaged_model
from hippomem.neocortex.shared import shared, shared_in_use
from hippomem.threads import given_threads, processors

BATCH_TOKENS = 1024  # padded tokens in one forward pass: beyond, they fall out of the processor's caches


@dataclass(frozen=True, slots=True, weakref_slot=True)
class _Loaded:
    bert: BertFolder
    tokenizer: Any
    marks: tuple[int, int]
    session: Any
    weights: Any  # the session reads them where they are


class OnnxEncoder:
    """A BERT-shaped sentence-transformers model: the packaged one, or a folder. See `read_bert` for what fits.

    In fp32 its vectors are those of sentence-transformers; in int8 they are near them, and of another identity.
    Batches run beside each other, each on one thread: as many as `OMP_NUM_THREADS`, else as there are processors.
    """

    runtime = "onnxruntime"

    def __init__(self, name: str = PACKAGED, precision: Precision = "fp32") -> None:
        self.name = name
        self.precision: Precision = precision
        self._loaded: _Loaded | None = None
        self._loading = Lock()

    @property
    def identity(self) -> str:
        return identity_of(self.name, self.precision)

    def encode_query(self, text: str) -> Vectors:
        return self._encode([self._model.bert.prompts["query"] + text], [()])[0].vector

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        return self._encode(*with_prompt(self._model.bert.prompts["document"], texts, spans))

    @property
    def _model(self) -> _Loaded:
        with self._loading:  # of threads that come at once, one loads
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> _Loaded:
        if self.name == PACKAGED:
            return shared(f"onnx {self.precision}", lambda: _load(PACKAGED, self.precision))
        return shared_in_use(f"onnx {self.precision}", self.name, lambda: _load(self.name, self.precision))

    def _encode(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        return encode_late(texts, spans, self._tokenize, self._forward)

    def _tokenize(self, texts: list[str]) -> list[Tokens]:
        model, found = self._model, []
        for text in texts:  # one by one: in batches, the tokenizer starts threads that a fork does not survive
            whole = model.tokenizer.encode(text)
            found.append(windows_of(whole.ids, np.asarray(whole.offsets), model.marks, model.bert.window))
        return found

    def _forward(self, windows: list[list[int]]) -> list[Pooled]:
        pooled: dict[int, Pooled] = {}
        each = list(batches(windows, BATCH_TOKENS))
        for batch, done in zip(each, _beside(self._run, [[windows[w] for w in b] for b in each]), strict=True):
            pooled.update(zip(batch, done, strict=True))
        return [pooled[window] for window in range(len(windows))]

    def _run(self, windows: list[list[int]]) -> list[Pooled]:
        bert, session = self._model.bert, self._model.session
        ids, mask = padded(windows, 0)
        try:
            (tokens,) = session.run(["tokens"], {"ids": ids.astype(np.int32), "mask": mask.astype(np.int32)})
        except Exception as error:  # whatever onnxruntime raises: its own types, RuntimeError, MemoryError
            raise ModelError(f"the encoder {self.name!r} failed: {error}") from error
        found = []
        for rows, window in zip(tokens, windows, strict=True):
            own = rows[: len(window)]
            vector = own[0] if bert.pooling == "cls" else own.mean(axis=0)
            found.append(Pooled(own, normalised(vector) if bert.is_normalised else vector))
        return found


def _beside(run: Callable[[list[list[int]]], list[Pooled]], batches: list[list[list[int]]]) -> list[list[Pooled]]:
    threads = min(given_threads() or processors(), len(batches))
    if threads <= 1:
        return [run(batch) for batch in batches]
    with ThreadPoolExecutor(threads, thread_name_prefix="hippomem-encode") as pool:
        return list(pool.map(run, batches))


def _load(name: str, precision: Precision) -> _Loaded:
    # It tells Microsoft of each process that imports it, from then on: what can be called afterwards comes too late.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnx  # noqa: F401 - what the graph is built with
        import onnxruntime
        from safetensors import safe_open
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingDependencyError(error.name or "onnxruntime", "fast") from error
    try:
        bert = read_bert(packaged_model() if name == PACKAGED else Path(name))
        tokenizer = Tokenizer.from_file(str(bert.tokenizer))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        with safe_open(bert.weights, framework="numpy") as file:
            graph, weights = build_graph(bert, lambda weight: file.get_tensor(bert.prefix + weight), precision)
        onnxruntime.disable_telemetry_events()  # for where somebody else has imported it, and on Windows
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        values = {array: onnxruntime.OrtValue.ortvalue_from_numpy(weights[array]) for array in weights}
        options.add_external_initializers(list(values), list(values.values()))
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except InvalidInputError as error:
        raise ModelError(f"onnxruntime cannot run the encoder {name!r}: {error}") from error
    except HippomemError:
        raise
    except Exception as error:  # whatever a tokenizer, a weight file or onnxruntime can raise
        raise ModelError(f"cannot load the encoder {name!r}: {error}") from error
    return _Loaded(bert, tokenizer, marks_of(tokenizer.encode("a").special_tokens_mask), session, (weights, values))
