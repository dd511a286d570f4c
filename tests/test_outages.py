"""A model's server that fails for a time: jobs wait for it and lose no attempt, whatever else happens meanwhile."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import child_tasks
import pytest
from earlier import downgraded
from faulty_server import FaultyServer, faulty_server
from test_extraction_faults import CONCURRENCY, hold, made_up

from hippomem import Memory, Settings, SimulatedClock, extracting, extraction_calls
from hippomem.consolidation import worker
from hippomem.extraction_calls import Claims
from hippomem.neocortex.faults import Fault, Kind
from hippomem.storage import jobs, outages
from hippomem.storage.ledger import Spent
from hippomem.testing import HashEncoder, ScriptedChatModel, capitals

Opened = Callable[..., Memory]
MODEL = "openai:test-model"
FAILED = Fault(Kind.passing)


def settings(server: FaultyServer, **options: Any) -> Settings:
    options = {"llm_concurrency": 4, "llm_group_chars": 0, "llm_timeout": 10.0} | options
    return Settings(
        encoder=HashEncoder(), pipeline=capitals(), llm=MODEL, llm_base_url=server.url, llm_api_key="none", **options
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a fiftieth."""
    monkeypatch.setattr(outages, "FIRST", timedelta(seconds=0.02))
    monkeypatch.setattr(outages, "LONGEST", timedelta(seconds=0.3))
    monkeypatch.setattr(extracting, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(extracting, "LONGEST_FAULT", 0.3)
    monkeypatch.setattr(extracting, "OUTAGE_PATIENCE", 0.0)
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.1)


def failing(memory: Memory) -> dict[str, Any]:
    found: dict[str, Any] = memory.stats()["outages"]
    return found


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", ["503", *(pytest.param(f, marks=pytest.mark.slow) for f in ("500", "429", "hang"))])
def test_no_attempt_is_lost_to_an_outage(fast: Opened, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "hippomem")
    records, recorded = made_up(40)
    with faulty_server(recorded, down=fault) as server:
        memory = fast(settings=settings(server, llm_timeout=0.3 if fault == "hang" else 2.0))
        memory.ingest(records)
        for _ in range(12):
            time.sleep(0.1)
            memory.consolidate()
        assert server.requests < 4 + 13  # as many as were under way, then one at a time
        assert set(failing(memory)) == {MODEL}
        assert {job.attempts for job in memory.jobs("waiting", 100)} == {0}
        assert max(job.faults for job in memory.jobs("waiting", 100)) == 1  # another one goes first each time
        server.down = ""
        memory._new_worker().run(until_idle=True)
        assert failing(memory) == {}
        assert memory.stats()["jobs"] == {"waiting": 0, "running": 0, "done": 40, "dead": 0}
        assert {job.attempts for job in memory.jobs("done", 100)} == {1}
    assert f"the chat model '{MODEL}' fails (" in caplog.text
    assert "is asked again in" in caplog.text
    assert "answers again" in caplog.text


@pytest.mark.usefixtures("quick")
def test_a_round_waits_for_a_server_that_fails_for_moments(fast: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extracting, "OUTAGE_PATIENCE", 30.0)
    records, recorded = made_up(30)
    with faulty_server(recorded, share=0.1, faults=("500", "429")) as server:
        memory = fast(settings=settings(server))
        memory.ingest(records)
        report = memory.consolidate()["extract"]
        assert (report.counts["passages"], report.error, report.again_at) == (30, None, None)
        assert sum(server.happened.values()) > 1


@pytest.mark.usefixtures("quick")
def test_the_document_that_a_server_fails_of_dies_and_holds_up_no_other(fast: Opened) -> None:
    records, recorded = made_up(30)
    with faulty_server(recorded, poison="entry 7,") as server:
        memory = fast(settings=settings(server))
        memory.ingest(records)
        memory._new_worker().run(until_idle=True)
        assert memory.stats()["jobs"] == {"waiting": 0, "running": 0, "done": 29, "dead": 1}
        (job,) = memory.jobs("dead")
        assert (job.attempts, job.faults) == (5, 5)  # the first was the server's, and the last is not given back
        assert "out of order" in str(job.reason)
        (ledger,) = memory.stats()["chat_models"]
        assert ledger["failed_calls"] == 6
        server.poison = ""
        assert memory.retry_jobs() == 1
        memory._new_worker().run(until_idle=True)
        assert memory.stats()["jobs"]["done"] == 30


@pytest.mark.usefixtures("quick")
def test_alone_with_such_a_document_a_memory_does_not_ask_for_ever(
    fast: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction_calls, "MOST_FAULTS", 3)
    records, recorded = made_up(1)
    with faulty_server(recorded, down="500") as server:
        memory = fast(settings=settings(server))
        memory.ingest(records)
        memory._new_worker().run(until_idle=True)
        assert memory.stats()["jobs"]["dead"] == 1
        assert server.requests == 3 + jobs.MAX_ATTEMPTS


@pytest.mark.usefixtures("quick")
def test_what_is_the_jobs_fault_or_the_users_is_no_outage(fast: Opened) -> None:
    records, recorded = made_up(3)
    with faulty_server(recorded, poison="entry 0,", poisoned="400") as server:
        memory = fast(settings=settings(server))
        memory.ingest(records[:1])
        assert memory.consolidate()["extract"].counts["dead"] == 1
        server.down = "401"
        memory.ingest(records)
        report = memory.consolidate()["extract"]
        assert "HIPPOMEM_LLM_API_KEY" in str(report.error)
        assert report.again_at is None
        assert failing(memory) == {}
        server.down = ""
        memory.consolidate()  # at once, with the right key
        assert memory.stats()["jobs"]["done"] == 2


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", ["400", "wrong type"])
def test_what_every_call_fails_of_costs_no_job_an_attempt(fast: Opened, fault: str) -> None:
    records, recorded = made_up(30)
    with faulty_server(recorded, down=fault) as server:
        memories = [fast(settings=settings(server)) for _ in range(2)]
        memories[0].ingest(records)
        for memory in memories:
            report = memory.consolidate()["extract"]
            assert "it answers no plain text either" in str(report.error)
            assert report.again_at is None
        assert server.requests <= 2 * 2 * 4
        assert {(job.state, job.attempts) for job in memories[0].jobs()} == {("waiting", 0)}
        server.down = ""
        memories[1]._new_worker().run(until_idle=True)
        assert memories[0].stats()["jobs"] == {"waiting": 0, "running": 0, "done": 30, "dead": 0}
        (ledger,) = memories[0].stats()["chat_models"]
        assert ledger["failed_calls"] + ledger["answered_calls"] == server.requests
        assert ledger["input_tokens"] == server.input_tokens


@pytest.mark.usefixtures("quick")
def test_texts_that_are_refused_cost_no_other_its_attempts(fast: Opened) -> None:
    records, recorded = made_up(30)
    with faulty_server(recorded, poison="7,", poisoned="400") as server:
        memory = fast(settings=settings(server, llm_group_chars=2000))
        memory.ingest(records)
        memory._new_worker().run(until_idle=True)
        dead = memory.jobs("dead")
        assert len(dead) == 3
        assert all("out of order" in str(job.reason) for job in dead)
        assert memory.stats()["jobs"]["done"] == 27
        assert memory.retry_jobs() == 3  # now nothing else is left that could be answered
        memory._new_worker().run(until_idle=True)
        assert memory.stats()["jobs"]["dead"] == 3


@pytest.mark.slow
def test_workers_outlive_an_outage_and_a_kill(fast: Opened, tmp_path: Path, children: ForkServerContext) -> None:
    records, recorded = made_up(40)
    memory = fast()
    memory.ingest(records)
    with faulty_server(recorded, down="503", seconds=0.02) as server:
        arguments = tmp_path / "m.db", server.url, CONCURRENCY
        workers = [children.Process(target=child_tasks.extract, args=arguments) for _ in range(3)]
        workers[0].start()
        workers[1].start()
        while server.requests < 10:
            time.sleep(0.01)
        pid = workers[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        workers[0].join()
        workers[2].start()
        asked = server.requests
        time.sleep(3)
        assert server.requests < asked + 12  # two processes, one at a time
        server.down = ""
        for process in workers[1:]:
            process.join(60)
            assert process.exitcode == 0
        hold(memory, server, kills=1)
        assert memory.stats()["jobs"]["done"] == 40
        assert failing(memory) == {}


class Ward:
    """The claims of one process, step by step on a clock that stands still."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.claims: Claims = memory._steps[0]._claims  # type: ignore[attr-defined]

    def take(self, calls: int = 4) -> tuple[extraction_calls.Claim, ...]:
        return self.claims.claim(calls, None, None).claims

    def fail(self, claim: extraction_calls.Claim, fault: Fault = FAILED) -> tuple[int, int]:
        self.claims.record(claim, Spent("failed"), {}, is_servers=True)
        return self.claims.server_failed(claim, fault, "HTTP 500", "HTTP 500", 0.0)

    def answer(self, claim: extraction_calls.Claim) -> bool:
        ended = self.claims.record(claim, Spent("answered"), {})
        with self.claims.writer.store_.write() as connection:
            jobs.finish(connection, claim.token, [work.number for work in claim.works])
        return ended


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def wards(fast: Opened, clock: SimulatedClock) -> list[Ward]:
    """Two processes, twenty jobs."""
    chat = ScriptedChatModel(answers=["{}"])
    found = [Ward(fast(llm=chat, clock=clock, settings=Settings(llm_group_chars=0))) for _ in range(2)]
    found[0].memory.ingest(made_up(20)[0])
    return found


def until(ward: Ward) -> datetime:
    moment = ward.claims.next_due()
    assert moment is not None
    return moment


def test_pauses_double_and_one_job_goes_first(wards: list[Ward], clock: SimulatedClock) -> None:
    first, second = wards
    for claim in first.take():
        first.fail(claim)
    pauses = []
    for number in range(12):
        assert first.take() == second.take() == ()
        pauses.append((until(second) - clock.now()).total_seconds())
        clock.moment = until(second)
        ward, other = wards[number % 2], wards[1 - number % 2]
        (probe,) = ward.take()
        assert other.take() == ()
        assert len(probe.works) == 1
        ward.fail(probe)
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    clock.moment = until(first)
    (probe,) = first.take()
    assert first.answer(probe)
    assert len(second.take()) == 4


def test_a_server_is_asked_when_it_wants_to_be(wards: list[Ward], clock: SimulatedClock) -> None:
    first, second = wards
    one, two, three = first.take(3)
    first.fail(one, Fault(Kind.busy, 20.0))
    assert until(second) - clock.now() == timedelta(seconds=20)
    first.fail(two, Fault(Kind.busy, 40.0))
    assert not first.answer(three)  # it began before
    assert until(second) - clock.now() == timedelta(seconds=40)


def test_an_answer_to_what_began_later_ends_it(wards: list[Ward]) -> None:
    one, two, three, four = wards[0].take()
    wards[0].fail(two)
    assert not wards[0].answer(one)
    assert wards[1].take() == ()
    assert wards[0].answer(three)
    wards[0].fail(four)
    assert wards[1].take() == ()
    wards[1].memory.retry_jobs()
    assert [claim.is_probe for claim in wards[1].take()] == [True]


def test_a_failure_after_which_others_were_answered_is_of_the_job(wards: list[Ward], clock: SimulatedClock) -> None:
    ward = wards[0]
    failed, other = ward.take(2)
    ward.answer(other)
    assert ward.fail(failed)[0] == 1
    assert failing(ward.memory) == {}
    for attempt in range(jobs.MAX_ATTEMPTS):
        for claim in ward.take(30):
            if claim.works[0].number == failed.works[0].number:
                assert claim.works[0].attempts == attempt
                failed = claim
            else:
                ward.answer(claim)
                ward.memory.ingest([{"text": f"Ada met Bea on day {attempt}."}])
        ward.fail(failed)
        clock.advance(timedelta(minutes=1))
    assert ward.memory.stats()["jobs"]["dead"] == 1


def test_where_a_server_is_not_reached_from_no_job_dies_and_nobody_else_waits(
    wards: list[Ward], clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[tuple[dict[Any, Any], dict[Any, Any]]] = [({}, {}), ({}, {})]

    def process(number: int) -> Ward:
        monkeypatch.setattr(extraction_calls, "_answered", known[number][0])
        monkeypatch.setattr(extraction_calls, "_failing", known[number][1])
        return wards[number]

    (claim,) = process(1).take(1)
    wards[1].fail(claim)
    assert process(0).take() == ()  # nobody knows better
    clock.moment = until(wards[0])
    (probe,) = wards[0].take()
    assert wards[0].answer(probe)
    pauses = []
    for _ in range(6):
        for claim in process(1).take(2):
            wards[1].fail(claim)
        assert wards[1].take() == ()
        assert "while others are answered" in str(wards[1].claims.outage())
        pauses.append((until(wards[1]) - clock.now()).total_seconds())
        (claim,) = process(0).take(1)
        wards[0].answer(claim)
        clock.moment = until(process(1))
    assert pauses == [1, 2, 4, 8, 16, 32]
    assert {job.attempts for job in wards[0].memory.jobs("waiting", 100)} == {0}
    assert wards[0].memory.jobs("dead") == ()
    (probe,) = wards[1].take()
    assert wards[1].take() == ()  # one goes first
    wards[1].claims.give_back(probe, 0.0, "stopped", is_counted=False)
    (probe,) = wards[1].take()
    assert wards[1].answer(probe)
    assert len(wards[1].take()) == 4


def test_too_many_requests_are_never_a_jobs_fault(wards: list[Ward], clock: SimulatedClock) -> None:
    ward, times = wards[0], 0
    unlucky = ward.take(1)[0]
    ward.fail(unlucky, Fault(Kind.busy))
    while times < 12:
        clock.moment = max(clock.moment, until(ward))
        for claim in ward.take(2):
            if claim.works[0].number == unlucky.works[0].number:
                ward.fail(claim, Fault(Kind.busy))
                times += 1
            else:
                ward.answer(claim)
        ward.memory.ingest([{"text": f"Ada met Bea at {clock.now()}."}])
    (job,) = [job for job in ward.memory.jobs(limit=1000) if job.faults]
    assert (job.state, job.attempts, job.faults) == ("waiting", 0, 13)


def test_a_probe_that_is_killed_or_stopped(wards: list[Ward], clock: SimulatedClock) -> None:
    first, second = wards
    first.fail(first.take(1)[0])
    clock.advance(timedelta(seconds=2))
    (lost,) = first.take()
    assert second.take() == ()
    clock.advance(timedelta(seconds=first.claims.timeout + 31))
    (probe,) = second.take()
    assert probe.is_probe
    second.claims.give_back(probe, 0.0, "its worker was stopped", is_counted=False)
    (probe,) = first.take()
    assert probe.is_probe
    assert not first.answer(replace(lost, token=0))
    assert first.answer(probe)


def test_what_fails_while_a_probe_is_under_way_does_not_wait_for_its_lease(
    wards: list[Ward], clock: SimulatedClock
) -> None:
    ward = wards[0]
    one, two = ward.take(2)
    ward.fail(one)
    clock.advance(timedelta(seconds=1))
    (probe,) = ward.take()
    ward.fail(two)
    assert ward.answer(probe)
    clock.advance(timedelta(seconds=1))
    assert len(ward.take(30)) == 19


def test_a_clock_that_goes_back_prolongs_no_pause(wards: list[Ward], clock: SimulatedClock) -> None:
    for claim in wards[0].take():
        wards[0].fail(claim)
    clock.advance(timedelta(hours=-3))
    assert "fails (HTTP 500); it is asked again next" in wards[1].memory._outages()[0]
    (probe,) = wards[1].take()
    wards[1].fail(probe)
    assert until(wards[0]) - clock.now() == timedelta(seconds=2)
    clock.advance(timedelta(days=3))
    assert failing(wards[0].memory) == {}  # nobody has tried for long
    assert len(wards[0].take()) == 4


def test_a_pause_holds_after_a_restart_and_in_other_namespaces(
    wards: list[Ward],
    clock: SimulatedClock,
    fast: Opened,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "hippomem")
    monkeypatch.setattr(extracting, "OUTAGE_PATIENCE", 0.0)
    for claim in wards[0].take():
        wards[0].fail(claim, Fault(Kind.busy, 45.0))
    for _ in range(3):  # a worker that waits says so from the beginning, once
        assert wards[0].memory._next_due() is not None
        assert wards[1].memory._next_due() is not None
    assert len(caplog.messages) == 1
    for ward in wards:
        ward.memory.close()
    chat = ScriptedChatModel(answers=['{"entities": [], "triples": []}'])
    for namespace in ("default", "other"):
        memory = fast(llm=chat, clock=clock, namespace=namespace)
        memory.add("Ada Thorne met Bea Vale.")
        report = memory.consolidate()["extract"]
        assert (report.is_done, report.again_at) == (False, clock.now() + timedelta(seconds=45))
        assert str(report.error).endswith("(HTTP 500); it is asked again in 45 s")
    assert chat.calls == []
    clock.advance(timedelta(seconds=46))
    assert memory.consolidate()["extract"].counts["passages"] == 1


@pytest.mark.sqlite
def test_a_database_from_before_there_were_outages(fast: Opened, tmp_path: Path) -> None:
    memory = fast(llm=ScriptedChatModel(answers=["{}"]))
    memory.add("Ada Thorne met Bea Vale.")
    memory.close()
    downgraded(tmp_path / "m.db", "0005")
    with closing(sqlite3.connect(tmp_path / "m.db")) as old:
        assert "faults" not in {row[1] for row in old.execute("PRAGMA table_info(jobs)")}
    memory = fast()
    (job,) = memory.jobs()
    assert (job.state, job.attempts, job.faults) == ("waiting", 0, 0)
    assert failing(memory) == {}
    assert memory.doctor().ok
