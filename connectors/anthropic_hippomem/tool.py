"""The files as a tool of the anthropic SDK, for its tool runners."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from anthropic_hippomem.files import MemoryFileError, MemoryFiles
from hippomem import MissingDependencyError

if TYPE_CHECKING:
    from anthropic.lib.tools import BetaAbstractMemoryTool, BetaAsyncAbstractMemoryTool


def memory_tool(files: MemoryFiles) -> BetaAbstractMemoryTool:
    """The tool to hand to `client.beta.messages.tool_runner(tools=[…])` of an `Anthropic` client. What goes wrong
    becomes a result with `is_error`. Raises MissingDependencyError where the SDK is not installed.
    """
    try:
        from anthropic.lib.tools import BetaAbstractMemoryTool
    except ImportError as error:
        raise MissingDependencyError("anthropic", "anthropic") from error

    class MemoryTool(BetaAbstractMemoryTool):
        def execute(self, command: Any) -> str:
            return _run(files, command)

        view = create = str_replace = insert = delete = rename = execute

        def clear_all_memory(self) -> str:
            return files.clear()

    return MemoryTool()


def async_memory_tool(files: MemoryFiles) -> BetaAsyncAbstractMemoryTool:
    """As `memory_tool`, for the tool runner of an `AsyncAnthropic` client; the commands run on threads."""
    try:
        from anthropic.lib.tools import BetaAsyncAbstractMemoryTool
    except ImportError as error:
        raise MissingDependencyError("anthropic", "anthropic") from error

    class AsyncMemoryTool(BetaAsyncAbstractMemoryTool):
        async def execute(self, command: Any) -> str:
            return await asyncio.to_thread(_run, files, command)

        view = create = str_replace = insert = delete = rename = execute

        async def clear_all_memory(self) -> str:
            return await asyncio.to_thread(files.clear)

    return AsyncMemoryTool()


def _run(files: MemoryFiles, command: Any) -> str:
    from anthropic.lib.tools import ToolError

    try:
        return files.run(command.model_dump(warnings=False))  # what a model sent, whatever it is: `run` checks it
    except MemoryFileError as error:
        raise ToolError(str(error)) from error
