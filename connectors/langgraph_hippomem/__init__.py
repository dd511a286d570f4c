"""hippomem as a LangGraph store: items by namespace and key, found again by what they mean.

from hippomem import Memory
from langgraph_hippomem import HippomemStore

store = HippomemStore(Memory.open("agent.db"))
store.put(("memories", "ada"), "coffee", {"text": "Ada takes her coffee black."})
store.search(("memories", "ada"), query="What does Ada drink?")
"""

from hippomem import MissingDependencyError

try:
    import langgraph.store.base  # noqa: F401
except ImportError as error:
    raise MissingDependencyError("langgraph", "langgraph") from error

from langgraph_hippomem.store import HippomemStore

__all__ = ["HippomemStore"]
