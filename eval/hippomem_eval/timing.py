"""What a recall costs: wall time without and with encoding the question, and CPU time without it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from hippomem_eval.ranking import Ranking, System

COSTS = ("ms", "cpu_ms", "encode_ms")
# The first recalls load the models and the views. No data set asks this, so no question finds its vector cached.
_WARM_UP = ("Who wrote the anthem of the town where the hippomem benchmark was warmed up?", "Warm up in Antananarivo?")


def warm_up(system: System, k: int) -> None:
    """Recall twice what is not measured."""
    for question in _WARM_UP:
        system.recall(question, k)


def timed_recall(system: System, question: str, k: int, *, twice: bool = True) -> tuple[Ranking, Mapping[str, float]]:
    """Recall, and what it cost in milliseconds.

    `ms` is wall time without `encode_ms`, the encoding. `cpu_ms` is the CPU time of all threads for a second recall
    of the same question, whose vector is cached then: CPU time cannot be had by stage otherwise. Not `twice`, where
    asking costs money: then it is the first recall's, with the encoding.
    """
    began, cpu = time.perf_counter(), time.process_time()
    ranking = system.recall(question, k)
    wall = 1e3 * (time.perf_counter() - began)
    encode = ranking.timings.get("encode", 0.0)
    if twice:
        cpu = time.process_time()
        system.recall(question, k)
    cpu = 1e3 * (time.process_time() - cpu)
    return ranking, {"ms": ranking.timings.get("total", wall) - encode, "cpu_ms": cpu, "encode_ms": encode}
