"""What the folder of a sentence-transformers model says about itself, and whether it is a BERT that can be built."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hippomem.errors import InvalidInputError

Pooling = Literal["mean", "cls"]
_LEGACY_POOLING = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


@dataclass(frozen=True, slots=True)
class BertFolder:
    """A BERT encoder on disk. `window` is its longest input in tokens; `is_normalised` where its vectors have length 1;
    `prompts` are put before a "query" and a "document"; `prefix` stands before the names of its weights.
    """

    folder: Path
    layers: int
    heads: int
    hidden: int
    epsilon: float
    window: int
    pooling: Pooling
    is_normalised: bool
    prompts: Mapping[str, str]
    prefix: str

    @property
    def weights(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def tokenizer(self) -> Path:
        return self.folder / "tokenizer.json"


def read_bert(folder: Path) -> BertFolder:
    """What the JSON files and the header of the weights say. Raises InvalidInputError where it is not a BERT (Devlin et
    al., arXiv 1810.04805) in fp32 with safetensors weights and mean or CLS pooling, as sentence-transformers saves it.
    """
    modules = [
        (str(m["type"]).rsplit(".", 1)[-1], str(m["path"]))
        for m in _listed(folder / "modules.json")
        if isinstance(m, dict) and {"type", "path"} <= m.keys()
    ]
    kinds = [kind for kind, _ in modules]
    _need(kinds[:2] == ["Transformer", "Pooling"] and kinds[2:] in ([], ["Normalize"]), f"its modules are {kinds}")
    bert, pooling = folder / modules[0][1], _object(folder / modules[1][1] / "config.json")
    config, tokenizer = _object(bert / "config.json"), _object(bert / "tokenizer_config.json")
    wanted = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}
    for name, value in wanted.items():
        _need(config.get(name, value if name != "model_type" else None) == value, f"{name} is {config.get(name)!r}")
    says = _object(bert / "sentence_bert_config.json")
    _need(not says.get("do_lower_case"), "texts are put into lower case before its tokenizer sees them")
    window = says.get("max_seq_length") or tokenizer.get("model_max_length")
    positions = _whole(config, "max_position_embeddings")
    window = int(window) if isinstance(window, int | float) and 8 <= window <= 8192 else 512
    _need(window <= positions, f"it has {positions} positions for {window} tokens")
    _need((bert / "tokenizer.json").is_file(), "it has no tokenizer.json")
    layers, hidden = _whole(config, "num_hidden_layers"), _whole(config, "hidden_size")
    prompts = _object(folder / "config_sentence_transformers.json").get("prompts") or {}
    return BertFolder(
        bert,
        layers,
        _whole(config, "num_attention_heads"),
        hidden,
        float(config.get("layer_norm_eps", 1e-12)),
        window,
        _pooling(pooling),
        kinds[2:] == ["Normalize"],
        {name: str(prompts.get(name) or "") for name in ("query", "document")},
        _prefix(bert / "model.safetensors", layers, hidden),
    )


def weight_names(layers: int) -> list[str]:
    """The weights that the graph is built from, without their prefix."""
    parts = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
             "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm")  # fmt: skip
    names = [f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")]
    bases = ["embeddings.LayerNorm", *(f"encoder.layer.{n}.{part}" for n in range(layers) for part in parts)]
    return names + [f"{base}.{kind}" for base in bases for kind in ("weight", "bias")]


def _prefix(weights: Path, layers: int, hidden: int) -> str:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="numpy") as file:
            names = set(file.keys())
            prefix = "" if "embeddings.word_embeddings.weight" in names else "bert."
            missing = [name for name in weight_names(layers) if prefix + name not in names]
            _need(not missing, f"its weights lack {missing[:1]}")
            for name in weight_names(layers):
                part = file.get_slice(prefix + name)
                _need(part.get_dtype() == "F32", f"{name} is {part.get_dtype()}, not F32")
            _need(file.get_slice(prefix + "embeddings.LayerNorm.bias").get_shape() == [hidden], "its sizes differ")
    except (OSError, SafetensorError) as error:
        raise InvalidInputError(f"model.safetensors cannot be read: {error}") from error
    return prefix


def _pooling(config: Mapping[str, Any]) -> Pooling:
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [
            _LEGACY_POOLING.get(name, name) for name, on in config.items() if name.startswith("pooling_mode") and on
        ]
    modes = [modes] if isinstance(modes, str) else modes
    _need(modes in (["mean"], ["cls"]), f"its pooling is {modes}")
    _need(config.get("include_prompt", True) is True, "its pooling leaves out the prompt")
    return "mean" if modes == ["mean"] else "cls"


def _whole(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    _need(type(value) is int and value > 0, f"{name} is {value!r}")
    return int(value)  # type: ignore[arg-type]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path.name} cannot be read: {error}") from error


def _object(path: Path) -> dict[str, Any]:
    content = _read(path)
    return content if isinstance(content, dict) else {}


def _listed(path: Path) -> list[Any]:
    content = _read(path)
    return content if isinstance(content, list) else []


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvalidInputError(otherwise)
