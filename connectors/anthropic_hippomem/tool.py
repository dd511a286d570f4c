"""The files as a tool of the anthropic SDK, for its tool runner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropic_hippomem.files import MemoryFileError, MemoryFiles
from hippomem import MissingDependencyError

if TYPE_CHECKING:
    from anthropic.lib.tools import BetaAbstractMemoryTool


def memory_tool(files: MemoryFiles) -> BetaAbstractMemoryTool:
    """The tool to hand to `client.beta.messages.tool_runner(tools=[…])`. What goes wrong becomes a result with
    `is_error`. Raises MissingDependencyError where the SDK is not installed.
    """
    try:
        from anthropic.lib.tools import BetaAbstractMemoryTool, ToolError
    except ImportError as error:
        raise MissingDependencyError("anthropic", "anthropic") from error

    class MemoryTool(BetaAbstractMemoryTool):
        def execute(self, command: Any) -> str:
            try:
                return files.run(command.model_dump())
            except MemoryFileError as error:
                raise ToolError(str(error)) from error

        view = create = str_replace = insert = delete = rename = execute

        def clear_all_memory(self) -> str:
            return files.clear()

    return MemoryTool()
