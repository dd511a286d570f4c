"""A recogniser that knows what is gold: what the recognition filter is worth to retrieval at best, and with errors.

It answers hippomem's own prompt through LangChain's interface, on the candidates that it is shown and as far as they
are shown. "oracle" makes no error; "noisy:0.2" turns each of its verdicts over with that chance, for gold passages and
for others alike, always the same for the same question and passage.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from hippomem import InvalidInputError
from hippomem.testing import ScriptedChatModel
from hippomem_eval.datasets import Dataset


def error_of(recognition: str) -> float:
    """The share of wrong verdicts in "oracle" or "noisy:0.2". Raises InvalidInputError for anything else."""
    kind, _, share = recognition.partition(":")
    try:
        error = 0.0 if recognition == "oracle" else float(share if kind == "noisy" else "nothing")
    except ValueError:
        error = -1.0
    if not 0 <= error <= 1:
        raise InvalidInputError(f"--recognition is oracle or noisy:SHARE such as noisy:0.2, not {recognition!r}")
    return error


def recogniser(dataset: Dataset, recognition: str) -> ScriptedChatModel:
    """The chat model for `Memory.recall(recognise=True)` over the questions of `dataset`."""
    return ScriptedChatModel(answers=_verdicts(dataset, error_of(recognition)))


def _verdicts(dataset: Dataset, error: float) -> Callable[[list[BaseMessage]], str]:
    gold = {
        question.text: frozenset().union(*(dataset.corpus.gold_places(one) for one in question.gold))
        for question in dataset.questions
    }

    def answer(messages: list[BaseMessage]) -> str:
        asked: Mapping[str, Any] = json.loads(str(messages[-1].text))
        wanted = gold.get(asked["question"], frozenset())
        relevant = []
        for shown in asked["candidates"]:
            is_gold = bool(dataset.corpus.places_of(shown.get("title", ""), shown["text"]) & wanted)
            lot = zlib.crc32(f"{asked['question']}\0{shown.get('title', '')}\0{shown['text']}".encode()) / 2**32
            if is_gold != (lot < error):
                relevant.append(shown["number"])
        return json.dumps({"relevant": relevant})

    return answer
