"""Recognition: a chat model looks over what was recalled and tells what bears on the question, in one bounded call.

HippoRAG 2 (arXiv 2502.14802) filters the triples that its walk starts from in this way. Here it is the passages that
the walk ended at: those that are recognised come first, the others follow, each in the order of the recall; nothing is
lost by it where the model overlooks something.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hippomem.errors import MalformedAnswerError, ModelError
from hippomem.neocortex.chat import Chat, none_set
from hippomem.neocortex.json_reader import read_json
from hippomem.neocortex.prompts import RECOGNISE
from hippomem.types import Recall

LOOKED_AT = 20  # passages
LOOK_CHARS = 400  # of each


def recognised(chat: Chat | None, recall: Callable[[str, int], Recall], query: str, k: int) -> Recall:
    """The k best passages, those that the model recognises first.

    Where the model fails there are `warnings`, and the order of the recall. Raises ModelError where none is set.
    """
    if chat is None:
        raise none_set("recognise asks")
    chat.load()
    began = time.perf_counter()
    found = recall(query, max(k, LOOKED_AT))
    looked_at = found.passages[:LOOKED_AT]
    chosen: frozenset[int] = frozenset()
    usage, warnings = found.usage, list(found.warnings)
    mark = time.perf_counter()
    if len(looked_at) > 1:
        shown = [
            {"number": number, "title": passage.title, "text": passage.text[:LOOK_CHARS]}
            for number, passage in enumerate(looked_at, 1)
        ]
        try:
            reply = chat.ask(RECOGNISE, {"question": query, "candidates": shown})
            usage += reply.usage
            chosen = _numbers(read_json(reply.text))
        except (ModelError, MalformedAnswerError) as error:
            warnings.append(f"nothing recognised: {error}")
    taken = 1e3 * (time.perf_counter() - mark)
    first = [
        replace(passage, why=("the chat model recognised it", *passage.why))
        for number, passage in enumerate(looked_at, 1)
        if number in chosen
    ]
    rest = [passage for number, passage in enumerate(found.passages, 1) if number not in chosen]
    passages = tuple([*first, *rest][:k])
    kept = {passage.id for passage in passages}
    return replace(
        found,
        passages=passages,
        paths=tuple(path for path in found.paths if path.passage_id in kept),
        timings={**found.timings, "recognise": taken, "total": 1e3 * (time.perf_counter() - began)},
        usage=usage,
        warnings=tuple(warnings),
    )


def _numbers(found: Any) -> frozenset[int]:
    """The numbers in {"relevant": [1, …]} or a bare list. Raises MalformedAnswerError where there is no list."""
    listed = found.get("relevant") if isinstance(found, Mapping) else found
    if not isinstance(listed, list):
        raise MalformedAnswerError("the chat model's answer holds no list 'relevant'")
    return frozenset(n for n in listed if isinstance(n, int) and not isinstance(n, bool) and n >= 1)
