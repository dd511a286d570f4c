"""Answers as feedback: what they cite was useful."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from hippomem_tools import Toolbox


class CitationFeedback(BaseCallbackHandler):
    """A callback handler: each answer of the chat model that calls no further tool teaches the memory which of the
    recalled passages it cited.

        agent.invoke(messages, config={"callbacks": [CitationFeedback(box)]})
    """

    def __init__(self, box: Toolbox) -> None:
        self._box = box

    def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        """Learn from the answer."""
        for generation in (one for some in response.generations for one in some):
            message = generation.message if isinstance(generation, ChatGeneration) else None
            if isinstance(message, AIMessage) and not message.tool_calls:
                self._box.learn_from(str(message.text))
