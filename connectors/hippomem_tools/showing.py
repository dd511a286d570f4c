"""How memories are shown to a model: one paragraph each, with a handle that it can cite and give back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hippomem import Passage, Recall

HANDLE = 8  # signs of an id that name a memory: enough to tell apart millions in one conversation
SHOWN_CHARS = 4000  # of one memory
_ID = rf"[0-9a-f]{{{HANDLE},}}"
_CITED = re.compile(rf"\[({_ID}(?:\s*[,;]\s*{_ID})*)\]")  # [3f2ab4c1], [3f2ab4c1, 09fe77aa]
_NAME = re.compile(rf"\[?({_ID})\]?")


def handle(passage: Passage) -> str:
    """The short name of a memory."""
    return passage.id[:HANDLE]


def cited(text: str) -> list[str]:
    """The handles and ids that a text cites in brackets, each once, in order."""
    return list(dict.fromkeys(name for names in _CITED.findall(text) for name in re.findall(_ID, names)))


def bare(name: str) -> str:
    """A handle or id without the brackets that it is shown in; what is neither, such as a source, as it is."""
    found = _NAME.fullmatch(name)
    return found[1] if found else name


def show(recall: Recall) -> str:
    """What was recalled, for a model to read."""
    if not recall.passages:
        return "Nothing in the memory answers this."
    return "\n\n".join(_paragraph(passage) for passage in recall.passages)


def as_data(recall: Recall) -> dict[str, Any]:
    """What was recalled, for a program."""
    return {"query": recall.query, "passages": [_fields(p) | {"score": p.score} for p in recall.passages]}


def _paragraph(passage: Passage) -> str:
    about = ", ".join(_circumstances(passage))
    text = passage.text
    if len(text) > SHOWN_CHARS:
        text = text[:SHOWN_CHARS] + f" … ({len(passage.text) - SHOWN_CHARS:,} more characters)"
    told = f"[{handle(passage)}]" + (f" ({about})" if about else "") + f" {text}"
    return "\n  ".join(told.splitlines())  # no text may pass for another memory, as one with a handle of its own would


def _circumstances(passage: Passage) -> Iterator[str]:
    if passage.title:
        yield passage.title
    if passage.occurred_at:
        yield passage.occurred_at.date().isoformat()
    elif passage.recorded_at:  # which of two memories is the newer
        yield f"noted {passage.recorded_at.date().isoformat()}"
    if passage.session:
        yield f"session {passage.session}"
    if passage.source:
        yield f"from {passage.source}"


def _fields(passage: Passage) -> dict[str, Any]:
    return {
        "id": passage.id,
        "text": passage.text,
        "title": passage.title,
        "source": passage.source,
        "session": passage.session,
        "occurred_at": passage.occurred_at.isoformat() if passage.occurred_at else None,
        "recorded_at": passage.recorded_at.isoformat() if passage.recorded_at else None,
        "metadata": dict(passage.metadata),
    }
