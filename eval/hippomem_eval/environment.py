"""On what a figure was measured: the machine, the versions, the code and the settings."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import hippomem
from hippomem.neocortex.encoder_choice import gpu_is_likely
from hippomem.settings import load_settings

_PACKAGES = (
    "hippomem",
    "numpy",
    "scipy",
    "torch",
    "sentence-transformers",
    "onnxruntime",
    "spacy",
    "faiss-cpu",
    "sqlalchemy",
    "bm25s",
    "pystemmer",
    "igraph",
)
THREADS = ("OMP_NUMTHREADS", "MKL_NUMTHREADS", "OPENBLAS_NUMTHREADS")
# What changes no result: where a memory is, how a chat model is reached and within which limits, what it costs; and how
# long a question may be, which is raised where a run stops at one, to go on from there.
_WITHOUT_EFFECT = frozenset(
    {"db", "namespace", "llm_api_key", "llm_timeout", "llm_retries", "llm_concurrency", "llm_prices"}
    | {"max_query_chars", "llm_requests_per_minute", "llm_tokens_per_minute"}
)


def machine() -> dict[str, Any]:
    """Platform, processor count, what this process may use of them, thread limits, GPUs."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "cpus_usable": usable,
        "threads": {name: os.environ[name] for name in THREADS if name in os.environ},
        "gpus": _gpus(),
    }


def _gpus() -> list[str]:
    if not gpu_is_likely():  # torch takes seconds to load
        return []
    import torch

    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


def versions() -> dict[str, str]:
    """Python and the packages that figures depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def code_hash() -> str:
    """One hash over the source of hippomem and of this package: a version number does not tell edits apart."""
    digest = hashlib.sha256()
    for package in (Path(str(hippomem.__file__)).parent, Path(__file__).parent):
        for file in sorted(package.rglob("*.py")):
            digest.update(file.relative_to(package).as_posix().encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def settings_hash() -> str:
    """One hash over hippomem's settings, from environment and hippomem.toml, but for those that change no result. Their
    values may be secrets.
    """
    values = {
        name: _as_text(value) for name, value in load_settings().model_dump().items() if name not in _WITHOUT_EFFECT
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _as_text(value: object) -> str:
    # A set of strings has another order in every process, and what was measured before would never count again.
    return str(sorted(value, key=str) if isinstance(value, set | frozenset) else value)


def describe() -> dict[str, Any]:
    """All that goes beside a figure."""
    return {
        "machine": machine(),
        "versions": versions(),
        "code": code_hash(),
        "settings": settings_hash(),
        "command": sys.argv[1:],
    }
