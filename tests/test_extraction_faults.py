"""Extraction against a real server that fails, by processes that are killed: nothing is lost or paid for twice."""

from __future__ import annotations

import gzip
import json
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import child_tasks
import pytest
from faulty_server import FaultyServer, faulty_server

from hippomem import Memory

MODEL = "openai:test-model"
CONCURRENCY = 4
Recorded = dict[str, dict[str, Any]]


def made_up(number: int) -> tuple[list[dict[str, str]], Recorded]:
    """Records, and what a model answers about each."""
    records = child_tasks.records(number)
    answers = {}
    for record in records:
        one = record["text"].split(", ")[1].split(" met ")[0]
        two = record["text"].split(" met ")[1].split(" at ")[0]
        answers[record["text"]] = {"entities": [one, two], "triples": [[one, "met", two], [one, two]]}
    return records, answers


def hold(memory: Memory, server: FaultyServer, kills: int = 0) -> None:
    """What must hold when all is done."""
    stats = memory.stats()
    jobs = stats["jobs"]
    assert jobs["waiting"] == jobs["running"] == 0
    assert jobs["done"] + jobs["dead"] == stats["passages"]
    assert all(job.reason for job in memory.jobs("dead"))
    (ledger,) = [entry for entry in stats["chat_models"] if entry["purpose"] == "extract"]
    in_flight = kills * CONCURRENCY
    assert ledger["open_calls"] == 0
    assert ledger["lost_calls"] <= in_flight
    assert 0 <= server.answered - ledger["answered_calls"] <= in_flight
    assert server.requests <= sum(ledger[f"{name}_calls"] for name in ("answered", "failed", "lost"))
    twice = sum(times - 1 for times in server.paid.values())
    assert twice <= in_flight
    if not kills:
        assert ledger["answered_calls"] == server.answered
        assert (ledger["input_tokens"], ledger["output_tokens"]) == (server.input_tokens, server.output_tokens)
        assert ledger["failed_calls"] == server.requests - server.answered
    facts = [data for *_, data in memory.graph().edges(data=True) if data["kind"] == "fact"]
    assert {data["extractor"] for data in facts} <= {MODEL, "rules"}
    assert sum(data["extractor"] == MODEL for data in facts) > 0.5 * jobs["done"]
    assert memory.doctor().ok


def run_workers(
    db: Path, server: FaultyServer, children: ForkServerContext, kill_at: list[int], timeout: float
) -> None:
    """Two workers until nothing is left; whenever so many answers were given, one of them is killed and replaced."""

    def start() -> BaseProcess:
        process = children.Process(target=child_tasks.extract, args=(db, server.url, CONCURRENCY))
        process.start()
        return process

    workers = [start(), start()]
    deadline = time.monotonic() + timeout
    for number, answers in enumerate(kill_at):
        while server.answered < answers:
            assert time.monotonic() < deadline
            assert any(worker.is_alive() for worker in workers)
            time.sleep(0.01)
        pid = workers[number].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        workers[number].join()
        assert workers[number].exitcode == -signal.SIGKILL
        workers[number] = start()
    for worker in workers:
        worker.join(max(1.0, deadline - time.monotonic()))
        assert worker.exitcode == 0


def test_two_workers_faults_and_two_kills(
    fast: Callable[..., Memory], tmp_path: Path, children: ForkServerContext
) -> None:
    records, recorded = made_up(60)
    memory = fast()
    memory.ingest(records)
    with faulty_server(recorded, share=0.2, seconds=0.02) as server:
        run_workers(tmp_path / "m.db", server, children, [10, 25], timeout=120)
        assert len(server.happened) >= 5
        hold(memory, server, kills=2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_recorded_answers(
    fast: Callable[..., Memory], tmp_path: Path, children: ForkServerContext, shared_data: Path
) -> None:
    folder = shared_data / "musique_train"
    with gzip.open(folder / "openie_musique_train_results_ner_gpt-3.5-turbo-1106_1890.json.gz", "rt") as stream:
        docs = json.load(stream)["docs"]
    recorded = {
        doc["text"]: {"entities": doc["extracted_entities"], "triples": doc["extracted_triples"]} for doc in docs
    }
    memory = fast()
    memory.ingest([{"title": doc["title"], "text": doc["text"]} for doc in docs])
    assert memory.stats()["passages"] == 1890
    with faulty_server(recorded, share=0.2, seconds=0.01) as server:
        run_workers(tmp_path / "m.db", server, children, [400, 900], timeout=1500)
        assert len(server.happened) == 6
        hold(memory, server, kills=2)
        assert memory.stats()["jobs"]["dead"] <= 10  # five faults out of five: one in three thousand
