"""The entities and triples of an OpenIE file as the recorded answers of a chat model.

So they take the way of any model's answers: through hippomem's prompts, jobs and parser into the graph.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from hippomem import ModelError
from hippomem.testing import PLAIN_PASSAGE
from hippomem_eval.corpus import squeezed
from hippomem_eval.files import read_json
from hippomem_eval.openie import parts_of


class NotRecordedError(ModelError):
    """A passage that the file says nothing about; asking again is of no use."""

    status_code = 400


class RecordedExtraction(BaseChatModel):
    """Answers about each passage what was recorded; about one that is not there it fails, and its rules stay."""

    answers: Mapping[str, Mapping[str, Any]]
    model_name: str

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
        several = "passages" in asked
        found = []
        for passage in asked["passages"] if several else [asked]:
            answer = self.answers.get(squeezed(passage["title"] + passage["text"]))
            if answer is not None:
                found.append({"number": passage.get("number", 1), **answer})
        if not found:
            raise NotRecordedError("no answer is recorded about this passage")
        text = json.dumps({"passages": found} if several else found[0], ensure_ascii=False)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


def recorded_extraction(path: Path) -> RecordedExtraction:
    """The model of a file that `load_openie` has read without a complaint."""
    # About a passage that is not there hippomem asks whether nothing at all is answered.
    answers: dict[str, dict[str, list[Any]]] = {
        squeezed(PLAIN_PASSAGE["title"] + PLAIN_PASSAGE["text"]): {"entities": [], "triples": []}
    }
    for index, doc in enumerate(read_json(path)["docs"]):
        passage, triples = parts_of(doc, path, index)
        own = answers.setdefault(squeezed(passage), {"entities": [], "triples": []})
        entities = doc.get("extracted_entities")
        own["entities"] += entities if isinstance(entities, list) else []
        own["triples"] += triples
    return RecordedExtraction(answers=answers, model_name=path.name.split(".json")[0])
