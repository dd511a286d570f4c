"""Context windows in a conversation: which turns a reader sees that gets each found turn with its neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hippomem_eval.conversation_formats import Turn

WINDOWS = (1, 2)  # turns on either side


def neighbourhoods(turns: Sequence[Turn], size: int) -> Mapping[str, tuple[str, ...]]:
    """For each turn the ids of those up to `size` before and after it in its session, itself included, in order."""
    sessions: dict[tuple[str, str], list[str]] = {}
    for turn in turns:
        sessions.setdefault((turn.conversation, turn.session), []).append(turn.id)
    return {
        id_: tuple(told[max(0, place - size) : place + size + 1])
        for told in sessions.values()
        for place, id_ in enumerate(told)
    }


def widened(found: Sequence[str], around: Mapping[str, Sequence[str]]) -> list[str]:
    """The found turns with their neighbours, each once."""
    return list(dict.fromkeys(turn for id_ in found for turn in around.get(id_, (id_,))))
