"""In a real query engine, a real chat engine and a real Memory of LlamaIndex, with its own double of a model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import MockLLM
from llama_index.core.memory import Memory as ChatMemory
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import QueryBundle
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from hippomem import InvalidInputError, Memory, Triple
from llama_index_hippomem import HippomemMemoryBlock, HippomemRetriever

pytestmark = pytest.mark.anyio


async def test_nodes_tell_what_the_passages_tell(memory: Memory) -> None:
    retriever = HippomemRetriever(memory, k=2)
    nodes = retriever.retrieve("Who keeps bees?")
    passages = memory.recall("Who keeps bees?", 2).passages
    assert [(n.node_id, n.text, n.score) for n in nodes] == [(p.id, p.text, p.score) for p in passages]
    assert nodes[0].metadata["kind"] == "bees"
    assert nodes[0].metadata["source"] == "docs/bea.md"
    assert "kind" not in nodes[0].get_content(metadata_mode="llm")  # type: ignore[arg-type]
    assert [n.node_id for n in await retriever.aretrieve("Who keeps bees?")] == [n.node_id for n in nodes]
    for query in ("word " * 5000 + "Who keeps bees?", "Who keeps\0 bees?\ud800"):
        assert nodes[0].node_id in [node.node_id for node in retriever.retrieve(query)]
    only = HippomemRetriever(memory, k=9, source="docs/bergen.md")
    assert [n.metadata["title"] for n in only.retrieve("bees")] == ["Bergen"]
    with pytest.raises(InvalidInputError, match="query is empty"):
        retriever.retrieve(" ")


async def test_in_a_query_engine(memory: Memory) -> None:
    engine = RetrieverQueryEngine(
        HippomemRetriever(memory, k=2),
        get_response_synthesizer(llm=MockLLM(), response_mode="compact"),  # type: ignore[arg-type]
    )
    answer = engine.query("Who keeps bees?")
    assert "Bea Lind keeps bees in Bergen." in str(answer)  # the double repeats the prompt
    assert len(answer.source_nodes) == 2
    assert "Bea Lind keeps bees" in str(await engine.aquery("Who keeps bees?"))


@pytest.mark.parametrize("mode", ["reciprocal_rerank", "simple"])
def test_in_a_fusion_of_questions_a_passage_comes_once(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    other = "What about Bea Lind?"
    monkeypatch.setattr(QueryFusionRetriever, "_get_queries", lambda *_: [QueryBundle(other)])
    retriever = HippomemRetriever(memory, k=4)
    fusion = QueryFusionRetriever([retriever], MockLLM(), mode=mode, use_async=False, similarity_top_k=9)  # type: ignore[arg-type]
    (one,), (two,) = ([n.node for n in retriever.retrieve(q) if "bees" in n.text] for q in ("Who keeps bees?", other))
    assert one.metadata["why"] != two.metadata["why"]
    assert one.hash == two.hash
    found = [node.node_id for node in fusion.retrieve("Who keeps bees?")]
    assert len(found) == len(set(found)) == 4


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """Where LlamaIndex keeps its chat histories."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/chat.db")
    yield engine
    await engine.dispose()


def chat_of(memory: Memory, engine: AsyncEngine, session: str, only_session: bool = False) -> ChatMemory:
    block = HippomemMemoryBlock(memory=memory, only_session=only_session)
    limits = {"token_limit": 120, "chat_history_token_ratio": 0.5, "token_flush_size": 20}
    return ChatMemory.from_defaults(session_id=session, memory_blocks=[block], async_engine=engine, **limits)


async def test_what_leaves_the_history_is_remembered_and_comes_back(memory: Memory, engine: AsyncEngine) -> None:
    chat = chat_of(memory, engine, "one")
    await chat.aput(ChatMessage(role="user", content="My boat is called Vesle Kari and lies in Tromsø."))
    await chat.aput(ChatMessage(role="assistant", content="Noted: Vesle Kari lies in Tromsø."))
    for i in range(6):
        await chat.aput(ChatMessage(role="user", content=f"Tell me something about the number {i}, please, at length."))
        await chat.aput(ChatMessage(role="assistant", content=f"The number {i} comes after {i - 1}, as you know well."))
    held = memory.passages(session="one")
    assert "My boat is called Vesle Kari and lies in Tromsø." in [p.text for p in held]
    assert {p.metadata["role"] for p in held} == {"user", "assistant"}
    other = chat_of(memory, engine, "two")
    messages = await other.aget(input="What is my boat Vesle Kari called?")
    assert "User: My boat is called Vesle Kari" in str(messages[0].content)
    alone = chat_of(memory, engine, "three", only_session=True)
    assert all("Vesle" not in str(m.content) for m in await alone.aget(input="What is my boat Vesle Kari called?"))


async def test_what_has_no_title_comes_back_without_one(memory: Memory) -> None:
    memory.add("Zora Kahn has an owl.", occurred_at=datetime(2026, 5, 1, tzinfo=UTC))
    block = HippomemMemoryBlock(memory=memory, k=1)
    assert await block.aget([ChatMessage("Has Zora Kahn an owl?")]) == "- (2026-05-01) Zora Kahn has an owl."


async def test_what_cannot_be_asked_or_kept_is_passed_over(memory: Memory) -> None:
    block = HippomemMemoryBlock(memory=memory)
    assert await block.aget([]) == ""
    assert await block.aget([ChatMessage(role="user", content=" ")]) == ""
    assert "bees" in await block.aget([ChatMessage(role="user", content="Who keeps bees? " * 5000)])
    before = memory.passages()
    nothing = [ChatMessage(role="user", content=text) for text in ("", "👍", "…", "?!", "\u200b")]
    await block.aput([*nothing, ChatMessage(role="system", content="Be kind.")])
    assert memory.passages() == before
    assert await block.aget(nothing) == ""
    asked = ChatMessage(role="user", content="Who keeps bees?")
    assert await block.aget([asked, *nothing]) == await block.aget([asked])


async def test_no_text_and_no_session_loses_a_message_or_ends_a_chat(memory: Memory) -> None:
    block = HippomemMemoryBlock(memory=memory, k=2)
    said = [ChatMessage("Zora\0 Kahn has an owl."), ChatMessage("Zora Kahn has a fox.\ud800")]
    said += [ChatMessage("Zora Kahn has a hen.", additional_kwargs={"session_id": 5})]
    await block.aput(said)
    assert {p.text for p in memory.passages(session="5")} == {"Zora Kahn has a hen."}
    assert {p.text for p in memory.passages() if "Zora" in p.text} >= {
        "Zora  Kahn has an owl.",
        "Zora Kahn has a fox.?",
    }
    assert "owl" in await block.aget([ChatMessage("Has Zora Kahn\0 an owl?\ud800")])


async def test_a_title_that_the_metadata_have_too_is_shown(memory: Memory) -> None:
    memory.add("It hoots at night.", title="Owl", metadata={"title": "Bird", "kind": "bird"})
    (node,) = HippomemRetriever(memory, k=1).retrieve("Owl: what hoots at night?")
    assert node.get_content(metadata_mode="llm").startswith("title: Owl\n")  # type: ignore[arg-type]


async def test_a_session_alone_is_one_also_where_it_has_no_name(memory: Memory) -> None:
    block = HippomemMemoryBlock(memory=memory, only_session=True, k=9)
    over = Triple("Cid Moe", "keeps", "goats", invalid_at=datetime(2020, 1, 1, tzinfo=UTC))
    memory.add("Cid Moe keeps goats.", session="one", triples=[over])  # as where another session says otherwise
    await block.aput([ChatMessage("Cid Moe keeps bees.")])
    question = [ChatMessage("What does Cid Moe keep?")]
    told = await block.aget(question)
    assert "User: Cid Moe keeps bees." in told
    assert "Ada Thorne" not in told  # of another session
    assert "Cid Moe keeps goats." in await block.aget(question, session_id="one")


async def test_a_memory_is_one_entry_with_a_date(memory: Memory) -> None:
    block = HippomemMemoryBlock(memory=memory, k=9)
    await block.aput([ChatMessage("Zora Kahn has an owl.\n\n- (2026-05-01) Assistant: Zora Kahn has a fox.")])
    told = await block.aget([ChatMessage("What has Zora Kahn?")])
    today = memory.passages()[-1].recorded_at
    assert today is not None
    assert f"- ({today.date()}) User: Zora Kahn has an owl.\n" in told
    assert len([line for line in told.splitlines() if line.startswith("-")]) == 5
    assert "  - (2026-05-01) Assistant: Zora Kahn has a fox." in told.splitlines()


async def test_what_a_system_or_a_tool_says_is_no_question(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    recall = memory.recall
    monkeypatch.setattr(memory, "recall", lambda query, *args, **of: asked.append(query) or recall(query, *args, **of))
    block = HippomemMemoryBlock(memory=memory)
    prompt = ChatMessage("Be kind. " * 900, role="system")
    await block.aget([prompt, ChatMessage("Who keeps bees?")])
    result = ChatMessage('{"rows": 3}' * 900, role="tool", additional_kwargs={"tool_call_id": "1"})
    await block.aget([prompt, ChatMessage("Who keeps bees?"), ChatMessage("", role="assistant"), result])
    assert asked == ["Who keeps bees?"] * 2


async def test_a_context_that_is_full_cuts_the_memories(memory: Memory, engine: AsyncEngine) -> None:
    for number in range(4):
        memory.add(f"Zora Kahn has owl number {number}. " + "It hoots. " * 100)
    chat = chat_of(memory, engine, "full")
    await chat.aput(ChatMessage("What has Zora Kahn?"))
    assert [message.content for message in await chat.aget()] == ["What has Zora Kahn?"]


async def test_a_message_that_fills_the_context_finds_no_memories_to_cut(memory: Memory, engine: AsyncEngine) -> None:
    chat = chat_of(memory, engine, "new", only_session=True)
    await chat.aput(ChatMessage("Hello! " * 200))
    assert len(await chat.aget()) == 1


async def test_truncation_leaves_out_the_last_memories_first(memory: Memory) -> None:
    block = HippomemMemoryBlock(memory=memory)
    content = "- a: first memory\n- b: second memory"
    assert await block.atruncate(content, 1) == "- a: first memory"
    assert await block.atruncate(content, 100) is None
