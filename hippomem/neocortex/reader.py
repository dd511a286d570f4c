"""Reading: what is asked about passages, and what an answer says, cites and leaves open."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hippomem.clock import date_in_words
from hippomem.errors import MalformedAnswerError
from hippomem.neocortex.json_reader import read_json, unwrapped
from hippomem.neocortex.questions import something
from hippomem.types import Citation, Passage

READ_CHARS = 4000  # of one passage
LINE_CHARS = 500  # of a thought, or of what to look up
NOT_IN_MEMORY = "Not in memory."
# At the beginning alone: an answer may be about these tags. Where a server's template opens the thought, only its end
# is written, on a line of its own.
_THOUGHT = re.compile(r"\A(?:\s*<think>.*?(?:</think>|\Z)|.*?\n[ \t]*</think>)", re.S)
# [1], [1, 2], [1-3], and with the brackets and commas of Chinese and Japanese; a year is none.
_CITED = re.compile("[\\[\u3010\uff3b](\\d{1,3}(?:\\s*[,;\u3001\uff0c\uff1b\u2013-]\\s*\\d{1,3})*)[\\]\u3011\uff3d]")
_PART = re.compile(r"(\d{1,3})(?:\s*[–-]\s*(\d{1,3}))?")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_LABEL = re.compile(r"^(?:final )?answer\s*:\s*", re.I)


@dataclass(frozen=True, slots=True)
class Read:
    """An answer's text, what it cites, whether the passages tell it, and what makes it doubtful."""

    text: str
    citations: tuple[Citation, ...]
    is_in_memory: bool
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Thought:
    """A step of reasoning: a sentence, and what to look up next, "" where nothing is."""

    text: str
    look_up: str
    problem: str = ""


def passages_as_data(question: str, passages: Sequence[Passage], thoughts: Sequence[str] = ()) -> dict[str, Any]:
    """What goes along with the prompts for reading: passages numbered from 1, with title and date."""
    shown = []
    for number, passage in enumerate(passages, 1):
        entry: dict[str, Any] = {"number": number}
        if passage.title:
            entry["title"] = passage.title
        if passage.occurred_at is not None:
            entry["date"] = date_in_words(passage.occurred_at)
        shown.append(entry | {"text": passage.text[:READ_CHARS]})
    data: dict[str, Any] = {"question": question, "passages": shown}
    return data | {"thoughts": list(thoughts)} if thoughts else data


def read_answer(text: str, passages: Sequence[Passage]) -> Read:
    """What a model wrote about these passages, which were numbered from 1."""
    text = _LABEL.sub("", _UNPRINTABLE.sub(" ", _THOUGHT.sub("", text)).strip())
    if not text or text.casefold().strip(" .!*\"'").startswith(NOT_IN_MEMORY.casefold().rstrip(".")):
        nothing = () if text else ("the chat model wrote nothing",)
        return Read(text or NOT_IN_MEMORY, (), is_in_memory=False, flags=nothing)
    numbers = list(dict.fromkeys(number for found in _CITED.finditer(text) for number in _numbers(found[1])))
    known = [number for number in numbers if 1 <= number <= len(passages)]
    flags = []
    if not known:
        flags.append("it cites no passage")
    if wrong := [number for number in numbers if number not in known]:
        flags.append(f"it cites {', '.join(f'[{n}]' for n in wrong)}, which was not shown")
    return Read(text, tuple(Citation(n, passages[n - 1].id) for n in known), is_in_memory=True, flags=tuple(flags))


def without_citations(text: str) -> str:
    """The bare answer."""
    return re.sub(r"\s+([.,;])", r"\1", " ".join(_CITED.sub(" ", text).split()))


def read_thought(text: str) -> Thought:
    """A step of reasoning in an answer; never an exception."""
    try:
        found = unwrapped(read_json(text), "thought")
    except MalformedAnswerError as error:
        return Thought("", "", str(error))
    if not isinstance(found, Mapping) or not isinstance(found.get("thought"), str):
        return Thought("", "", "the chat model's answer holds no thought")
    look_up = "" if found.get("done") is True else something(_line(found.get("look_up")))
    return Thought(_line(found["thought"]), look_up)


class ThoughtFilter:
    """Leaves out what stands in <think>…</think> at the beginning of a text that comes in pieces."""

    def __init__(self) -> None:
        self._held: str | None = ""

    def feed(self, piece: str) -> str:
        """What can be shown by now."""
        if self._held is None:
            return piece
        self._held += piece
        start = self._held.lstrip()
        if "<think>".startswith(start[:7]):  # nothing yet, or the beginning of the tag, or the tag
            end = start.find("</think>")
            if end < 0:
                return ""
            start = start[end + len("</think>") :].lstrip()
            if not start:  # the spaces behind the tag may come in pieces, too
                return ""
        self._held = None
        return start


def _numbers(cited: str) -> list[int]:
    numbers = []
    for part in _PART.finditer(cited):
        first, last = int(part[1]), int(part[2] or part[1])
        numbers += list(range(first, min(last, first + 50) + 1)) or [first, last]
    return numbers


def _line(value: Any) -> str:
    return " ".join(_UNPRINTABLE.sub(" ", value).split())[:LINE_CHARS].strip() if isinstance(value, str) else ""
