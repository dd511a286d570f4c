"""A LlamaIndex chat engine that answers from a memory, and a chat history whose overflow is remembered.

The model is LlamaIndex's double, which repeats what it is given; put any LLM of LlamaIndex in its place.
"""

from pathlib import Path

from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.llms import MockLLM
from llama_index.core.memory import Memory as ChatMemory

from hippomem import Memory
from llama_index_hippomem import HippomemMemoryBlock, HippomemRetriever

NOTES = Path(__file__).parent / "brackwater" / "notes"

with Memory.open("town.db") as town, Memory.open("talks.db") as talks:
    town.ingest(NOTES)
    history = ChatMemory.from_defaults(
        session_id="ada",
        token_limit=120,  # small, so that a short talk overflows it
        chat_history_token_ratio=0.4,
        token_flush_size=20,
        memory_blocks=[HippomemMemoryBlock(memory=talks, k=2)],
        async_database_uri="sqlite+aiosqlite:///history.db",
    )
    chat = ContextChatEngine.from_defaults(
        retriever=HippomemRetriever(town, k=3), llm=MockLLM(max_tokens=30), memory=history
    )
    for question in [
        "For what feat is the first librarian of Whitlock Library celebrated?",
        "Who supplied the lens of Gannet Point Light?",
    ]:
        response = chat.chat(question)
        print(question)
        print("  read:", ", ".join(node.metadata["title"] for node in response.source_nodes))
    print("kept of the talk:", *(f"{p.title}: {p.text[:40]}" for p in talks.passages(session="ada")[:1]))
