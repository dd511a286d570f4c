"""Grades from what a machine can tell: whether a memory is found by its own cue, and whether it was of use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from hippomem.consolidation.states import Grade
from hippomem.types import Triple

SHOWN = 5  # passages that a reader is shown: found among these is found
MARGIN = 0.1  # of the score to the next one's, for EASY
CUE_WORDS = 12
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Probe:
    """Where a memory came when it was looked up by its own cue: `rank` from 0, None where it did not come up; `margin`
    by which its score leads the next one's, relative to it."""

    rank: int | None
    score: float = 0.0
    margin: float = 0.0


def grade_of(probe: Probe, uses: int) -> Grade:
    """The grade of a probe; `uses` are those since the last review. A score that is not finite is a failure: else a
    memory full of NaN finds everything."""
    if probe.rank is None or probe.rank >= SHOWN or not isfinite(probe.score):
        return Grade.AGAIN
    if probe.rank > 0:
        return Grade.HARD
    return Grade.EASY if uses >= 2 and probe.margin >= MARGIN else Grade.GOOD


def cue_of(title: str, text: str, facts: Sequence[Triple]) -> str:
    """The question that a memory should answer: a fact without its object; else its title; else how it begins."""
    for fact in facts:
        if fact.subject and fact.relation:
            return f"{fact.subject} {fact.relation}"
    if _WORD.search(title):
        return title
    words = text.split()
    return " ".join(words[:CUE_WORDS])
