"""The tools that an agent gets of a memory, defined once for every framework, and as OpenAI-style function schemas.

from hippomem import Memory
from hippomem_tools import Toolbox

box = Toolbox(Memory.open("agent.db"))
schemas = box.schemas()                      # for `tools=` of a chat completion
message = box.answer(tool_call)              # for each call: the message that goes back to the model
"""

from hippomem_tools.asking import as_query, more_and_more
from hippomem_tools.forgetting import forget_all
from hippomem_tools.given import checked_memory
from hippomem_tools.toolbox import Result, Toolbox, faults

__all__ = ["Result", "Toolbox", "as_query", "checked_memory", "faults", "forget_all", "more_and_more"]
