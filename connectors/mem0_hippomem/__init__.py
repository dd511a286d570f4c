"""mem0's `Memory` on hippomem: a program written for mem0 runs with one changed import.

from mem0_hippomem import Memory             # was: from mem0 import Memory

memory = Memory()
memory.add("I am allergic to walnuts.", user_id="oskar")
memory.search("What must Oskar not eat?", filters={"user_id": "oskar"})
"""

from mem0_hippomem.asynchronous import AsyncMemory
from mem0_hippomem.memory import Memory

__all__ = ["AsyncMemory", "Memory"]
