"""What a memory is taught: the part of `Memory` that learns from feedback."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hippomem.feedback import Learning
from hippomem.types import Answer, LearningEvent, Passage, Recall


class Teaching:
    """Part of `Memory`, which sets what stands here."""

    _learning: Learning
    _note_use: Callable[[object, Iterable[str]], None]

    def feedback(
        self,
        found: Recall | Answer | str,
        useful: Iterable[str | Passage] | None = None,
        *,
        confidence: float = 1.0,
    ) -> LearningEvent:
        """Learn which passages were useful for a question; later questions like it will find them first.

        `found` is a recall, an answer (whose citations were useful where nothing else is said), or the question itself;
        `useful` are passages or their ids, also such as should have been recalled. `confidence` in (0, 1] weighs the
        event; in [-1, 0) the passages were of no use. That a passage was recalled teaches nothing. The event is durable
        when this returns. Raises InvalidInputError with nothing to learn from, NotFoundError for an unknown passage.
        """
        event = self._learning.feedback(found, useful, confidence)
        if event.confidence > 0:
            self._note_use(found, event.useful)
        return event
