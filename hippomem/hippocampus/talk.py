"""What tells a conversation from things to remember that are only told one after the other: in it some ask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST = 8  # steps from note to note that are enough to tell
ASKING = 0.05  # of the notes in a conversation end with a question, at least
QUESTION_MARKS = "?？؟՞⁇⁈"
APART = 3  # steps between notes that need not have to do with each other
TOGETHER = 0.5  # standard deviations by which notes in a row are more alike than such

Floats = NDArray[np.float32]


def asks(line: str) -> bool:
    """Whether it ends with a question: behind its last question mark no word follows. One that goes on, as an entry of
    a list of questions with their answers does, leaves nothing to answer.
    """
    last = max(map(line.rfind, QUESTION_MARKS))
    return last >= 0 and not any(char.isalnum() for char in line[last:])


def hang_together(vectors: Floats) -> bool:
    """Whether notes in a row (n, d), told one after the other, are more alike than those that were told further apart:
    a conversation goes on about the same, a list of things to remember does not. False where too few tell.
    """
    if len(vectors) <= LEAST:
        return False
    cosines = vectors.astype(np.float64)
    cosines = cosines @ cosines.T
    apart = cosines[np.triu_indices(len(vectors), APART)]
    return bool(np.diag(cosines, 1).mean() - apart.mean() >= TOGETHER * apart.std())


def enough_ask(asking: NDArray[np.bool_]) -> bool:
    """Whether as many of notes in a row (n,) ask as in a conversation."""
    return bool(np.count_nonzero(asking) >= ASKING * len(asking))


@dataclass(slots=True)
class Session:
    """How many turns a session has, and how many of them ask or say who speaks."""

    turns: int = 0
    talking: int = 0

    @property
    def is_conversation(self) -> bool:
        """Half as many are enough as among notes."""
        return self.talking > 0 and self.talking >= ASKING / 2 * self.turns
