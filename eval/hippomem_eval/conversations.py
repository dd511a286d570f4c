"""Conversations to remember and questions on them, from a published file; and what is searched for each question."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hippomem import InvalidInputError, SourceError
from hippomem_eval.conversation_formats import Conversation, ConversationQuestion, Turn, conversation_of
from hippomem_eval.files import read_json

__all__ = ["Conversation", "ConversationQuestion", "Haystack", "Turn", "haystacks_of", "load_conversations", "select"]
ALL = "default"  # the haystack that holds all conversations


@dataclass(frozen=True, slots=True)
class Haystack:
    """Turns that are searched together, and the questions that are asked over them. `name` is its namespace.

    Turns that are equal in all that is remembered of them are one: `evidence` gives, for each question's id, the
    turns here that stand for its evidence.
    """

    name: str
    turns: tuple[Turn, ...]
    questions: tuple[ConversationQuestion, ...]
    evidence: Mapping[str, tuple[str, ...]]


def load_conversations(path: Path) -> tuple[Conversation, ...]:
    """All conversations of a LoCoMo or LongMemEval file: JSON or JSON lines, plain or compressed with gzip.

    Raises NotFoundError without such a file, SourceError where it is damaged, of another shape, or empty.
    """
    data = read_json(path)
    records = [data] if isinstance(data, dict) else data
    if not isinstance(records, list):
        raise SourceError(f"{path} is not a list of conversations")
    if not records:
        raise SourceError(f"{path} holds no conversations")
    try:
        conversations = tuple(conversation_of(record, index) for index, record in enumerate(records))
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None
    names = Counter(conversation.id for conversation in conversations)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise SourceError(f"{path} holds {count:,} conversations called {name!r}")
    return conversations


def select(conversations: Sequence[Conversation], wanted: Sequence[str]) -> tuple[Conversation, ...]:
    """Those that are `wanted`, by id or by place counted from 0, in the file's order; without any wish, all.

    Raises InvalidInputError where there is no such conversation.
    """
    if not wanted:
        return tuple(conversations)
    places = {str(place): place for place in range(len(conversations))}
    places |= {conversation.id: place for place, conversation in enumerate(conversations)}
    unknown = [name for name in wanted if name not in places]
    if unknown:
        raise InvalidInputError(
            f"there is no conversation {unknown[0]!r}: give places from 0 to {len(conversations) - 1}, or ids such as "
            f"{conversations[0].id!r}"
        )
    return tuple(conversations[place] for place in sorted({places[name] for name in wanted}))


def haystacks_of(
    conversations: Sequence[Conversation],
    *,
    plain: bool = False,
    one_index: bool = False,
    adversarial: bool = False,
    limit: int | None = None,
) -> tuple[Haystack, ...]:
    """What to search for which questions: each conversation by itself, or with `one_index` all of them at once.

    `plain` leaves nothing of a turn but its text. Questions that no turn answers on purpose count only where
    `adversarial`, those without evidence never; `limit` keeps the first of what is left, and the haystacks that are
    asked. Raises InvalidInputError where nothing is left.
    """
    kept = [q for c in conversations for q in c.questions if q.evidence and (adversarial or not q.is_adversarial)]
    kept = kept[:limit]
    if not kept:
        raise InvalidInputError("there is no question with evidence: is this the right file, are these conversations?")
    if one_index:
        return (_haystack(ALL, [turn for c in conversations for turn in c.turns], kept, plain),)
    asked = {question.conversation for question in kept}
    return tuple(
        _haystack(c.id, c.turns, [q for q in kept if q.conversation == c.id], plain)
        for c in conversations
        if c.id in asked
    )


def _haystack(name: str, turns: Sequence[Turn], questions: Sequence[ConversationQuestion], plain: bool) -> Haystack:
    first: dict[Any, Turn] = {}
    stands_for: dict[str, str] = {}
    for turn in turns:
        bare = Turn(turn.id, turn.text) if plain else turn
        kept = first.setdefault(dataclasses.replace(bare, id=""), bare)
        stands_for[turn.id] = kept.id
    evidence = {q.id: tuple(dict.fromkeys(stands_for[turn] for turn in q.evidence)) for q in questions}
    return Haystack(name, tuple(first.values()), tuple(questions), evidence)
