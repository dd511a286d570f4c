"""What passages are compared with: a question, and for turns and notes what it says but for who talks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sought:
    """The `vector` (d,) of a question, and `of_told` (d,), that of the question without the names of those who talk,
    which turns and notes are compared with; None where it names none (speakers.py). Both are L2-normalised."""

    vector: Floats
    of_told: Floats | None = None

    @property
    def key(self) -> Floats:
        """What is like other questions for what it asks (d,), and not for whom it asks about."""
        return self.vector if self.of_told is None else self.of_told

    def moved_to(self, key: Floats) -> Sought:
        """With `key` in the place of its own, and the other one as far from where it was."""
        if self.of_told is None:
            return Sought(key)
        moved = self.vector + (key - self.of_told)
        return Sought(np.asarray(moved / max(float(np.linalg.norm(moved)), 1e-12), np.float32), key)
