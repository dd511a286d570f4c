"""How fast a corpus is ingested, with and without workers: each time in a fresh process, into a new memory."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hippomem import InvalidInputError
from hippomem.settings import load_settings
from hippomem_eval.datasets import load_corpus
from hippomem_eval.encoder_bench import as_interval, median_interval
from hippomem_eval.environment import describe
from hippomem_eval.files import sha256
from hippomem_eval.own_process import measure_in_own_process
from hippomem_eval.progress import progress_bar
from hippomem_eval.results import RunFile, make_folder, write_json

ALONE = 0  # workers: the process that ingests does it all


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """What to ingest, how often, with how many workers; `ALONE` is always among these."""

    corpus: Path
    out: Path
    workers: Sequence[int]
    limit: int | None = None
    rounds: int = 5
    seed: int = 0


def measure_ingest(options: IngestOptions) -> dict[str, Any]:
    """Measure, in turns, and write OUT/ingest.json, ingest.md and run.json; the memories are deleted.

    Raises the errors of `load_corpus`, InvalidInputError for so few passages that no workers would start, and
    SourceError where a measuring process fails.
    """
    numbers = list(dict.fromkeys([ALONE, *options.workers]))
    n_passages, batch = len(load_corpus(options.corpus).records[: options.limit]), load_settings().batch
    if n_passages < batch and len(numbers) > 1:
        raise InvalidInputError(
            f"for {n_passages} passages, less than a batch of {batch}, no workers start, and nothing can be compared: "
            "take more, or set HIPPOMEM_BATCH"
        )
    make_folder(options.out)
    runs: dict[int, list[dict[str, Any]]] = {number: [] for number in numbers}
    # Not the system's folder for temporary files: that may be in memory, where writing costs nothing.
    with (
        tempfile.TemporaryDirectory(prefix="ingest-", dir=options.out) as name,
        progress_bar("ingesting", options.rounds * len(numbers)) as advance,
    ):
        for turn in range(options.rounds):
            for number in numbers[turn % len(numbers) :] + numbers[: turn % len(numbers)]:
                folder = Path(name) / f"{turn}-{number}"
                folder.mkdir()
                job = {"corpus": str(options.corpus.resolve()), "limit": options.limit, "workers": number or None}
                runs[number].append(measure_in_own_process("ingest_worker", job, folder))
                advance()
    measured = {
        "n_passages": n_passages,
        "rounds": options.rounds,
        "systems": {str(number): _figures(runs[number], runs[ALONE], options.seed) for number in numbers},
    }
    write_json(options.out / "ingest.json", {**measured, **describe()})
    (options.out / "ingest.md").write_text(as_markdown(measured), encoding="utf-8")
    data = {"corpus": {"path": str(options.corpus.resolve()), "sha256": sha256(options.corpus)}}
    RunFile(options.out / "run.json").update(data=data, **describe())
    return measured


def as_markdown(measured: Mapping[str, Any]) -> str:
    """A table with a line for each number of workers."""
    lines = [
        "| workers | seconds | times as fast | passages/s | CPU ms a passage | memory, MB | of each worker, MB |",
        "|---|" + "---:|" * 6,
    ]
    for number, found in measured["systems"].items():
        cells = [
            as_interval(found["seconds"], 1),
            as_interval(found["times_as_fast"], 2),
            f"{measured['n_passages'] / found['seconds']['median']:.0f}",
            f"{found['cpu_ms_per_passage']:.1f}",
            *("" if found[peak] is None else f"{found[peak] / 1e6:.0f}" for peak in ("rss_bytes", "worker_rss_bytes")),
        ]
        lines.append(f"| {'none' if number == str(ALONE) else number} | {' | '.join(cells)} |")
    about = (
        f"{measured['n_passages']} passages, {measured['rounds']} rounds with the numbers in turn; medians with 95 % "
        "intervals, of the same round as without workers. The start of the workers and of the models is in it."
    )
    return "\n".join([*lines, "", about]) + "\n"


def _figures(own: Sequence[Mapping[str, Any]], alone: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    seconds = np.array([run["seconds"] for run in own])
    peaks = {name: [run[name] for run in own if run[name] is not None] for name in ("rss_bytes", "worker_rss_bytes")}
    return {
        "seconds": median_interval(seconds, seed=seed),
        "times_as_fast": median_interval(np.array([run["seconds"] for run in alone]) / seconds, seed=seed),
        "cpu_ms_per_passage": float(np.median([1e3 * run["cpu_seconds"] / run["passages"] for run in own])),
        **{name: int(np.median(found)) if found else None for name, found in peaks.items()},
    }
