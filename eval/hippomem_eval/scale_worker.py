"""The processes that `scale` measures: `python -m hippomem_eval.scale_worker build|ask FOLDER` reads job.json there.

One process builds a memory, another one opens it and asks: what building took from the machine does not show in what
asking takes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hippomem import Memory
from hippomem.testing import capitals
from hippomem_eval.configured import without_workers
from hippomem_eval.files import bytes_on_disk
from hippomem_eval.hipporag2 import HippoRAG2
from hippomem_eval.latency_worker import parts, peak_rss
from hippomem_eval.material import Material
from hippomem_eval.metrics import CUTOFFS, means, recall_at, reciprocal_rank, spread
from hippomem_eval.own_process import serve_job
from hippomem_eval.progress import progress_bar
from hippomem_eval.results import Results, Row
from hippomem_eval.synthetic import SyntheticCorpus, SyntheticQuestion
from hippomem_eval.synthetic_encoder import SyntheticEncoder
from hippomem_eval.systems import MemorySystem, Ranking, System
from hippomem_eval.timing import COSTS, timed_recall, warm_up

ADDED = 20  # of the passages are added one by one when all others are in
_COUNTS = ("passages", "entities", "facts", "edges")


def build(job: Mapping[str, Any]) -> dict[str, Any]:
    """Ingest all passages but the last `ADDED`, add those one by one, recall after each, and update each."""
    corpus, first_added = SyntheticCorpus(job["size"], job["seed"]), job["size"] - ADDED
    database = Path(job["database"])
    ours = without_workers()
    memory = Memory.open(database, namespace="default", encoder=SyntheticEncoder(), pipeline=capitals(), settings=ours)
    with memory, progress_bar(f"{job['size']:,} passages", job["size"]) as advance:
        records = _Records(corpus, first_added, advance)
        began, cpu = time.perf_counter(), time.process_time()
        report = memory.ingest(records)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        peak = peak_rss()
        added, adds, recalls, updates = [], [], [], []
        warm_up(MemorySystem(memory, "graph"), job["k"])
        questions = [question.text for question in corpus.questions(ADDED)] or ["What is new?"]
        for number in range(first_added, job["size"]):
            passage = corpus.passage(number)
            began = time.perf_counter()
            added.append(memory.add(passage.text, title=passage.title))
            adds.append(1e3 * (time.perf_counter() - began))
            timings = memory.recall(questions[number % len(questions)], k=job["k"]).timings
            recalls.append(timings["total"] - timings["encode"])
            advance()
        for event in added:
            began = time.perf_counter()
            memory.update(event.id, f"{event.text} So it was.")
            updates.append(1e3 * (time.perf_counter() - began))
        stats = memory.stats()
    seconds = {name: value for name, value in report.seconds.items() if not name.startswith("cpu_")}
    cpu_seconds = {name: value for name, value in report.seconds.items() if name.startswith("cpu_")}
    return {
        **{name: stats[name] for name in _COUNTS},
        "failed_records": len(report.failed),
        "ingested": first_added,
        "wall_seconds": parts(seconds, wall - records.wall),
        "cpu_seconds": parts(cpu_seconds, cpu - records.cpu, "cpu_"),
        "generate_seconds": records.wall,
        "peak_rss_bytes": peak,
        "add_ms": dict(spread(adds)),
        "recall_after_add_ms": dict(spread(recalls)),
        "update_ms": dict(spread(updates)),
        "bytes": bytes_on_disk(database),
    }


def ask(job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Open the memory, ask every question of each system; a row a question goes to FOLDER/SYSTEM.jsonl."""
    corpus = SyntheticCorpus(job["size"], job["seed"])
    questions = list(corpus.questions(job["questions"]))
    encoder = SyntheticEncoder()
    pipeline = capitals()
    encoder.encode_query("what is built at the first use")
    began = time.perf_counter()
    memory = Memory.open(job["database"], namespace="default", encoder=encoder, pipeline=pipeline)
    opened = time.perf_counter() - began
    with memory:
        first = memory.recall("Who was asked first?", k=job["k"]).timings
        asked: dict[str, System] = {"hippomem": MemorySystem(memory, "graph"), "dense": MemorySystem(memory, "dense")}
        if job["hipporag2"]:
            material = Material.of(memory, folder)
            asked["hipporag2"] = HippoRAG2(
                material, [[(f.subject, f.relation, f.object) for f in source.facts] for source in material.sources]
            )
        systems = {}
        with progress_bar("recall", len(questions) * len(asked)) as advance:
            for name, system in asked.items():
                warm_up(system, job["k"])
                with Results(folder / f"{name}.jsonl", keep=False) as results:
                    for question in questions:
                        results.append(_row(question, *timed_recall(system, question.text, job["k"]), corpus, job["k"]))
                        advance()
                    systems[name] = _summed(list(results.rows.values()))
    return {
        "n_questions": len(questions),
        "open_seconds": opened,
        "first_recall_ms": first["total"] - first["encode"],
        "peak_rss_bytes": peak_rss(),
        "anonymous_bytes": _anonymous(),
        "systems": systems,
    }


class _Records:
    """The passages, and the seconds it took to make them up."""

    def __init__(self, corpus: SyntheticCorpus, last: int, advance: Callable[[], None]) -> None:
        self.wall = self.cpu = 0.0
        self._records, self._advance = corpus.records(0, last), advance

    def __iter__(self) -> Iterator[dict[str, str]]:
        while True:
            wall, cpu = time.perf_counter(), time.process_time()
            record = next(self._records, None)
            self.wall += time.perf_counter() - wall
            self.cpu += time.process_time() - cpu
            if record is None:
                return
            self._advance()
            yield record


def _row(
    question: SyntheticQuestion, ranking: Ranking, costs: Mapping[str, float], corpus: SyntheticCorpus, k: int
) -> Row:
    target = corpus.passage(question.target).title
    ranks = [next((rank for rank, found in enumerate(ranking.passages, 1) if found.title == target), None)]
    return {
        "id": question.id,
        "question": question.text,
        "gold": [target],
        "gold_ranks": ranks,
        "ranked": [{"id": p.id, "title": p.title, "score": p.score} for p in ranking.passages],
        "unmatched": 0,
        **{f"recall@{cutoff}": recall_at(ranks, cutoff) for cutoff in CUTOFFS if cutoff <= k},
        "mrr": reciprocal_rank(ranks),
        **costs,
    }


def _summed(rows: list[Row]) -> dict[str, Any]:
    if not rows:  # so few passages that none links to another
        return {}
    measures = [name for name in rows[0] if name.startswith("recall@") or name == "mrr"]
    return means(rows, measures) | {cost: dict(spread([row[cost] for row in rows])) for cost in COSTS}


def _anonymous() -> int | None:
    """Bytes of memory that no file is behind: without what is mapped from the snapshot. None where not known."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:"))
    except (OSError, StopIteration):
        return None


def main(what: str, folder: Path) -> int:
    """The exit code of building, or of asking."""
    return serve_job(folder, build if what == "build" else lambda job: ask(job, folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
