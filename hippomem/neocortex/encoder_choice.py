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
from hippomem.neocortex.encoder import PACKAGED, Backend, Encoder, Precision
from hippomem.neocortex.langchain_encoder import LangChainEncoder
from hippomem.neocortex.onnx_encoder import OnnxEncoder
from hippomem.neocortex.torch_encoder import SentenceTransformerEncoder

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "C:/Windows/System32/nvcuda.dll")
_NEEDED = ("onnxruntime", "onnx", "tokenizers", "safetensors")


def resolve_encoder(
    encoder: str | Encoder | Embeddings, backend: Backend = "auto", precision: Precision = "fp32"
) -> Encoder:
    """An encoder from settings: a model's name or folder, a LangChain `Embeddings`, or an `Encoder`.

    No model is loaded here. `backend` and `precision` are for what is given by name: "auto" is onnxruntime where the
    extra `fast` is installed, the model is BERT-shaped and no GPU is there, else torch. Raises InvalidInputError where
    `encoder` is none of these or cannot be run as wished, MissingDependencyError where that needs the extra.
    """
    if isinstance(encoder, str):
        if not encoder.strip():
            raise InvalidInputError("encoder is empty: give the name or folder of a sentence-transformers model")
        return _named(encoder, backend, precision)
    if isinstance(encoder, Encoder):
        return encoder
    if callable(getattr(encoder, "embed_documents", None)) and callable(getattr(encoder, "embed_query", None)):
        return LangChainEncoder(encoder)
    raise InvalidInputError(
        f"encoder must be a model's name, a LangChain Embeddings or a hippomem Encoder, not {type(encoder).__name__}"
    )


def _named(name: str, backend: Backend, precision: Precision) -> Encoder:
    if backend == "torch" and precision != "fp32":
        raise InvalidInputError(f"encoder_precision={precision!r} needs onnxruntime: leave encoder_backend at 'auto'")
    if backend == "torch" or (backend == "auto" and precision == "fp32" and gpu_is_likely()):
        return SentenceTransformerEncoder(name)
    try:
        _check(name)
    except (InvalidInputError, MissingDependencyError):
        if backend == "auto" and precision == "fp32":
            return SentenceTransformerEncoder(name)
        raise
    return OnnxEncoder(name, precision)


def _check(name: str) -> None:
    """Raises where onnxruntime cannot run the encoder."""
    missing = [package for package in _NEEDED if find_spec(package) is None]
    if missing:
        raise MissingDependencyError(missing[0], "fast")
    if name == PACKAGED:
        return
    if not Path(name).is_dir():
        raise InvalidInputError(f"onnxruntime runs encoders in folders, and there is no folder {name!r}")
    try:
        read_bert(Path(name))
    except InvalidInputError as error:
        raise InvalidInputError(f"onnxruntime cannot run the encoder {name!r}: {error}") from error


def gpu_is_likely() -> bool:
    """Whether torch may find a GPU here; it alone can tell for sure, and takes seconds to load."""
    try:
        if importlib.metadata.version("torch").endswith("+cpu"):
            return False
    except importlib.metadata.PackageNotFoundError:
        return False
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return any(Path(driver).exists() for driver in DRIVERS)
