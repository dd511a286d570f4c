"""Questions as agents put them: often whole messages."""

from __future__ import annotations

from hippomem import InvalidInputError


def as_query(message: str, limit: int) -> str:
    """A message as a question: its last `limit` characters, without the NULs and lone surrogates that none may hold.
    Raises InvalidInputError for what is no text.
    """
    if not isinstance(message, str):
        raise InvalidInputError(f"a query must be a str, not {type(message).__name__}")
    storable = message.replace("\0", " ").encode("utf-8", "replace").decode()
    return storable.strip()[-limit:].strip()
