"""What the frameworks cost by themselves: the same calls, to things of theirs that do nothing. Needs them installed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import StructuredTool
from langgraph.store.base import BaseStore, Op, Result
from llama_index.core.retrievers import BaseRetriever as NodeRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.types import CallToolResult, TextContent

Ask = Callable[[str], object]


class _Retriever(BaseRetriever):
    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:  # noqa: ARG002
        return []


class _Nodes(NodeRetriever):
    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:  # noqa: ARG002
        return []


class _Store(BaseStore):
    def batch(self, ops: Iterable[Op]) -> list[Result]:
        return [[] for _ in ops]

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return self.batch(ops)


def _nothing(query: str, k: int | None = None) -> tuple[str, dict[str, Any]]:  # noqa: ARG001
    """Nothing."""
    return "", {}


def _result(query: str, k: int | None = None) -> CallToolResult:  # noqa: ARG001
    """Nothing."""
    return CallToolResult(content=[TextContent(type="text", text="")], structured_content={})


def over_mcp(server: MCPServer[Any]) -> Ask:
    """Ask by way of a client in the same process."""
    loop = asyncio.new_event_loop()
    client = Client(server)
    loop.run_until_complete(client.__aenter__())
    return lambda question: loop.run_until_complete(client.call_tool("recall", {"query": question}))


def empty_ways() -> dict[str, Ask]:
    """By connector, a call of its framework that finds nothing at once."""
    server: MCPServer[Any] = MCPServer("nothing", log_level="WARNING")
    server.add_tool(_result, "recall")
    retriever, nodes, store = _Retriever(), _Nodes(), _Store()
    tool = StructuredTool.from_function(_nothing, name="recall", response_format="content_and_artifact")
    return {
        "langchain_hippomem retriever": retriever.invoke,
        "langchain_hippomem tool": lambda q: tool.invoke({"query": q}),
        "langgraph_hippomem": lambda q: store.search(("notes",), query=q),
        "llama_index_hippomem": lambda q: nodes.retrieve(QueryBundle(q)),
        "hippomem_mcp, with a client": over_mcp(server),
    }
