"""Questions about a question: into which sub-questions it splits, and what passages answer to one of them.

A chat model's answer is a stranger's text as well. Whatever it holds, all that is taken from it is a few short lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hippomem.errors import MalformedAnswerError
from hippomem.neocortex.chat import Chat
from hippomem.neocortex.json_reader import read_json, unwrapped
from hippomem.neocortex.prompts import DECOMPOSE, READ
from hippomem.types import Passage, Usage

MAX_SUB_QUESTIONS = 8
LINE_CHARS = 300  # of a sub-question or an answer
READ_PASSAGES = 5
READ_CHARS = 2000  # of one passage
_REFERENCE = re.compile(r"#(\d{1,2})(?![\dA-Za-z_])")  # "#1st" is none; Chinese goes on without a space
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_NO_ANSWER = frozenset({"", "unknown", "none", "null", "n/a", "not found", "no answer", "not mentioned", "not given"})


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Sub-questions in the order to answer them; none where the answer was malformed or cut off, as `problem` tells."""

    sub_questions: tuple[str, ...]
    usage: Usage
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the passages answer, or what to look up instead, or neither."""

    answer: str | None
    look_up: str | None
    usage: Usage
    problem: str = ""


def decompose(chat: Chat, question: str) -> Decomposition:
    """Split a question in the style of MuSiQue (Trivedi et al., arXiv 2108.00573): "#1" is the first one's answer.

    Raises ModelError where the model does not answer.
    """
    reply = chat.ask(DECOMPOSE, {"question": question})
    if reply.is_cut:
        return Decomposition((), reply.usage, "the chat model's answer was cut off: raise max_tokens (llm_options)")
    try:
        found = unwrapped(read_json(reply.text), "sub_questions")
    except MalformedAnswerError as error:
        return Decomposition((), reply.usage, str(error))
    lines = [_line(item.get("question") if isinstance(item, Mapping) else item) for item in _items(found)]
    if not any(lines):
        return Decomposition((), reply.usage, "the chat model's answer holds no sub-questions")
    # An unusable one keeps its number: the references count it.
    return Decomposition(tuple(lines[:MAX_SUB_QUESTIONS]), reply.usage)


def read(
    chat: Chat, question: str, known: Sequence[tuple[str, str]], sub_question: str, passages: Sequence[Passage]
) -> Reading:
    """What the first passages answer to `sub_question`; `known` are earlier ones with their answers.

    Raises ModelError where the model does not answer.
    """
    data = {
        "question": question,
        "known": [{"question": asked, "answer": answer} for asked, answer in known],
        "sub_question": sub_question,
        "passages": [{"title": p.title, "text": p.text[:READ_CHARS]} for p in passages[:READ_PASSAGES]],
    }
    reply = chat.ask(READ, data)
    try:
        found = unwrapped(read_json(reply.text), "answer", "look_up")
    except MalformedAnswerError as error:
        return Reading(None, None, reply.usage, str(error))
    if not isinstance(found, Mapping) or not found.keys() & {"answer", "look_up"}:
        return Reading(None, None, reply.usage, "the chat model's answer holds neither 'answer' nor 'look_up'")
    answer, look_up = something(_line(found.get("answer"))), something(_line(found.get("look_up")))
    return Reading(answer or None, None if answer else look_up or None, reply.usage)


def filled(sub_question: str, number: int, answers: Mapping[int, str]) -> tuple[str, dict[str, str], list[int]]:
    """A sub-question with the answers in place of its references: its text, what was filled in ("#1": answer), and
    the numbers of the sub-questions that have no answer, each once. References to these are removed.

    Only numbers below its own `number` are references: "the #1 song" of a first sub-question is none. Answers are not
    searched for references in turn.
    """
    used: dict[str, str] = {}
    missing: dict[int, None] = {}

    def put(reference: re.Match[str]) -> str:
        place = int(reference[1])
        if not 1 <= place < number:
            return reference[0]
        if place not in answers:
            missing[place] = None
            return ""
        used[reference[0]] = answers[place]
        return answers[place]

    text = _REFERENCE.sub(put, sub_question)
    return " ".join(text.split()), used, list(missing)


def something(line: str) -> str:
    """A line, "" where it is one of the words that models write for nothing."""
    return "" if line.casefold().rstrip(".") in _NO_ANSWER else line


def _items(found: Any) -> list[Any]:
    """The list in an answer, whatever it goes by."""
    if isinstance(found, Mapping):
        found = found.get("sub_questions") or next((v for v in found.values() if isinstance(v, list)), [])
    return found if isinstance(found, list) else []


def _line(value: Any) -> str:
    """A text on one short line without anything that cannot be stored or shown; "" for what is no text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return " ".join(_UNPRINTABLE.sub(" ", value).split())[:LINE_CHARS].strip() if isinstance(value, str) else ""
