"""hippomem for LlamaIndex: a retriever for query and chat engines, and a memory block for its `Memory`.

from hippomem import Memory
from llama_index.core.memory import Memory as ChatMemory
from llama_index_hippomem import HippomemMemoryBlock, HippomemRetriever

memory = Memory.open("agent.db")
nodes = HippomemRetriever(memory, k=3).retrieve("Where does Ada live?")
chat = ChatMemory.from_defaults(memory_blocks=[HippomemMemoryBlock(memory=memory)])
"""

from hippomem import MissingDependencyError

try:
    import llama_index.core  # noqa: F401
except ImportError as error:
    raise MissingDependencyError("llama-index-core", "llama-index") from error

from llama_index_hippomem.block import HippomemMemoryBlock
from llama_index_hippomem.retriever import HippomemRetriever

__all__ = ["HippomemMemoryBlock", "HippomemRetriever"]
