"""Which encoder a setting means: on onnxruntime where that can run it, else on torch."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hippomem.errors import InvalidInputError, MissingDependencyError
from hippomem.neocortex.bert_folder import read_bert
from hippomem.neocortex.bulk_encoder import BulkEncoder
from hippomem.neocortex.centring import CentredEncoder
from hippomem.neocortex.encoder import PACKAGED, Backend, Encoder, Precision
from hippomem.neocortex.langchain_encoder import LangChainEncoder
from hippomem.neocortex.onnx_encoder import OnnxEncoder
from hippomem.neocortex.torch_encoder import SentenceTransformerEncoder

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "C:/Windows/System32/nvcuda.dll")
SMALL = 150_000_000  # bytes of weights: with more, a processor takes longer for a question than is pleasant
_NEEDED = ("onnxruntime", "onnx", "tokenizers", "safetensors")


def resolve_encoder(
    encoder: str | Encoder | Embeddings,
    backend: Backend = "auto",
    precision: Precision = "fp32",
    device: str = "auto",
) -> Encoder:
    """As `choose_encoder`, with vectors that are centred (centring.py), but for the packaged model's, for which that
    does nothing, and for those of an `Encoder`, which are its maker's affair.
    """
    chosen = choose_encoder(encoder, backend, precision, device)
    return chosen if chosen is encoder or encoder == PACKAGED else CentredEncoder(chosen)


def choose_encoder(
    encoder: str | Encoder | Embeddings,
    backend: Backend = "auto",
    precision: Precision = "fp32",
    device: str = "auto",
) -> Encoder:
    """An encoder from settings: a model's name or folder, a LangChain `Embeddings`, or an `Encoder`.

    No model is loaded here. The rest is for what is given by name. `backend` "auto" is onnxruntime where the extra
    `fast` is installed, the model is BERT-shaped and no GPU is there or `device` is "cpu"; beside a GPU, a small model
    is on both; else it is torch. Raises InvalidInputError where `encoder` is none of these or cannot be run as wished,
    MissingDependencyError where that needs the extra.
    """
    if isinstance(encoder, str):
        if not encoder.strip():
            raise InvalidInputError("encoder is empty: give the name or folder of a sentence-transformers model")
        return _named(encoder, backend, precision, device)
    if isinstance(encoder, Encoder):
        return encoder
    if callable(getattr(encoder, "embed_documents", None)) and callable(getattr(encoder, "embed_query", None)):
        return LangChainEncoder(encoder)
    raise InvalidInputError(
        f"encoder must be a model's name, a LangChain Embeddings or a hippomem Encoder, not {type(encoder).__name__}"
    )


def _named(name: str, backend: Backend, precision: Precision, device: str) -> Encoder:
    on_torch = _said(
        encoder_backend=backend if backend == "torch" else None,
        encoder_precision=precision if precision in ("fp16", "bf16") else None,
        encoder_device=device if device not in ("auto", "cpu") else None,
    )
    on_onnx = _said(
        encoder_backend=backend if backend == "onnx" else None,
        encoder_precision=precision if precision == "int8" else None,
    )
    if on_torch and on_onnx:
        raise InvalidInputError(f"{on_onnx} needs onnxruntime and {on_torch} torch: leave out one of them")
    if on_torch:
        return SentenceTransformerEncoder(name, device, precision)
    try:
        is_small = _weight(name) <= SMALL
    except (InvalidInputError, MissingDependencyError):
        if not on_onnx:
            return SentenceTransformerEncoder(name, device, precision)
        raise
    if on_onnx or device == "cpu" or not gpu_is_likely():
        return OnnxEncoder(name, precision)
    return BulkEncoder(name) if is_small else SentenceTransformerEncoder(name, device, precision)


def _said(**settings: str | None) -> str:
    """The first of the settings that says something, as it is written; empty where none does."""
    return next((f"{name}={value!r}" for name, value in settings.items() if value), "")


def _weight(name: str) -> int:
    """The bytes of an encoder's weights. Raises where onnxruntime cannot run it."""
    missing = [package for package in _NEEDED if find_spec(package) is None]
    if missing:
        raise MissingDependencyError(missing[0], "fast")
    if name == PACKAGED:
        return 0
    if not Path(name).is_dir():
        raise InvalidInputError(f"onnxruntime runs encoders in folders, and there is no folder {name!r}")
    try:
        return read_bert(Path(name)).weights.stat().st_size
    except InvalidInputError as error:
        raise InvalidInputError(f"onnxruntime cannot run the encoder {name!r}: {error}") from error


def gpu_is_likely() -> bool:
    """Whether torch may find a GPU here; it alone can tell for sure, and takes seconds to load."""
    is_mac = sys.platform == "darwin"
    if not (platform.machine() == "arm64" if is_mac else any(Path(driver).exists() for driver in DRIVERS)):
        return False
    try:
        return not importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
