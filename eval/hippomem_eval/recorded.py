"""A data set's own decompositions of its questions, as the recorded answers of a chat model.

The model below answers hippomem's prompts through LangChain's interface, so that the product's own code does all the
rest. It plans what people wrote down and reads without a fault: what is measured with it is what planning and reading
are worth to retrieval at best, not what some model can do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from hippomem import InvalidInputError, SourceError
from hippomem_eval.files import read_json


@dataclass(frozen=True, slots=True)
class Part:
    """A sub-question, which may refer to earlier answers as "#1", and its answer."""

    question: str
    answer: str


Recorded = Mapping[str, tuple[Part, ...]]


class RecordedChatModel(BaseChatModel):
    """Splits a question as it was recorded, and answers each part as it was recorded; a question that is not there is
    its own only part, without an answer.
    """

    recorded: Recorded

    @property
    def _llm_type(self) -> str:
        return "hippomem-recorded"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResult:
        asked = json.loads(str(messages[-1].text))
        parts = self.recorded.get(asked["question"], ())
        answer: dict[str, Any]
        if "passages" in asked:
            number = len(asked["known"])  # all before this one have been answered
            answer = {"answer": parts[number].answer if number < len(parts) else None}
        else:
            answer = {"sub_questions": [part.question for part in parts] or [asked["question"]]}
        return ChatResult(generations=[ChatGeneration(message=AIMessage(json.dumps(answer, ensure_ascii=False)))])


def load_decompositions(path: Path) -> Recorded:
    """Question -> parts, from records in MuSiQue's format: {"question", "question_decomposition": [{"question",
    "answer"}]}; other records are passed over.

    Raises NotFoundError or SourceError for a file that cannot be used, InvalidInputError where none has such a thing.
    """
    data = read_json(path)
    recorded: dict[str, tuple[Part, ...]] = {}
    for index, record in enumerate(data if isinstance(data, list) else [data]):
        if not isinstance(record, Mapping) or not record.get("question_decomposition"):
            continue
        question, parts = record.get("question"), record["question_decomposition"]
        if not isinstance(question, str) or not isinstance(parts, list):
            raise SourceError(f"{path}: record {index}: question_decomposition is not the list of parts of a question")
        recorded[question.strip()] = tuple(_part(part, f"{path}: record {index}") for part in parts)
    if not recorded:
        raise InvalidInputError(f"{path} has no question_decomposition in it: give a file in MuSiQue's format")
    return recorded


def _part(part: object, where: str) -> Part:
    question = part.get("question") if isinstance(part, Mapping) else None
    answer = part.get("answer") if isinstance(part, Mapping) else None
    if not isinstance(question, str) or not isinstance(answer, str):
        raise SourceError(f"{where}: a part of its question_decomposition has no question or no answer")
    return Part(question, answer)
