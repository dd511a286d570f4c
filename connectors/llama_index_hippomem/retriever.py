"""A memory as a LlamaIndex retriever."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from hippomem import Memory, RecalledPassage
from hippomem_tools import as_query, checked_memory


class HippomemRetriever(BaseRetriever):
    """`retrieve(question)` gives the passages that the question leads to, best first, as nodes with scores.

    `options` are further arguments of `Memory.recall`: `session`, `source`, `as_of`, `deep`, `method`, `decompose`,
    `iterative`. Of a message that is too long for a question the end is asked. A node's metadata hold the passage's own
    and, with it, `title`, `source`, `session`, `occurred_at`, `recorded_at` and `why`. Raises what `Memory.recall`
    raises. Async calls run on a thread.
    """

    def __init__(self, memory: Memory, k: int = 5, **options: Any) -> None:
        self._memory = checked_memory(memory)
        self._options = {"k": k, **options}
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        query = as_query(query_bundle.query_str, self._memory.settings.max_query_chars)
        found = self._memory.recall(query, **self._options)
        return [as_node(passage) for passage in found.passages]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


class _Node(TextNode):
    """A node that is the same whichever question led to it: by its hash a fusion of several questions knows it again,
    and LlamaIndex's own is of the metadata too, with `why`."""

    @property
    def hash(self) -> str:
        return self.id_


def as_node(passage: RecalledPassage) -> NodeWithScore:
    """A recalled passage as LlamaIndex has it. A model is shown its text, title, source and date."""
    shown = {
        "title": passage.title,
        "source": passage.source,
        "session": passage.session,
        "occurred_at": passage.occurred_at.isoformat() if passage.occurred_at else None,
    }
    recorded = passage.recorded_at.isoformat() if passage.recorded_at else None
    hidden = {**passage.metadata, "why": "; ".join(passage.why), "recorded_at": recorded}
    node = _Node(  # type: ignore[call-arg]  # pydantic's plugin knows `metadata` by its alias only
        id_=passage.id,
        text=passage.text,
        metadata=hidden | {name: value for name, value in shown.items() if value},
        excluded_llm_metadata_keys=[name for name in hidden if not shown.get(name)],
        excluded_embed_metadata_keys=list({**hidden, **shown}),
    )
    return NodeWithScore(node=node, score=passage.score)
