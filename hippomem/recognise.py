"""Recognition: a chat model looks over what was recalled and tells what bears on the question, in one bounded call.

HippoRAG 2 (arXiv 2502.14802) filters the triples that its walk starts from in this way. Here it is the passages that
the walk ended at: those that are recognised rise by RISE places, the others keep their order; nothing is lost by it
where the model overlooks something, and little where it errs. Chosen on musique_train, with a recogniser that errs on
0 to 20 % of the passages: were all that is recognised put first, one that errs on 20 % would do harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hippomem.errors import MalformedAnswerError, ModelError
from hippomem.neocortex.chat import Chat, none_set
from hippomem.neocortex.json_reader import as_number, read_json, unwrapped
from hippomem.neocortex.prompts import RECOGNISE
from hippomem.types import Recall

LOOKED_AT = 20  # passages
LOOK_CHARS = 400  # of each
RISE = 10  # places


def recognised(chat: Chat | None, recall: Callable[[str, int], Recall], query: str, k: int) -> Recall:
    """The k best passages, those that the model recognises ten places further up.

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
            chosen = _numbers(unwrapped(read_json(reply.text), "relevant")) & set(range(1, len(looked_at) + 1))
        except (ModelError, MalformedAnswerError) as error:
            warnings.append(f"nothing recognised: {error}")
    taken = 1e3 * (time.perf_counter() - mark)
    noted = [
        replace(passage, why=("the chat model recognised it", *passage.why)) if number in chosen else passage
        for number, passage in enumerate(found.passages, 1)
    ]
    order = sorted(range(1, len(noted) + 1), key=lambda number: (number - RISE * (number in chosen), number))
    passages = tuple(noted[number - 1] for number in order[:k])
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
    return frozenset(number for number in map(as_number, listed) if number is not None)
