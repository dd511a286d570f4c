"""A memory as LangChain tools."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool, ToolException

from hippomem import HippomemError, Memory
from hippomem_tools import Toolbox, faults


def memory_tools(memory: Memory | Toolbox, names: Iterable[str] = ("remember", "recall", "forget")) -> list[BaseTool]:
    """Tools for an agent: those named, of `remember`, `recall`, `ask`, `feedback`, `forget`, `consolidate`, `stats`.

    A Toolbox in place of the memory says for which session they are, and learns from answers. What goes wrong is told
    to the model as the tool's answer. Raises NotFoundError for a tool that there is not.
    """
    box = memory if isinstance(memory, Toolbox) else Toolbox(memory)
    return [_tool(box, schema["function"]) for schema in box.schemas(names)]


def _tool(box: Toolbox, schema: dict[str, Any]) -> BaseTool:
    name = schema["name"]

    def run(*alone: str, **arguments: Any) -> tuple[str, dict[str, Any]]:  # alone: `tool.invoke("a text")`
        try:
            result = box.tools[name](*alone, **arguments)
        except HippomemError as error:
            raise ToolException(f"Error: {error}") from error
        return result.text, result.data

    async def run_async(*alone: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
        return await asyncio.to_thread(run, *alone, **arguments)

    return StructuredTool(
        name=name,
        description=inspect.cleandoc(schema["description"]),
        args_schema=box.arguments[name],
        func=run,
        coroutine=run_async,
        response_format="content_and_artifact",
        handle_tool_error=True,
        handle_validation_error=lambda error: f"Error: arguments of {name}: {faults(error)}",
    )
