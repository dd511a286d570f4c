"""The process that `latency` measures: `python -m hippomem_eval.latency_worker FOLDER` reads job.json there."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hippomem import Memory
from hippomem_eval.configured import without_workers
from hippomem_eval.datasets import load_corpus
from hippomem_eval.files import bytes_on_disk
from hippomem_eval.metrics import spread
from hippomem_eval.own_process import serve_job
from hippomem_eval.systems import MemorySystem
from hippomem_eval.timing import COSTS, timed_recall, warm_up

_MODELS = ("encode", "extract")  # the encoder's and spaCy's parts of an ingest; the rest is hippomem's own
_COUNTS = ("passages", "entities", "facts", "edges")


def measure(job: Mapping[str, Any]) -> dict[str, Any]:
    """Ingest and recall as the job says."""
    database = Path(job["database"])
    peak = {"imported": peak_rss()}
    with Memory.open(database, namespace="default", settings=without_workers()) as memory:
        began, cpu = time.perf_counter(), time.process_time()
        report = memory.ingest(load_corpus(Path(job["corpus"])).documents(job["corpus"]), progress=True)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        peak["ingested"] = peak_rss()
        stats = memory.stats()
        system = MemorySystem(memory, "graph")
        warm_up(system, job["k"])
        costs = [timed_recall(system, question, job["k"])[1] for question in job["questions"]]
    peak["total"] = peak_rss()
    return {
        "n_questions": len(costs),
        **{name: stats[name] for name in _COUNTS},
        "failed_records": len(report.failed),
        "peak_rss_bytes": peak,
        "cpu_seconds": parts({k: v for k, v in report.seconds.items() if k.startswith("cpu_")}, cpu, "cpu_"),
        "wall_seconds": parts({k: v for k, v in report.seconds.items() if not k.startswith("cpu_")}, wall),
        "bytes": bytes_on_disk(database),
        "recall": {cost: dict(spread([each[cost] for each in costs])) for cost in COSTS},
    }


def parts(seconds: Mapping[str, float], total: float, prefix: str = "") -> dict[str, float]:
    """Seconds by part; `other` is what neither encoder nor spaCy took, where both are known."""
    known = {name: seconds[prefix + name] for name in _MODELS if prefix + name in seconds}
    other = {"other": total - sum(known.values())} if len(known) == len(_MODELS) else {}
    return {"total": total, **known, **other}


def peak_rss() -> int | None:
    """The most memory this process has held, in bytes; None where the system does not tell."""
    try:
        # Not getrusage where this is to be had: its maximum begins with that of the process which started this one.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.exit(serve_job(Path(sys.argv[1]), measure))
