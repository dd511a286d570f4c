"""A memory as a LangChain retriever."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from hippomem import Memory, RecalledPassage
from hippomem_tools import as_query


class HippomemRetriever(BaseRetriever):
    """`invoke(question)` gives the passages that the question leads to, best first, as Documents.

    The fields are arguments of `recall`; these, and its others, can also be given to `invoke`. Of a message that is too
    long for a question the end is asked. A Document's metadata hold the passage's own and, with it, `source`, `title`,
    `session`, `occurred_at` and `recorded_at` (ISO 8601), `score` and `why`; with `context` given to `invoke`, also the
    texts `before` and `after` it. Raises what `Memory.recall` raises. Async calls run on a thread.
    """

    memory: Memory
    k: int = 5
    session: str | None = None
    source: str | None = None
    as_of: datetime | None = None
    deep: bool = False
    method: Literal["graph", "dense"] = "graph"
    decompose: bool = False
    iterative: bool = False

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002
        **given: Any,
    ) -> list[Document]:
        return self._documents(query, given)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002
        **given: Any,
    ) -> list[Document]:
        return await asyncio.to_thread(self._documents, query, given)

    def _documents(self, query: str, given: dict[str, Any]) -> list[Document]:
        options: dict[str, Any] = {
            "k": self.k,
            "session": self.session,
            "source": self.source,
            "as_of": self.as_of,
            "deep": self.deep,
            "method": self.method,
            "decompose": self.decompose,
            "iterative": self.iterative,
        }
        query = as_query(query, self.memory.settings.max_query_chars)
        return [as_document(passage) for passage in self.memory.recall(query, **options | given).passages]


def as_document(passage: RecalledPassage) -> Document:
    """A recalled passage as LangChain has it."""
    about: dict[str, Any] = {
        "source": passage.source,
        "title": passage.title,
        "session": passage.session,
        "occurred_at": passage.occurred_at.isoformat() if passage.occurred_at else None,
        "recorded_at": passage.recorded_at.isoformat() if passage.recorded_at else None,
        "score": passage.score,
        "why": list(passage.why),
    }
    if passage.before or passage.after:  # of `context`
        about |= {"before": [p.text for p in passage.before], "after": [p.text for p in passage.after]}
    return Document(id=passage.id, page_content=passage.text, metadata={**passage.metadata, **about})
