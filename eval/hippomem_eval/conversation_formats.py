"""One record of a published file of conversations to one Conversation: LoCoMo and LongMemEval.

LoCoMo (arXiv 2402.17753): two speakers, sessions with a time, questions that name their evidence turns. LongMemEval
(arXiv 2410.10813): each question brings its own history of chats with an assistant; evidence turns are marked in it.
Neither tells a time zone: times count as UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hippomem import SourceError
from hippomem_eval.numbering import numbered

MONTHS = tuple(
    "January February March April May June July August September October November December".split(),
)  # not strftime: what it writes depends on the locale
ADVERSARIAL, ABSTENTION = "adversarial", "abstention"
_LOCOMO_CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: ADVERSARIAL}
_LOCOMO_SESSION = re.compile(r"session_(\d+)")
_LOCOMO_TIME = re.compile(r"(\d{1,2}):(\d{2})\s*([ap]m)\s+on\s+(\d{1,2})\s+([a-z]+),?\s+(\d{4})", re.IGNORECASE)
_LOCOMO_TURN = re.compile(r"D:?(\d+):(\d+)")  # also "D:11:26", and the parts of "D8:6; D9:17"
_LONGMEMEVAL_TIME = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})\D*(\d{1,2}):(\d{2})")


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker said at once. `id` is unique in its file: CONVERSATION/TURN. `time` is the session's."""

    id: str
    text: str
    conversation: str = ""
    speaker: str = ""
    session: str = ""
    time: datetime | None = None

    @property
    def line(self) -> str:
        """As a transcript has it: `Speaker: text`."""
        return f"{self.speaker}: {self.text}" if self.speaker else self.text

    @property
    def dated_line(self) -> str:
        """The line behind the date in words: `8 May 2023 Speaker: text`."""
        if self.time is None:
            return self.line
        return f"{self.time.day} {MONTHS[self.time.month - 1]} {self.time.year} {self.line}"


@dataclass(frozen=True, slots=True)
class ConversationQuestion:
    """A question on one conversation, and the ids of the turns that hold the answer."""

    id: str
    conversation: str
    text: str
    category: str
    evidence: tuple[str, ...]

    @property
    def is_adversarial(self) -> bool:
        """Whether the conversation does not answer it, on purpose."""
        return self.category in (ADVERSARIAL, ABSTENTION)


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in the order in which they were said, and questions, those without evidence among them.

    `malformed_evidence` counts references to evidence that are unreadable or lead to no turn.
    """

    id: str
    turns: tuple[Turn, ...]
    questions: tuple[ConversationQuestion, ...]
    malformed_evidence: int = 0


def conversation_of(record: object, index: int) -> Conversation:
    """The conversation in a record of either data set. Raises SourceError for any other shape."""
    if not isinstance(record, Mapping):
        raise SourceError(f"record {index} is not an object")
    if "haystack_sessions" in record:
        return _longmemeval(record, index)
    if "conversation" in record and "qa" in record:
        return _locomo(record, index)
    raise SourceError(
        f"record {index} is neither of LoCoMo (conversation, qa) nor of LongMemEval (haystack_sessions): "
        f"it has {', '.join(map(str, list(record)[:8])) or 'no fields'}"
    )


def _locomo(record: Mapping[str, Any], index: int) -> Conversation:
    where = f"record {index}"
    name = _name(record.get("sample_id"), index)
    sessions = _object(record["conversation"], f"{where}: conversation")
    numbered = sorted((int(match[1]), key) for key in sessions if (match := _LOCOMO_SESSION.fullmatch(key)))
    places: dict[str, str] = {}  # how evidence names a turn -> its id
    turns: list[Turn] = []
    for number, key in numbered:
        time = _time(sessions.get(f"{key}_date_time"), _locomo_time, f"{where}: {key}")
        said = _objects(sessions[key], f"{where}: {key}")
        for place, item in enumerate(said, start=1):
            turn = str(item.get("dia_id") or f"D{number}:{place}")
            text = _locomo_text(item)
            if turn in places:
                raise SourceError(f"{where}: {key} has a second turn {turn!r}")
            if text:
                places[turn] = f"{name}/{turn}"
                turns.append(Turn(f"{name}/{turn}", text, name, _text(item.get("speaker")), f"session {number}", time))
    questions, malformed = [], 0
    for number, item in enumerate(_objects(record["qa"], f"{where}: qa"), start=1):
        evidence, lost = _locomo_evidence(item.get("evidence"), places)
        text = _question(item, f"{where}: question {number}")
        questions.append(ConversationQuestion(f"{name}/q{number}", name, text, _locomo_category(item), evidence))
        malformed += lost
    return Conversation(name, tuple(turns), tuple(questions), malformed)


def _locomo_text(item: Mapping[str, Any]) -> str:
    """What was said, and what an image that was shown with it shows: all systems read both."""
    caption = _text(item.get("blip_caption"))
    return f"{_text(item.get('text'))}{f' [image: {caption}]' if caption else ''}".strip()


def _locomo_evidence(items: object, places: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
    """The turns that evidence names, in its order, and how much of it names none."""
    found: list[str] = []
    lost = 0
    for item in items if isinstance(items, list) else [] if items is None else [items]:
        text = str(item)
        names = [text] if text in places else [f"D{int(s)}:{int(t)}" for s, t in _LOCOMO_TURN.findall(text)]
        found += [places[name] for name in names if name in places]
        lost += sum(name not in places for name in names) or not names
    return tuple(dict.fromkeys(found)), lost


def _locomo_category(item: Mapping[str, Any]) -> str:
    number = item.get("category")
    name = _LOCOMO_CATEGORIES.get(number) if isinstance(number, int) else None
    return name or f"category {number}"


def _locomo_time(text: str) -> datetime | None:
    match = _LOCOMO_TIME.search(text)
    if not match:
        return None
    hour, minute, half, day, month, year = match.groups()
    names = [name.lower() for name in MONTHS]
    if not 1 <= int(hour) <= 12:
        raise ValueError
    hours = int(hour) % 12 + 12 * (half.lower() == "pm")
    return datetime(int(year), names.index(month.lower()) + 1, int(day), hours, int(minute), tzinfo=UTC)


def _longmemeval(record: Mapping[str, Any], index: int) -> Conversation:
    where = f"record {index}"
    name = _name(record.get("question_id"), index)
    sessions = record["haystack_sessions"]
    if not isinstance(sessions, list):
        raise SourceError(f"{where}: haystack_sessions is not a list of sessions")
    ids = _parallel(record, "haystack_session_ids", len(sessions), where)
    dates = _parallel(record, "haystack_dates", len(sessions), where)
    times = [_time(date, _longmemeval_time, f"{where}: haystack_dates") for date in dates]
    # The oracle file's sessions are out of order. Where one has no date, nobody knows a better order than the file's.
    known = [time for time in times if time is not None]
    order = sorted(range(len(sessions)), key=known.__getitem__) if len(known) == len(times) else range(len(sessions))
    unique = numbered([str(id_ or f"session-{place}") for place, id_ in enumerate(ids, start=1)])
    turns: list[Turn] = []
    evidence: list[str] = []
    malformed = 0
    for number, place in enumerate(order, start=1):
        said = _objects(sessions[place], f"{where}: session {place}")
        for turn, item in enumerate(said, start=1):
            id_ = f"{name}/{unique[place]}_{turn}"
            text = _text(item.get("content"))
            if text:
                turns.append(Turn(id_, text, name, _text(item.get("role")), f"session {number}", times[place]))
            if item.get("has_answer") is True:
                evidence += [id_] if text else []
                malformed += not text
    category = ABSTENTION if name.endswith("_abs") else str(record.get("question_type") or "unknown")
    question = ConversationQuestion(name, name, _question(record, where), category, tuple(evidence))
    return Conversation(name, tuple(turns), (question,), malformed)


def _longmemeval_time(text: str) -> datetime | None:
    match = _LONGMEMEVAL_TIME.search(text)
    if not match:
        return None
    year, month, day, hour, minute = map(int, match.groups())
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def _parallel(record: Mapping[str, Any], name: str, length: int, where: str) -> Sequence[Any]:
    items = record.get(name)
    if items is None:
        return [None] * length
    if not isinstance(items, list) or len(items) != length:
        raise SourceError(f"{where}: {name} is not a list of {length:,} entries, one for each of haystack_sessions")
    return items


def _time(value: object, read: Callable[[str], datetime | None], where: str) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        time = read(value) if isinstance(value, str) else None
    except ValueError:  # the 31st of June
        time = None
    if time is None:
        raise SourceError(f"{where} has a time that cannot be read: {str(value)[:50]!r}")
    return time


def _question(item: Mapping[str, Any], where: str) -> str:
    text = item.get("question")
    if isinstance(text, str) and text.strip():
        return text.strip()
    raise SourceError(f"{where} has no text")


def _object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SourceError(f"{where} is not an object")
    return value


def _objects(value: object, where: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise SourceError(f"{where} is not a list of objects")
    return value


def _name(value: object, index: int) -> str:
    return str(value) if isinstance(value, str | int) and str(value).strip() else f"conversation-{index}"


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
