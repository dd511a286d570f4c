"""Calls of extraction that do not end as they began: what they are about is forgotten or refused, a budget is spent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import BaseMessage
from openai_server import completion, openai_server

from hippomem import Budget, InvalidInputError, Memory, Settings
from hippomem import extracting as step_module
from hippomem.testing import PLAIN_PASSAGE, ScriptedChatModel

Opened = Callable[..., Memory]


class RefusedError(Exception):
    """As a provider's package raises it, with what it was sent in the message."""

    status_code = 400


def read(messages: list[BaseMessage]) -> str:
    """Says of each passage that it tells its text."""
    asked = json.loads(messages[-1].text)
    own = [
        {"number": p.get("number"), "entities": [], "triples": [[p["title"] or "It", "tells", p["text"]]]}
        for p in asked.get("passages", [asked])
    ]
    return json.dumps({"passages": own} if "passages" in asked else own[0])


def traces(folder: Path, word: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and word in path.read_bytes()]


def test_what_is_forgotten_while_it_is_read_leaves_no_answer(fast: Opened, tmp_path: Path) -> None:
    def answer(messages: list[BaseMessage]) -> str:
        memory.forget(event.id)
        return read(messages)

    memory = fast(llm=ScriptedChatModel(answers=answer))
    event = memory.add("Zebulon owes Bea a boat.", title="Zebulon")
    counts = memory.consolidate()["extract"].counts
    assert (counts["passages"], counts["triples"]) == (0, 0)
    memory.close()
    assert traces(tmp_path, b"Zebulon") == []
    assert fast().doctor().ok


def test_a_refused_call_for_several_passages_is_not_the_end_of_all(
    fast: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_module, "FIRST_PAUSE", 0.0)
    refused = []

    def answer(messages: list[BaseMessage]) -> str:
        if "Zebulon" in messages[-1].text:
            refused.append(messages)
            raise RefusedError(messages[-1].text)
        return read(messages)

    memory = fast(llm=ScriptedChatModel(answers=answer))
    events = [memory.add(f"{name} owes Bea a boat.", title=name) for name in ("Zebulon", "Ines", "Oskar")]
    report = memory.consolidate(budget=Budget(units=3))
    assert (report["extract"].counts["retried"], report["extract"].counts["dead"]) == (3, 0)
    memory.forget(events[0].id)  # the others' reason quotes it
    assert {job.reason for job in memory.jobs()} == {None}
    assert traces(tmp_path, b"Zebulon") == []
    again = memory.add("Zebulon owes Bea a boat.", title="Zebulon")
    memory.consolidate()
    assert {job.passage_id: job.state for job in memory.jobs()} == {
        again.id: "dead",
        events[1].id: "done",
        events[2].id: "done",
    }
    assert len(refused) == 2


def test_a_call_that_tells_whether_all_are_refused_is_in_the_ledger_before_it_is_made(fast: Opened) -> None:
    def answer(messages: list[BaseMessage]) -> str:
        if PLAIN_PASSAGE["text"] in messages[-1].text:
            seen.append(calls())
            return read(messages)
        raise RefusedError("no")

    def calls() -> list[int]:
        with fast() as other:
            (told,) = other.stats()["chat_models"]
        return [told[f"{outcome}_calls"] for outcome in ("answered", "failed", "open", "lost")]

    seen: list[list[int]] = []
    memory = fast(llm=ScriptedChatModel(answers=answer))
    memory.add("Zebulon owes Bea a boat.", title="Zebulon")
    memory.consolidate()
    assert seen == [[0, 0, 1, 1]]  # a process that is killed now leaves that it was asked
    assert calls() == [1, 1, 0, 0]


def test_what_is_forgotten_while_it_is_refused_is_in_no_reason(fast: Opened, tmp_path: Path) -> None:
    def answer(messages: list[BaseMessage]) -> str:
        memory.forget(events[0].id)
        raise RefusedError(messages[-1].text)

    memory = fast(llm=ScriptedChatModel(answers=answer))
    events = [memory.add(f"{name} owes Bea a boat.", title=name) for name in ("Zebulon", "Ines", "Oskar")]
    memory.consolidate(budget=Budget(units=3))
    assert [job.state for job in memory.jobs()] == ["waiting"] * 2
    assert all(job.reason for job in memory.jobs())
    assert traces(tmp_path, b"Zebulon") == []


def test_what_is_forgotten_while_others_are_asked_about_again_is_in_no_reason(
    fast: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_module, "FIRST_PAUSE", 0.0)
    found: list[list[str]] = []

    def answer(messages: list[BaseMessage]) -> str:
        if '"passages"' in messages[-1].text:
            raise RefusedError(messages[-1].text)
        if "Ines" in messages[-1].text:
            memory.forget(events[0].id)
            found.append(traces(tmp_path, b"Zebulon"))
        return read(messages)

    memory = fast(llm=ScriptedChatModel(answers=answer))
    events = [memory.add(f"{name} owes Bea a boat.", title=name) for name in ("Zebulon", "Ines", "Oskar")]
    memory.consolidate(budget=Budget(units=3))
    memory.consolidate()
    assert found == [[]]


@pytest.mark.timeout(40)  # there is room for another call in a minute
def test_a_round_does_not_wait_longer_than_its_seconds(fast: Opened) -> None:
    limits = Settings(llm_requests_per_minute=1, llm_group_chars=0)
    memory = fast(llm=ScriptedChatModel(answers=read), settings=limits)
    memory.ingest([{"text": f"Note {n} is here."} for n in range(2)])
    assert memory.consolidate(budget=Budget(units=1))["extract"].counts["passages"] == 1
    report = memory.consolidate(budget=Budget(seconds=0.5))["extract"]
    assert (report.counts["passages"], report.is_done) == (0, False)


@pytest.mark.timeout(40)
def test_tokens_of_a_budget_hold_beside_a_limit_a_minute(fast: Opened) -> None:
    chat = ScriptedChatModel(answers=read)
    memory = fast(llm=chat, settings=Settings(llm_tokens_per_minute=10, llm_group_chars=0))
    memory.ingest([{"text": f"Note {n} is here."} for n in range(2)])
    memory.consolidate(budget=Budget(units=1))  # larger than the limit, and alone
    assert not memory.consolidate(budget=Budget(tokens=5))["extract"].is_done
    assert len(chat.calls) == 1


def test_limits_hold_with_a_server_that_counts_no_tokens(fast: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai_server.completion", lambda text: {**completion(text), "usage": None})
    with openai_server('{"entities": [], "triples": []}') as server:
        own = {"llm_base_url": server.url, "llm_api_key": "key", "llm_group_chars": 0, "llm_concurrency": 1}
        memory = fast(llm="openai:test-model", settings=Settings(**own, llm_tokens_per_minute=1500))
        memory.ingest([{"text": f"Note {n} is here."} for n in range(9)])
        assert not memory.consolidate(budget=Budget(tokens=800))["extract"].is_done
        few = len(server.asked)
        assert not memory.consolidate(budget=Budget(seconds=2))["extract"].is_done
    assert 0 < few < len(server.asked) < 9


def test_counts_of_tokens_that_cannot_be(fast: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = {"prompt_tokens": 10**30, "completion_tokens": -7, "total_tokens": 1}
    monkeypatch.setattr("openai_server.completion", lambda text: {**completion(text), "usage": usage})
    with openai_server('{"entities": [], "triples": []}') as server:
        memory = fast(llm="openai:test-model", settings=Settings(llm_base_url=server.url, llm_api_key="key"))
        memory.add("Ada met Bea.")
        assert memory.consolidate()["extract"].counts["passages"] == 1
    (line,) = memory.stats()["chat_models"]
    assert (line["answered_calls"], line["input_tokens"], line["output_tokens"]) == (1, 10**9, 0)


def test_one_id_is_one_id_to_retry(fast: Opened) -> None:
    memory = fast(llm=ScriptedChatModel(answers=[RefusedError("no"), "{}"]))
    event = memory.add("Ada met Bea.")
    memory.consolidate()
    assert memory.stats()["jobs"]["dead"] == 1
    assert memory.retry_jobs(event.id) == 1
    with pytest.raises(InvalidInputError, match="passage ids"):
        memory.retry_jobs(5)  # type: ignore[arg-type]


def test_an_id_from_before_an_update_names_a_job_too(fast: Opened) -> None:
    memory = fast(llm=ScriptedChatModel(answers=[RefusedError("no"), "{}"]))
    old = memory.add("Ada met Bea.").id
    memory.update(old, "Ada met Bea twice.")
    memory.consolidate()
    assert memory.stats()["jobs"]["dead"] == 1
    assert memory.retry_jobs([old]) == 1


def test_answers_that_wait_for_the_store_when_a_round_is_stopped_are_kept(
    fast: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_module, "GRACE", 0.1)
    asked, answered = threading.Semaphore(0), threading.Event()

    def answer(messages: list[BaseMessage]) -> str:
        asked.release()
        assert answered.wait(20)
        return read(messages)

    memory = fast(llm=ScriptedChatModel(answers=answer), settings=Settings(llm_group_chars=0))
    memory.ingest([{"text": f"Note {n} is here."} for n in range(3)])
    stopping = threading.Event()
    a_round = threading.Thread(target=memory._round, args=(datetime.now(UTC), Budget(), stopping))
    a_round.start()
    assert all(asked.acquire(timeout=20) for _ in range(3))
    with fast()._store.write():
        answered.set()
        time.sleep(0.3)  # until they wait
        stopping.set()
        time.sleep(0.5)  # until nobody waits for them
    a_round.join(20)
    assert memory.stats()["jobs"]["done"] == 3
    assert memory.stats()["chat_models"][0]["answered_calls"] == 3


def test_a_scripted_model_without_more_answers_is_not_waited_for(fast: Opened) -> None:
    memory = fast(llm=GenericFakeChatModel(messages=iter([])), settings=Settings(llm_timeout=20, llm_retries=0))
    memory.add("Ada met Bea.")
    memory.consolidate(budget=Budget(units=1, seconds=5))
    (job,) = memory.jobs()
    assert (job.attempts, job.faults) == (0, 0)
    assert "no more answers" in str(job.reason)


@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize(("end", "told"), [("length", "cut off"), ("content_filter", "content filter")])
def test_an_answer_that_was_cut_off_is_told_and_one_about_several_is_asked_for_again(
    fast: Opened, monkeypatch: pytest.MonkeyPatch, end: str, told: str, structured: bool
) -> None:
    def cut(text: str) -> dict[str, Any]:
        whole = completion(text)
        whole["choices"][0]["finish_reason"] = end if text.count("{") > text.count("}") else "stop"
        return whole

    monkeypatch.setattr("openai_server.completion", cut)
    monkeypatch.setattr(step_module, "FIRST_PAUSE", 0.0)
    first = {"number": 1, "entities": ["Ada"], "triples": [["Ada", "met", "Bea"]]}
    several = json.dumps({"passages": [first, {"number": 2, "entities": ["Cid"], "triples": []}]})
    alone = json.dumps({"entities": ["Cid"], "triples": [["Cid", "met", "Dan"], ["Cid", "met", "Eve"]]})
    with openai_server(
        several[: several.index(', "triples": []')], alone[: alone.index(', ["Cid", "met", "Eve"')]
    ) as server:
        own = Settings(llm_base_url=server.url, llm_api_key="key", llm_structured=structured)
        memory = fast(llm="openai:test-model", settings=own)
        memory.ingest([{"text": "Ada met Bea."}, {"text": "Cid met Dan. Cid met Eve."}])
        part = memory.consolidate()["extract"]
    assert (part.counts["passages"], part.counts["triples"], part.counts["retried"]) == (2, 2, 1)
    assert [told in note for note in part.notes] == [True]
    assert part.usage.calls == len(server.asked)
