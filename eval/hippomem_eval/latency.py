"""What a memory costs: ingest and recall in a fresh process over a fresh store, so that nothing is shared or warm."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hippomem_eval.datasets import load_dataset, write_corpus
from hippomem_eval.environment import describe
from hippomem_eval.files import sha256
from hippomem_eval.own_process import measure_in_own_process
from hippomem_eval.results import make_folder, write_json


def measure_latency(
    questions: Path, corpus: Path | None, out: Path, *, limit: int | None = None, k: int = 5
) -> dict[str, Any]:
    """Ingest the whole corpus, ask the questions, and write the figures to OUT/latency.json.

    Seconds, milliseconds and bytes. The store is deleted at the end. Raises the errors of `load_dataset`, and
    SourceError where the measuring process fails.
    """
    dataset = load_dataset(questions, corpus, limit=limit)
    make_folder(out)
    # Not the system's folder for temporary files: that may be in memory, where writing costs nothing.
    with tempfile.TemporaryDirectory(prefix="latency-", dir=out) as name:
        folder = Path(name)
        source = corpus
        if source is None:
            source = folder / "corpus.json"
            write_corpus(dataset.corpus, source)
        job = {
            "corpus": str(source.resolve()),
            "database": str((folder / "index.db").resolve()),
            "questions": [question.text for question in dataset.questions],
            "k": k,
        }
        measured = measure_in_own_process("latency_worker", job, folder)
    measured |= {"corpus": str(corpus or questions), "sha256": sha256(corpus or questions), "k": k}
    write_json(out / "latency.json", {**measured, **describe()})
    return measured


def as_text(measured: Mapping[str, Any]) -> str:
    """The figures, one line each."""
    cpu, wall, recall = measured["cpu_seconds"], measured["wall_seconds"], measured["recall"]
    peak = measured["peak_rss_bytes"]["total"]
    lines = [
        f"passages          {measured['passages']:,}",
        f"peak memory       {'not known here' if peak is None else f'{peak / 1e6:,.0f} MB'}",
        f"CPU               {_seconds(cpu)}",
        f"wall              {_seconds(wall)}",
        f"on disk           {measured['bytes'] / 1e6:,.1f} MB",
        f"recall, CPU ms    {_spread(recall['cpu_ms'])}  (without encoding the question)",
        f"recall, ms        {_spread(recall['ms'])}  (without encoding the question)",
        f"encoding, ms      {_spread(recall['encode_ms'])}",
    ]
    return "\n".join(lines) + "\n"


def _seconds(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f} s" for name, value in parts.items())


def _spread(values: Mapping[str, float]) -> str:
    return f"mean {values['mean']:.2f}, p50 {values['p50']:.2f}, p95 {values['p95']:.2f}"
