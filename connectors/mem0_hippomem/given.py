"""What a program gives to mem0: messages, moments and days."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

from hippomem import InputTooLargeError, InvalidInputError, InvalidTextError

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
Messages = str | Mapping[str, Any] | Sequence[Mapping[str, Any]]


def said(messages: Messages) -> Iterator[tuple[str, dict[str, str]]]:
    """What was said, and by whom: `role`, and `actor_id` where a message has a name.

    Raises InvalidInputError for what are no messages; what only a system says is passed over.
    """
    if isinstance(messages, str):
        yield messages, {"role": "user"}
        return
    every: Sequence[Any] = messages if isinstance(messages, Sequence) else [messages]
    for message in every:
        content = message.get("content", message) if isinstance(message, Mapping) else message
        if content is message or not isinstance(content, str | list | tuple | None):
            raise InvalidInputError(f"messages are texts, or dicts with role and content, not {message!r}")
        if isinstance(content, list | tuple):  # of parts, such as texts and images
            texts = (part.get("text") if isinstance(part, Mapping) else part for part in content)
            content = "\n".join(text for text in texts if isinstance(text, str))
        if content and content.strip() and message.get("role") != "system":  # there is none where it only calls tools
            name = message.get("name")
            yield content, {"role": str(message.get("role", "user"))} | ({"actor_id": str(name)} if name else {})


def check(text: str, limit: int) -> None:
    """Raises what `hippomem.Memory.add` would, before the messages ahead of this one are stored."""
    if len(text) > limit:
        raise InputTooLargeError(
            f"a message has {len(text):,} characters, at most {limit:,} are taken: shorten it, or raise max_text_chars "
            "(HIPPOMEM_MAX_TEXT_CHARS)"
        )
    if _UNSTORABLE.search(text):
        raise InvalidTextError("a message holds NULs or lone surrogates, which no database can keep: remove them first")


def moment_of(timestamp: datetime | float | str | None) -> datetime | None:
    """A moment as mem0 takes it: seconds since 1970, ISO 8601, or a datetime. Without a zone it counts as UTC."""
    try:
        if isinstance(timestamp, int | float):
            return datetime.fromtimestamp(timestamp, UTC)
        moment = datetime.fromisoformat(timestamp) if isinstance(timestamp, str) else timestamp
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInputError(f"timestamp {timestamp!r} is no moment: {error}") from None
    return moment.replace(tzinfo=UTC) if isinstance(moment, datetime) and moment.tzinfo is None else moment


def day_of(given: date | str | None) -> str | None:
    """The last day on which a memory is shown, as it is stored. Raises InvalidInputError for what is no day."""
    if isinstance(given, str):
        with suppress(ValueError):
            given = date.fromisoformat(given)
    day = given.date() if isinstance(given, datetime) else given
    if not isinstance(day, date | None):
        raise InvalidInputError(f"expiration_date must be a day, YYYY-MM-DD, not {day!r}")
    return day.isoformat() if day else None
