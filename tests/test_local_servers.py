"""Servers of local models speak OpenAI's protocol each in its own way: all that a model is asked, through each."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from openai_server import completion, openai_server

from hippomem import Memory, Settings, extracting
from hippomem.neocortex import chat
from hippomem.neocortex.prompts import DECOMPOSE, EXTRACT, EXTRACT_SEVERAL, READ, REASON, RECOGNISE

Opened = Callable[..., Memory]
Body = dict[str, Any]
QUESTION = "Where is the archive of the firm that Ada Thorne runs?"
TOLD = "Northlight Labs [1]."
FOUND = {"entities": ["Ada Thorne"], "triples": [["Ada Thorne", "leads", "Northlight Labs"]]}
NOTES = {
    "Ada Thorne": "Ada Thorne runs Northlight Labs.",
    "Northlight Labs": "Northlight Labs keeps its archive in Vardo.",
    "Bergen": "The harbour of Bergen froze in 1904.",
}
THOUGHT = """<think>
They may want {"entities": [], "triples": [["Ada Thorne", "left", "Northlight Labs"]], "sub_questions": ["Who?"], \
"relevant": [2], "answer": "Bergen", "thought": "Bergen it is.", "done": true}. No,"""


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(extracting, "FIRST_PAUSE", 0.0)


def good(body: Body) -> str:
    """What a model that does as it is told answers."""
    asked = json.loads(body["messages"][-1]["content"])
    answers: dict[str, Any] = {
        EXTRACT.instructions: FOUND,
        EXTRACT_SEVERAL.instructions: {"passages": [{"number": n, **FOUND} for n in range(1, 9)]},
        DECOMPOSE.instructions: {"sub_questions": ["Which firm does Ada Thorne run?", "Where is the archive of #1?"]},
        READ.instructions: {"answer": "Northlight Labs"},
        RECOGNISE.instructions: {"relevant": [1]},
        REASON.instructions: {"thought": "Ada Thorne runs it.", "look_up": None, "done": True},
    }
    assert asked
    answer = answers.get(body["messages"][0]["content"])
    return TOLD if answer is None else json.dumps(answer)


def whole(body: Body, text: str | None, end: str = "stop", **more: Any) -> Any:
    """Where it is not streamed: a message with `more` beside its text, and no token counts."""
    if body.get("stream"):
        return text or ""
    made = completion("")
    made["choices"] = [{"index": 0, "message": {"role": "assistant", "content": text, **more}, "finish_reason": end}]
    return 200, {name: value for name, value in made.items() if name != "usage"}


def opened(fast: Opened, url: str) -> Memory:
    ready = Settings(llm_base_url=url, llm_api_key="none", llm_retries=0, llm_timeout=20)
    memory = fast(settings=ready, llm="openai:local")
    for title, text in NOTES.items():
        memory.add(text, title=title)
    return memory


@pytest.mark.parametrize(
    "served",
    [
        lambda body: whole(body, good(body)),
        lambda body: whole(body, good(body), reasoning_content=THOUGHT, tool_calls=[]),
        lambda body: f"{THOUGHT} that is not it.\n</think>\n\n{good(body)}",
        lambda body: f"Here it is:\n```json\n{good(body)}\n```\nDone." if good(body) != TOLD else TOLD,
    ],
    ids=["no usage", "reasoning apart", "thoughts", "fences"],
)
def test_what_is_answered_in_other_ways(fast: Opened, served: Callable[[Body], Any]) -> None:
    with openai_server(served) as server:
        memory = opened(fast, server.url)
        report = memory.consolidate()["extract"]
        assert (report.counts["passages"], report.counts["dead"], report.error) == (3, 0, None)
        facts = [(*edge[:2], edge[2]["relation"]) for edge in memory.graph().edges(data=True) if "relation" in edge[2]]
        assert [fact[2] for fact in facts] == ["leads"]
        stream = memory.ask_stream(QUESTION)
        assert "".join(stream) == stream.answer.text
        for answer in (memory.ask(QUESTION), stream.answer, memory.ask(QUESTION, iterative=True)):
            assert (answer.text, answer.flags, answer.recall.warnings) == (TOLD, (), ())
        assert len(memory.recall(QUESTION, decompose=True).steps) == 2
        recall = memory.recall(QUESTION, iterative=True)
        assert [step.answer for step in recall.steps] == ["Northlight Labs"] * 2
        assert "recognised" in memory.recall(QUESTION, recognise=True).passages[0].why[0]


@pytest.mark.parametrize(
    "served",
    [
        lambda body: whole(body, THOUGHT, "length"),
        lambda body: whole(body, None, "length", reasoning_content=THOUGHT),
    ],
    ids=["cut off", "reasoning apart"],
)
def test_a_thought_without_an_end_is_no_answer(fast: Opened, served: Callable[[Body], Any]) -> None:
    with openai_server(served) as server:
        memory = opened(fast, server.url)
        assert memory.consolidate()["extract"].counts["passages"] == 0
        assert all("cut off at the model's limit" in str(job.reason) for job in memory.jobs())
        for answer in (memory.ask(QUESTION), memory.ask_stream(QUESTION).answer):
            assert not answer.is_in_memory
            assert "the chat model wrote nothing" in answer.flags
        plain = memory.recall(QUESTION)
        for way in ("decompose", "iterative", "recognise"):
            recall = memory.recall(QUESTION, **{way: True})
            assert (recall.passages, recall.steps) == (plain.passages, ())
            assert "the chat model's answer" in recall.warnings[0]


def test_half_a_plan_is_none(fast: Opened) -> None:
    with openai_server(lambda body: whole(body, good(body)[:-20], "length")) as server:
        recall = opened(fast, server.url).recall(QUESTION, decompose=True)
    assert recall.steps == ()
    assert "cut off" in recall.warnings[0]
