"""What a system answers: passages, best first, and what finding them took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hippomem import Usage


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that a system brought back."""

    id: str
    title: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """Passages, best first, and the milliseconds it took: `total`, and of these `encode` where a text is encoded.

    Where a chat model was asked: what that took, and what went wrong with it.
    """

    passages: tuple[Found, ...]
    timings: Mapping[str, float] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    warnings: tuple[str, ...] = ()


class System(Protocol):
    """A way to find passages. Asked the same question a second time, it need not encode it again."""

    def recall(self, question: str, k: int) -> Ranking:
        """The `k` best passages."""
