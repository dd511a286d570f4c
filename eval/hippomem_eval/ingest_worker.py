"""The process that `ingest` measures: `python -m hippomem_eval.ingest_worker FOLDER` reads job.json there."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from hippomem import Memory
from hippomem_eval.configured import without_workers
from hippomem_eval.datasets import load_corpus
from hippomem_eval.latency_worker import peak_rss
from hippomem_eval.own_process import serve_job


def measure(job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Ingest as the job says, into a new memory in the folder."""
    documents = list(islice(load_corpus(Path(job["corpus"])).documents(job["corpus"]), job["limit"]))
    with Memory.open(folder / "index.db", settings=without_workers()) as memory:
        began, cpu, cpu_workers = time.perf_counter(), time.process_time(), _of_children()[0]
        report = memory.ingest(documents, workers=job["workers"])
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    spent, peak = _of_children()
    return {
        "passages": report.passages,
        "seconds": seconds,
        "cpu_seconds": cpu + spent - cpu_workers,
        "rss_bytes": peak_rss(),
        "worker_rss_bytes": peak if job["workers"] else None,
    }


def _of_children() -> tuple[float, int | None]:
    """CPU seconds of those that have ended, and the most bytes of memory that one of them has held."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0, None
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    own = Path(sys.argv[1])
    sys.exit(serve_job(own, lambda job: measure(job, own)))
