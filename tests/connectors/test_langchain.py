"""LangChain's own suites for retrievers and tools, as they are, and what they do not ask."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_tests.integration_tests import RetrieversIntegrationTests, ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from hippomem import InvalidInputError, Memory, NotFoundError, Triple
from hippomem_tools import Toolbox
from langchain_hippomem import CitationFeedback, HippomemRetriever, memory_tools

pytestmark = pytest.mark.anyio


class TestRetriever(RetrieversIntegrationTests):
    """As published, on a real memory."""

    @pytest.fixture(autouse=True)
    def _memory(self, memory: Memory) -> None:
        self.memory = memory

    @property
    def retriever_constructor(self) -> type[HippomemRetriever]:
        return HippomemRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"memory": self.memory}

    @property
    def retriever_query_example(self) -> str:
        return "In which town is the archive of Ada Thorne's firm?"


EXAMPLES: dict[str, dict[str, Any]] = {
    "remember": {"text": "Oskar Holm pays on Fridays.", "title": "Oskar Holm"},
    "recall": {"query": "Who keeps bees?", "k": 2},
    "forget": {"target": "docs/bea.md"},
}


class OfTool:
    """What the suites ask for. They are as published, on a real memory."""

    name = ""

    @pytest.fixture(autouse=True)
    def _memory(self, memory: Memory) -> None:
        self.memory = memory

    @property
    def tool_constructor(self) -> Any:
        (tool,) = memory_tools(self.memory, [self.name])
        return tool

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return EXAMPLES[self.name]


class TestRememberUnit(OfTool, ToolsUnitTests):
    name = "remember"


class TestRemember(OfTool, ToolsIntegrationTests):
    name = "remember"


class TestRecallUnit(OfTool, ToolsUnitTests):
    name = "recall"


class TestRecall(OfTool, ToolsIntegrationTests):
    name = "recall"


class TestForgetUnit(OfTool, ToolsUnitTests):
    name = "forget"


class TestForget(OfTool, ToolsIntegrationTests):
    name = "forget"


def test_documents_tell_what_the_passages_tell(memory: Memory) -> None:
    (document,) = HippomemRetriever(memory=memory, k=1).invoke("Who keeps bees?")
    (passage,) = memory.recall("Who keeps bees?", 1).passages
    assert isinstance(document, Document)
    assert (document.id, document.page_content) == (passage.id, passage.text)
    assert document.metadata["kind"] == "bees"
    assert document.metadata["source"] == "docs/bea.md"
    assert document.metadata["score"] == passage.score
    assert passage.recorded_at is not None
    assert document.metadata["recorded_at"] == passage.recorded_at.isoformat()


async def test_all_arguments_of_recall_pass_through(memory: Memory) -> None:
    retriever = HippomemRetriever(memory=memory, source="docs/")
    assert {d.metadata["source"] for d in await retriever.ainvoke("bees")} == {"docs/bea.md", "docs/bergen.md"}
    assert [d.metadata["session"] for d in retriever.invoke("bees", source=None, session="monday")] == ["monday"]
    assert len(HippomemRetriever(memory=memory, k=1, method="dense").invoke("bees", k=2)) == 2
    over = Triple("Cid Moe", "keeps", "goats", invalid_at=datetime(2020, 1, 1, tzinfo=UTC))
    memory.add("Cid Moe keeps goats.", source="docs/cid.md", triples=[over])
    for deep, number in ((False, 0), (True, 1)):
        assert len(HippomemRetriever(memory=memory, source="docs/cid.md", deep=deep).invoke("goats")) == number
    with pytest.raises(InvalidInputError, match="query is empty"):
        retriever.invoke(" ")


def test_any_message_can_be_the_query(memory: Memory) -> None:
    retriever = HippomemRetriever(memory=memory, k=1)
    for query in ("word " * 5000 + "Who keeps bees?", "Who keeps\0 bees?\ud800"):
        assert [d.page_content for d in retriever.invoke(query)] == ["Bea Lind keeps bees in Bergen."]


def test_tools_give_the_schema_of_a_function(memory: Memory) -> None:
    tools = memory_tools(memory)
    assert [tool.name for tool in tools] == ["remember", "recall", "forget"]
    box = Toolbox(memory)
    for tool in tools:
        schema = convert_to_openai_tool(tool)["function"]
        (own,) = box.schemas([tool.name])
        assert schema["description"] == own["function"]["description"]
        assert schema["parameters"]["required"] == own["function"]["parameters"]["required"]
        assert set(schema["parameters"]["properties"]) == set(own["function"]["parameters"]["properties"])
    with pytest.raises(NotFoundError):
        memory_tools(memory, ["dream"])


def test_the_last_answer_of_an_agent_is_feedback(memory: Memory) -> None:
    box = Toolbox(memory)
    box.recall("Who keeps bees?")
    (bea,) = memory.recall("Who keeps bees?", 1).passages
    call = {"name": "recall", "args": {"query": "bees"}, "id": "1", "type": "tool_call"}
    script = [AIMessage(f"First I look [{bea.id[:8]}].", tool_calls=[call]), AIMessage(f"Bea does [{bea.id[:8]}].")]
    model = GenericFakeChatModel(messages=iter(script), callbacks=[CitationFeedback(box)])
    model.invoke("Who keeps bees?")
    assert memory.stats()["learned"] == 0
    model.invoke("Who keeps bees?")
    assert memory.stats()["learned"] == 1


def test_what_was_remembered_is_forgotten_by_its_handle(memory: Memory) -> None:
    remember, _, forget = memory_tools(memory)
    told = remember.invoke({"text": "Oskar Holm pays on Fridays."})
    assert forget.invoke({"target": told.removeprefix("Remembered as ").rstrip(".")}) == "Forgotten: 1."


async def test_a_tool_tells_the_model_what_went_wrong(memory: Memory) -> None:
    remember, recall, forget = memory_tools(memory)
    assert "no memory and no source" in forget.invoke({"target": "nothing"})
    assert "text is empty" in await remember.ainvoke({"text": ""})
    message = recall.invoke({"name": "recall", "args": {"k": 0}, "id": "1", "type": "tool_call"})
    assert message.status == "error"
    assert message.content.startswith("Error: arguments of recall: query: Field required; k: Input should be gr")


async def test_a_tool_takes_a_text_alone(memory: Memory) -> None:
    (recall,) = memory_tools(memory, ["recall"])
    assert "Bea Lind keeps bees" in recall.invoke("Who keeps bees?")
    assert "Bea Lind keeps bees" in await recall.ainvoke("Who keeps bees?")


def test_a_retriever_passes_over_no_argument(memory: Memory) -> None:
    with pytest.raises(ValueError, match="search_kwargs"):
        HippomemRetriever(memory=memory, search_kwargs={"k": 1})  # type: ignore[call-arg]


def test_neighbours_come_with_a_document(fast: Callable[..., Memory]) -> None:
    memory = fast()
    for text in ("Ada came in.", "She asked for walnuts.", "Bea had none."):
        memory.add(text, session="shop")
    retriever = HippomemRetriever(memory=memory, k=1)
    (found,) = retriever.invoke("walnuts", context=1)
    assert (found.metadata["before"], found.metadata["after"]) == (["Ada came in."], ["Bea had none."])
    assert "before" not in retriever.invoke("walnuts")[0].metadata
