"""What a chat model costs an `add`: the same texts into two memories in turn, one with a model set and one without."""

from __future__ import annotations

import gc
import random
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hippomem import InvalidInputError, Memory
from hippomem.testing import ScriptedChatModel
from hippomem_eval.configured import configured_encoder
from hippomem_eval.datasets import load_corpus
from hippomem_eval.environment import describe
from hippomem_eval.metrics import bootstrap
from hippomem_eval.results import make_folder, write_json

WARM_UP = 10


def measure_adds(corpus: Path, out: Path, *, adds: int = 200, seed: int = 0) -> dict[str, Any]:
    """Add `adds` passages of a corpus one by one to both memories, which one first by lot, and write OUT/adds.json.

    Milliseconds by the clock and of CPU time; `ratio` is with a model over without: of the medians, and the mean of
    the logarithms of each pair's ratio with its 95 % bootstrap interval. Raises the errors of `load_corpus`, and
    InvalidInputError for a corpus of which nothing is left after the first adds, which are not measured.
    """
    records = load_corpus(corpus).records[: adds + WARM_UP]
    if len(records) <= WARM_UP:
        raise InvalidInputError(
            f"{corpus} holds {len(records):,} passages, and the first {WARM_UP} adds are not measured: take more"
        )
    make_folder(out)
    lots = random.Random(seed)  # noqa: S311
    model = ScriptedChatModel(answers=[])
    encoder = configured_encoder()
    taken: dict[str, dict[str, list[float]]] = {name: {"ms": [], "cpu_ms": []} for name in ("with", "without")}
    # Not the system's folder for temporary files: that may be in memory, where writing costs nothing.
    with (
        tempfile.TemporaryDirectory(prefix="adds-", dir=out) as folder,
        Memory.open(Path(folder, "without.db"), namespace="default", llm="", encoder=encoder) as without,
        Memory.open(Path(folder, "with.db"), namespace="default", llm=model, encoder=encoder) as with_model,
    ):
        memories = {"with": with_model, "without": without}
        gc.disable()  # else one of the two pays for the other's garbage
        for number, record in enumerate(records):
            order = list(memories)
            lots.shuffle(order)
            for name in order:
                began, cpu = time.perf_counter(), time.process_time()
                memories[name].add(record.text, title=record.title)
                if number >= WARM_UP:
                    taken[name]["cpu_ms"].append(1e3 * (time.process_time() - cpu))
                    taken[name]["ms"].append(1e3 * (time.perf_counter() - began))
            if number % 50 == 49:
                gc.collect()
        gc.enable()
        jobs = with_model.stats()["jobs"]["waiting"]
    measured = {
        "adds": len(taken["with"]["ms"]),
        "jobs": jobs,
        "calls": len(model.calls),
        **{name: {cost: float(np.median(values)) for cost, values in costs.items()} for name, costs in taken.items()},
        "ratio": {cost: _ratio(taken["with"][cost], taken["without"][cost], seed) for cost in ("ms", "cpu_ms")},
    }
    write_json(out / "adds.json", {**measured, **describe()})
    return measured


def _ratio(first: list[float], second: list[float], seed: int) -> dict[str, float]:
    logs = bootstrap(np.log(np.array(first) / np.array(second)), seed=seed)
    return {
        "of_medians": float(np.median(first) / np.median(second)),
        "mean": float(np.exp(logs.mean)),
        "low": float(np.exp(logs.low)),
        "high": float(np.exp(logs.high)),
    }


def as_text(measured: Mapping[str, Any]) -> str:
    """For people."""
    lines = [f"{measured['adds']} adds, medians; {measured['jobs']} jobs wait, {measured['calls']} calls were made"]
    for cost, shown in (("ms", "milliseconds"), ("cpu_ms", "of CPU time")):
        ratio = measured["ratio"][cost]
        lines.append(
            f"{shown:13} {measured['with'][cost]:.2f} with a chat model, {measured['without'][cost]:.2f} without; "
            f"ratio {ratio['of_medians']:.3f}, by pairs {ratio['mean']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"
        )
    return "\n".join(lines) + "\n"
