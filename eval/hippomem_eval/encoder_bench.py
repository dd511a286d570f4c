"""What encoding costs, by several ways in one run, and how near their vectors are to sentence-transformers' own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hippomem import InvalidInputError
from hippomem.settings import load_settings
from hippomem_eval.datasets import load_dataset
from hippomem_eval.encoder_ways import BASELINE, WAYS, load_way
from hippomem_eval.environment import THREADS, describe
from hippomem_eval.files import sha256
from hippomem_eval.own_process import measure_in_own_process
from hippomem_eval.results import RunFile, make_folder, write_json

_RESAMPLES = 2000
_ITEMS = ("passage", "query")
_COSTS = ("cpu_ms", "ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderOptions:
    """What to encode, how often, by which of WAYS; `loads` processes are started for each way."""

    questions: Path
    out: Path
    corpus: Path | None = None
    ways: Sequence[str] = WAYS
    passages: int = 128
    queries: int = 50
    rounds: int = 7
    loads: int = 3
    threads: int = 1
    seed: int = 0


def measure_encoders(options: EncoderOptions) -> dict[str, Any]:
    """Measure, and write OUT/encoder.json, encoder.md and run.json. `BASELINE` is always among the ways.

    Raises the errors of `load_dataset` and `load_way`, InvalidInputError where the encoder is not given by name, and
    SourceError where a measuring process fails.
    """
    model = load_settings().encoder
    if not isinstance(model, str):
        raise InvalidInputError("the encoder to measure must be given by name or folder")
    ways = list(dict.fromkeys([BASELINE, *options.ways]))
    for way in ways:
        load_way(way, model)
    dataset = load_dataset(options.questions, options.corpus)
    rng = np.random.default_rng(options.seed)
    records = [dataset.corpus.records[i] for i in rng.permutation(len(dataset.corpus))[: options.passages]]
    texts = [f"{record.title}\n{record.text}" if record.title else record.text for record in records]
    asked = [question.text for question in dataset.questions[: options.queries]]
    make_folder(options.out)
    with tempfile.TemporaryDirectory(prefix="encoder-", dir=options.out) as name:
        folder = Path(name)
        # Numeric libraries read the number of threads when they are loaded.
        limits = dict.fromkeys(THREADS, str(options.threads))
        job = {"ways": ways, "model": model, "passages": texts, "queries": asked, "rounds": options.rounds}
        costs = measure_in_own_process("encoder_worker", job, folder, env=limits)
        loads: dict[str, list[Any]] = {way: [] for way in ways}
        for _ in range(options.loads):
            for way in ways:
                start = {"way": way, "model": model}
                loads[way].append(measure_in_own_process("encoder_worker", start, folder, env=limits))
    measured = {
        "encoder": model,
        "n_passages": len(texts),
        "n_queries": len(asked),
        "characters": sum(map(len, texts)) / len(texts),
        **{name: getattr(options, name) for name in ("rounds", "loads", "threads", "seed")},
        "systems": {way: _figures(costs[way], costs[BASELINE], loads[way], options.seed) for way in ways},
    }
    write_json(options.out / "encoder.json", {**measured, **describe()})
    (options.out / "encoder.md").write_text(as_markdown(measured), encoding="utf-8")
    files = {"questions": options.questions, "corpus": options.corpus or options.questions}
    data = {what: {"path": str(path.resolve()), "sha256": sha256(path)} for what, path in files.items()}
    RunFile(options.out / "run.json").update(data=data, **describe())
    return measured


def median_interval(values: ArrayLike, *, seed: int = 0) -> dict[str, float]:
    """The median and its 95 % percentile bootstrap interval (Efron and Tibshirani, 1993)."""
    array: NDArray[np.float64] = np.asarray(values, np.float64)
    drawn = np.random.default_rng(seed).integers(len(array), size=(_RESAMPLES, len(array)))
    low, high = np.percentile(np.median(array[drawn], axis=1), [2.5, 97.5])
    return {"median": float(np.median(array)), "low": float(low), "high": float(high)}


def as_markdown(measured: Mapping[str, Any]) -> str:
    """A table with a line a way."""
    lines = [
        "| | passage, CPU ms | times as fast | query, CPU ms | times as fast | passage, ms | times as fast | query, ms "
        "| times as fast | least cosine | load, CPU s | load, s | memory, MB |",
        "|---|" + "---:|" * 12,
    ]
    for name, way in measured["systems"].items():
        load, cells = way["load"], []
        for item in _ITEMS:
            cells += [as_interval(way[item]["cpu_ms"], 1), as_interval(way[item]["times_as_fast"], 2)]
        for item in _ITEMS:
            cells += [as_interval(way[item]["ms"], 2), as_interval(way[item]["times_as_fast_by_the_clock"], 2)]
        cells.append(f"{way['cosine']['least']:.7f}")
        if load:
            memory = load["peak_rss_bytes"]
            cells += [f"{load['cpu_seconds']:.2f}", f"{load['seconds']:.2f}"]
            cells.append("" if memory is None else f"{memory / 1e6:.0f}")
        else:
            cells += ["", "", ""]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    about = (
        f"{measured['n_passages']} passages of {measured['characters']:.0f} characters in one call, "
        f"{measured['n_queries']} single queries, {measured['rounds']} rounds with the ways in turn, "
        f"{measured['threads']} thread(s); medians with 95 % intervals. Load: a process from its start to its first "
        f"vector, median of {measured['loads']}."
    )
    return "\n".join([*lines, "", about]) + "\n"


def _figures(
    own: Mapping[str, Any], baseline: Mapping[str, Any], loads: Sequence[Mapping[str, Any]], seed: int
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in _ITEMS:
        ours, theirs = np.array(own[item]), np.array(baseline[item])
        found[item] = {cost: median_interval(ours[:, i], seed=seed) for i, cost in enumerate(_COSTS)}
        # Of the same round, and for queries of the same question: what else the machine did falls on both.
        ratios = theirs / np.maximum(ours, 1e-9)
        found[item]["times_as_fast"] = median_interval(ratios[:, 0], seed=seed)
        found[item]["times_as_fast_by_the_clock"] = median_interval(ratios[:, 1], seed=seed)
    found["cosine"] = {"least": min(own["cosines"]), "mean": float(np.mean(own["cosines"]))}
    found["load"] = {
        name: float(np.median([load[name] for load in loads])) if loads[0][name] is not None else None
        for name in (loads[0] if loads else ())
    }
    return found


def as_interval(values: Mapping[str, float], digits: int) -> str:
    """What `median_interval` found, for people to read."""
    median, low, high = (f"{values[name]:.{digits}f}" for name in ("median", "low", "high"))
    return f"{median} [{low}, {high}]"
