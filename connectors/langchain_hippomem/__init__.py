"""hippomem for LangChain: a retriever, tools for an agent, and feedback from what its answers cite.

from hippomem import Memory
from langchain_hippomem import HippomemRetriever, memory_tools

memory = Memory.open("agent.db")
documents = HippomemRetriever(memory=memory, k=3).invoke("Where does Ada live?")
tools = memory_tools(memory)                 # remember, recall, forget
"""

from langchain_hippomem.feedback import CitationFeedback
from langchain_hippomem.retriever import HippomemRetriever
from langchain_hippomem.tools import memory_tools

__all__ = ["CitationFeedback", "HippomemRetriever", "memory_tools"]
