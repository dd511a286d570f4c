"""A memory as a block of LlamaIndex's `Memory`: it keeps what leaves the chat history, and recalls it."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.bridge.pydantic import Field
from llama_index.core.memory import BaseMemoryBlock

from hippomem import Document, InvalidInputError, Memory, Passage

CHARS_A_TOKEN = 4
SPEAKERS = {MessageRole.USER: "User", MessageRole.ASSISTANT: "Assistant"}


class HippomemMemoryBlock(BaseMemoryBlock[str]):
    """What user and assistant said is remembered when it is flushed from the chat history, each message with who said
    it and its session; the last such messages of the chat are the question by which they come back, each on a line with
    its date, or that of its flush.

    Sessions are kept together, unless `only_session`: then nothing of another one is recalled, nor hides anything of
    this one. Messages without a letter or digit are passed over. What is too long for the model's context is cut, the
    least likely memory first (not where `priority` is 0).
    """

    memory: Memory = Field(description="The memory; it stays the caller's, who closes it.")
    name: str = Field(default="memories", description="The name of the block.")
    priority: int = Field(default=1, description="Blocks of a higher one are cut later; one of 0 never is.")
    k: int = Field(default=5, ge=1, description="How many memories to bring back.")
    messages: int = Field(default=2, ge=1, description="How many of the last messages make the question.")
    only_session: bool = Field(default=False, description="Whether to recall only what was said in the same session.")

    async def _aget(
        self,
        messages: list[ChatMessage] | None = None,
        session_id: str | None = None,
        **block_kwargs: Any,  # noqa: ARG002
    ) -> str:
        said = [text for message in messages or () if message.role in SPEAKERS and (text := _text(message))]
        query = "\n".join(said[-self.messages :])[-self.memory.settings.max_query_chars :].strip()
        if not query:
            return ""
        session = (session_id or "") if self.only_session else None
        # Deep: consolidation looks at all sessions, and none may end what another one says where they are kept apart.
        found = await asyncio.to_thread(self.memory.recall, query, self.k, session=session, deep=self.only_session)
        return "\n".join(map(_shown, found.passages))

    async def _aput(self, messages: list[ChatMessage]) -> None:
        documents = [
            Document(
                text=text,
                title=SPEAKERS[message.role],
                session=str(message.additional_kwargs.get("session_id") or "") or None,
                metadata={"role": message.role.value},
            )
            for message in messages
            if message.role in SPEAKERS and (text := _text(message))
        ]
        if documents:
            report = await asyncio.to_thread(self.memory.ingest, documents)
            if report.failed:
                raise InvalidInputError(f"a message could not be remembered: {report.failed[0].reason}")

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Leave out the last memories, until so many tokens (of 4 characters) are saved; None where none is left."""
        lines = content.splitlines() if content else []  # a block that has nothing to say is asked with a list
        spare = tokens_to_truncate * CHARS_A_TOKEN
        while lines and spare > 0:
            spare -= len(lines.pop()) + 1
        return "\n".join(lines) or None


def _shown(passage: Passage) -> str:
    """A memory for a model to read. Its further lines are set in: none passes for another memory."""
    moment = passage.occurred_at or passage.recorded_at
    when = f"({moment.date().isoformat()}) " if moment else ""
    return "\n  ".join(f"- {when}{': '.join(filter(None, (passage.title, passage.text)))}".splitlines())


def _text(message: ChatMessage) -> str:
    """What a message says. What no database can keep, NULs and lone surrogates, must not end a chat, nor what no ingest
    takes, a text without a letter or digit such as "👍"."""
    text = (message.content or "").replace("\0", " ").encode("utf-8", "replace").decode().strip()
    return text if any(map(str.isalnum, text)) else ""
