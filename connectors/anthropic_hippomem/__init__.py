"""The backend of Anthropic's memory tool (`memory_20250818`): its files live in a memory, and recall finds them too.

from hippomem import Memory
from anthropic_hippomem import MemoryFiles, async_memory_tool, memory_tool

files = MemoryFiles(Memory.open("agent.db"))
text = files.run({"command": "view", "path": "/memories"})   # for a loop of your own
tool = memory_tool(files)                                     # for client.beta.messages.tool_runner(tools=[tool])
tool = async_memory_tool(files)                               # the same for an AsyncAnthropic client
"""

from anthropic_hippomem.files import MemoryFileError, MemoryFiles
from anthropic_hippomem.tool import async_memory_tool, memory_tool

__all__ = ["MemoryFileError", "MemoryFiles", "async_memory_tool", "memory_tool"]
