"""A chat model that says what it is told to say: `hippomem.testing.ScriptedChatModel`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from hippomem.errors import ModelError

Answer = str | Exception


class ScriptedChatModel(BaseChatModel):
    """A LangChain chat model without a model: it gives its `answers` one after the other, or what a function says.

        model = ScriptedChatModel(answers=['{"sub_questions": ["Who leads Northlight Labs?"]}'])
        memory = Memory.open(":memory:", encoder=HashEncoder(), llm=model)

    A function gets the messages of a call. An answer that is an exception is raised; a reader whose call is refused is
    asked about `PLAIN_PASSAGE` next, to learn whether all calls are. What was asked is kept in `calls`;
    tokens are counted as words. Raises ModelError when asked more often than there are answers.
    """

    answers: Sequence[Answer] | Callable[[list[BaseMessage]], Answer]
    _calls: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _lock: Any = PrivateAttr(default_factory=Lock)

    @property
    def calls(self) -> list[list[BaseMessage]]:
        """The messages of each call so far."""
        return self._calls

    @property
    def _llm_type(self) -> str:
        return "hippomem-scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResult:
        with self._lock:
            number = len(self._calls)
            self._calls.append(messages)
        if callable(self.answers):
            answer = self.answers(messages)
        elif number < len(self.answers):
            answer = self.answers[number]
        else:
            raise ModelError(f"the scripted chat model has {len(self.answers)} answers and was asked once more")
        if isinstance(answer, Exception):
            raise answer
        read, written = sum(len(str(m.text).split()) for m in messages), len(answer.split())
        usage = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(answer, usage_metadata=usage))])
