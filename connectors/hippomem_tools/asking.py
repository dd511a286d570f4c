"""Questions as agents put them: often whole messages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from hippomem import InvalidInputError, Memory, RecalledPassage, Recipe

_NEAREST = Recipe().nearest
_ALL = Recipe(everything=sys.maxsize)


def as_query(message: str, limit: int) -> str:
    """A message as a question: its last `limit` characters, without the NULs and lone surrogates that none may hold.
    Raises InvalidInputError for what is no text.
    """
    if not isinstance(message, str):
        raise InvalidInputError(f"a query must be a str, not {type(message).__name__}")
    storable = message.replace("\0", " ").encode("utf-8", "replace").decode()
    return storable.strip()[-limit:].strip()


def more_and_more(memory: Memory, query: str, k: int, **limits: Any) -> Iterator[tuple[RecalledPassage, ...]]:
    """What is recalled, for those who choose from it by themselves: `k` passages, then more, at last all there are."""
    recipe: Recipe | None = None
    while True:
        passages = memory.recall(query, k, recipe=recipe, **limits).passages
        yield passages
        if len(passages) == k:
            k *= 4
        elif len(passages) < _NEAREST or recipe:
            return
        else:  # of a large memory only those near the question were ranked
            recipe = _ALL
