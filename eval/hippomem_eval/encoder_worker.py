"""The processes that `encoder` measures: `python -m hippomem_eval.encoder_worker FOLDER` reads job.json there."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hippomem_eval.encoder_ways import load_way
from hippomem_eval.latency_worker import peak_rss
from hippomem_eval.own_process import serve_job
from hippomem_eval.progress import progress_bar


def measure_load(job: Mapping[str, Any]) -> dict[str, Any]:
    """What a process costs from its start to its first vector. Seconds and bytes, with Python and numpy."""
    began = time.perf_counter()
    load_way(job["way"], job["model"]).query("Where is the archive?")
    return {
        "cpu_seconds": time.process_time(),
        "seconds": time.perf_counter() - began,
        "peak_rss_bytes": peak_rss(),
    }


def measure_costs(job: Mapping[str, Any]) -> dict[str, Any]:
    """The ways in turn, round by round and question by question: milliseconds an item, and vectors to compare.

    By way: `passage` and `query` hold [CPU, wall] of every round, and of every question in every round; `cosines`
    those to the vectors of the first way.
    """
    ways = {name: load_way(name, job["model"]) for name in job["ways"]}
    texts, questions = job["passages"], job["queries"]
    found: dict[str, dict[str, Any]] = {name: {"passage": [], "query": []} for name in ways}
    exact: list[Any] = []
    with progress_bar("encoding", (job["rounds"] + 1) * len(ways)) as advance:
        for name, way in ways.items():  # loaded and warm; and what they make
            made = [*way.passages(texts), *map(way.query, questions)]
            exact = exact or made
            found[name]["cosines"] = [float(ours @ theirs) for ours, theirs in zip(made, exact, strict=True)]
            advance()
        for turn in range(job["rounds"]):
            names = list(ways)
            names = names[turn % len(names) :] + names[: turn % len(names)]
            for name in names:
                cost = _timed(lambda name=name: ways[name].passages(texts))  # type: ignore[misc]
                found[name]["passage"].append([ms / len(texts) for ms in cost])
                advance()
            for question in questions:
                for name in names:  # as an agent asks: not one question right after the other
                    found[name]["query"].append(_timed(lambda name=name, q=question: ways[name].query(q)))  # type: ignore[misc]
    return found


def _timed(call: Callable[[], object]) -> list[float]:
    cpu, began = time.process_time(), time.perf_counter()
    call()
    return [1e3 * (time.process_time() - cpu), 1e3 * (time.perf_counter() - began)]


if __name__ == "__main__":
    sys.exit(serve_job(Path(sys.argv[1]), lambda job: measure_load(job) if "way" in job else measure_costs(job)))
