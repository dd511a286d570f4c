"""Recognition: what the chat model finds to bear on the question rises."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from hippomem import Memory, ModelError
from hippomem.recognise import LOOKED_AT
from hippomem.testing import ScriptedChatModel

Opened = Callable[..., Memory]


def filled(memory: Memory) -> Memory:
    for number in range(30):
        memory.add(f"On day {number} the harbour of Bergen was cold, and ship {number} lay there.")
    return memory


def test_what_is_recognised_rises_and_nothing_is_lost(fast: Opened) -> None:
    asked: list[dict[str, Any]] = []

    def answer(messages: list[BaseMessage]) -> str:
        asked.append(json.loads(messages[-1].text))
        return 'Those: {"relevant": [4, "15", 2, 22, 99, "three", true, -1]}'

    memory = filled(fast(llm=ScriptedChatModel(answers=answer)))
    plain = memory.recall("What lay in the harbour of Bergen?", 25)
    found = memory.recall("What lay in the harbour of Bergen?", 25, recognise=True)
    order = [p.id for p in plain.passages]
    assert [p.id for p in found.passages] == [order[n - 1] for n in (2, 4, 1, 3, 5, 15, *range(6, 15), *range(16, 26))]
    assert found.passages[0].why[0] == "the chat model recognised it"
    assert (found.usage.calls, len(asked), len(asked[0]["candidates"])) == (1, 1, LOOKED_AT)
    few = memory.recall("What lay in the harbour of Bergen?", 1, recognise=True)
    assert [p.id for p in few.passages] == [order[1]]
    assert {path.passage_id for path in few.paths} <= {order[1]}
    assert found.timings["recognise"] > 0
    assert memory.stats()["chat_models"][0]["purpose"] == "recognise"


@pytest.mark.parametrize("answer", [ValueError("no"), "no JSON", '{"relevant": 3}'])
def test_a_fault_is_a_warning(fast: Opened, answer: Any) -> None:
    memory = filled(fast(llm=ScriptedChatModel(answers=[answer])))
    found = memory.recall("harbour of Bergen", 3, recognise=True)
    assert [p.id for p in found.passages] == [p.id for p in memory.recall("harbour of Bergen", 3).passages]
    assert found.warnings[0].startswith("nothing recognised: ")


def test_with_nothing_to_choose_from_nobody_is_asked(fast: Opened) -> None:
    memory = fast(llm=ScriptedChatModel(answers=[]))
    assert memory.recall("Anything?", recognise=True).passages == ()
    memory.add("One thing.")
    assert len(memory.recall("Anything?", recognise=True).passages) == 1
    with pytest.raises(ModelError, match="HIPPOMEM_LLM"):
        fast().recall("Anything?", recognise=True)


@pytest.mark.parametrize("way", ["recognise", "decompose", "iterative"])
def test_what_was_only_looked_over_comes_back_from_nowhere(fast: Opened, way: str) -> None:
    memory = filled(fast(llm=ScriptedChatModel(answers=lambda _: '{"sub_questions": ["Which ship?"], "relevant": []}')))
    (found,) = memory.recall("harbour of Bergen", 1, **{way: True}).passages  # type: ignore[arg-type]
    texts = [passage.text for passage in memory.passages()]
    assert [text for text in texts if not memory.add(text, session="one").created] == [found.text]
