"""JSON out of what a chat model wrote: in code fences, between prose, with trailing commas, or cut off.

A hand-written scanner that never evaluates anything, goes once over the text and keeps its nesting on a list: neither a
long answer nor a hostile one ("[[[[…") costs more than its length.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hippomem.errors import MalformedAnswerError

MAX_DEPTH = 64  # deeper nesting ends what is read
_OPEN = re.compile(r"[\[{]")
_SPACE = re.compile(r"(?:\s+|//[^\n]*|/\*[^*]*\*/)*")  # or a comment, which some models explain themselves in
_STRING = re.compile(r"\"([^\"\\]*(?:\\.[^\"\\]*)*)\"|'([^'\\]*(?:\\.[^'\\]*)*)'", re.S)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,308})(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?(?![\w.])")
_WORD = re.compile(r"[A-Za-z]+")
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_THOUGHT_BEGINS, _THOUGHT_ENDS = "<think>", "</think>"  # what reasoning models write between them is no answer
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.S)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_NOTHING = object()


def read_json(text: str) -> Any:
    """The object or list in a model's answer; where there are several, the longest (the first of equals).

    Read like JSON: strings in single quotes or with raw line breaks and unknown escapes, Python's True, False and None,
    commas before a closing bracket, missing commas between objects or lists, comments. Where the text is cut off or
    stops being JSON, what was whole until then is kept: no half string, no number or word that may have gone on, no key
    without a value. A repeated key keeps its last value; half of a surrogate pair becomes U+FFFD. Drafts in
    <think>…</think> do not count, nor does what begins with a thought that has no end. Raises MalformedAnswerError
    where nothing can be read.
    """
    start = _end_of_thought(text)
    # Where all of it is JSON, what looks like a draft stands inside a string.
    begin = start if _is_json(text) else max(start, text.rfind(_THOUGHT_ENDS) + 1)
    best = _longest(text, begin) or _longest(text, start)
    if best is None:
        shown = " ".join(text[:400].split())[:80]
        raise MalformedAnswerError(f"the chat model's answer holds no JSON object or list: {shown!r}")
    return best.value


def _end_of_thought(text: str) -> int:
    """Where the thought ends that a text begins with; 0 without one."""
    if not text.lstrip().startswith(_THOUGHT_BEGINS):
        return 0
    end = text.find(_THOUGHT_ENDS)
    return end if end >= 0 else len(text)


def unwrapped(found: Any, *keys: str) -> Any:
    """`found`, or the object with one of these keys that is all there is in it: some models put what they were asked
    for into a list, or give it a name.
    """
    inner = found
    while isinstance(inner, Mapping | list) and len(inner) == 1 and not _has(inner, keys):
        (inner,) = inner.values() if isinstance(inner, Mapping) else inner
    return inner if _has(inner, keys) else found


def _has(found: Any, keys: Collection[str]) -> bool:
    return isinstance(found, Mapping) and any(str(key).strip().casefold() in keys for key in found)


def as_number(value: Any) -> int | None:
    """The number that a model gave, also where it wrote "3" for 3; None where it is none."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 5:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


@dataclass(frozen=True, slots=True)
class _Read:
    """What stands from `start` to `end`. It is an answer if it was closed, or holds anything at all."""

    value: Any
    start: int
    end: int
    is_answer: bool


@dataclass(slots=True)
class _Open:
    """A list or an object that is not closed yet; `key` is what the next value goes by."""

    items: list[Any] | dict[str, Any]
    key: str | None = None

    def put(self, value: Any) -> None:
        if isinstance(self.items, list):
            self.items.append(value)
        elif self.key is not None:
            self.items[self.key] = value
            self.key = None


def _longest(text: str, at: int) -> _Read | None:
    """The longest object or list from `at` on."""
    best: _Read | None = None
    while opening := _OPEN.search(text, at):
        read = _read(text, opening.start())
        at = read.end  # brackets passed on the way would have ended at the same place
        if read.is_answer and (best is None or read.end - read.start > best.end - best.start):
            best = read
    return best


def _read(text: str, start: int) -> _Read:
    """One value from an opening bracket on."""
    root = _container(text[start])
    stack = [_Open(root)]
    at, is_answer = start + 1, False
    while stack:
        at = _skip(text, at)
        here = stack[-1]
        character = text[at : at + 1]
        if character in ("]", "}"):
            if (character == "]") is not isinstance(here.items, list) or here.key is not None:
                break
            stack.pop()
            at += 1
            is_answer = True
            if stack and not _goes_on(text, at):
                break
            at = _past_comma(text, at) if stack else at
            continue
        if isinstance(here.items, dict) and here.key is None:
            key, at = _key(text, at)
            if key is None:
                break
            here.key = key
            continue
        if character in ("[", "{"):
            if len(stack) >= MAX_DEPTH:
                break
            inner = _container(character)
            here.put(inner)
            stack.append(_Open(inner))
            at += 1
            continue
        value, end = _scalar(text, at)
        # A string that no comma or bracket follows has a quote inside, or was not whole: it is not kept.
        if value is _NOTHING or _next(text, end) not in (",", "]", "}"):
            if value is not _NOTHING and _skip(text, end) == len(text) and text[end - 1] in "\"'":
                here.put(value)
                at, is_answer = len(text), True
            break
        here.put(value)
        is_answer = True
        at = _past_comma(text, end)
    return _Read(root, start, at, is_answer)


def _container(bracket: str) -> list[Any] | dict[str, Any]:
    return [] if bracket == "[" else {}


def _goes_on(text: str, at: int) -> bool:
    """Whether what follows a closed list or object still belongs to what is around it."""
    return _next(text, at) in (",", "]", "}", "[", "{", "")


def _past_comma(text: str, at: int) -> int:
    at = _skip(text, at)
    return at + 1 if text[at : at + 1] == "," else at


def _next(text: str, at: int) -> str:
    """The next character that is no space, "" at the end."""
    at = _skip(text, at)
    return text[at : at + 1]


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _key(text: str, at: int) -> tuple[str | None, int]:
    """A key and the place behind its colon; None where there is no whole one."""
    string = _STRING.match(text, at)
    if string is None:
        return None, at
    colon = _skip(text, string.end())
    if text[colon : colon + 1] != ":":
        return None, at
    return _unescaped(string[1] if string[1] is not None else string[2]), colon + 1


def _scalar(text: str, at: int) -> tuple[Any, int]:
    """A string, number or word, and its end; _NOTHING where there is none."""
    if string := _STRING.match(text, at):
        return _unescaped(string[1] if string[1] is not None else string[2]), string.end()
    if number := _NUMBER.match(text, at):
        value = float(number[0]) if number[1] or number[2] else int(number[0])
        return (value if math.isfinite(value) else _NOTHING), number.end()
    word = _WORD.match(text, at)
    return (_WORDS.get(word[0], _NOTHING), word.end()) if word else (_NOTHING, at)


def _unescaped(inside: str) -> str:
    if "\\" in inside:
        try:
            inside = str(json.loads(f'"{inside}"', strict=False))
        except ValueError:  # an escape that JSON does not know: its character
            inside = _ESCAPE.sub(_character, inside)
    # Both halves of a surrogate pair become their character, a single half becomes U+FFFD.
    return inside.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(escape: re.Match[str]) -> str:
    code = escape[1]
    return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPED.get(code, code)
