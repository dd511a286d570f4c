"""Questions with slips in their names: what a recall is worth to somebody who cannot spell them.

One slip in one word of every run of capitalised words: a letter left out, put in, exchanged, or swapped with the next,
never the first letter; words of fewer than four letters and the question's first word are spared. What becomes of a
question follows from its text alone.
"""

from __future__ import annotations

import random
import re
import string

_RUN = re.compile(r"(?<=\s)[A-Z][\w'-]*(?:\s+[A-Z][\w'-]*)*")
_WORD = re.compile(r"[A-Za-z]{4,}")


def misspelt(question: str) -> str:
    """The question with slips in its names; itself where it names nothing."""
    draw = random.Random(question)  # noqa: S311

    def slipped(run: re.Match[str]) -> str:
        words = list(_WORD.finditer(run[0]))
        if not words:
            return run[0]
        word = draw.choice(words)
        return run[0][: word.start()] + _slip(word[0], draw) + run[0][word.end() :]

    return _RUN.sub(slipped, question)


def _slip(word: str, draw: random.Random) -> str:
    changed = word
    while changed == word:
        at, letter = draw.randrange(1, len(word) - 1), draw.choice(string.ascii_lowercase)
        head, tail = word[:at], word[at:]
        changed = draw.choice([head + tail[1:], head + letter + tail, head + letter + tail[1:],
                               head + tail[1] + tail[0] + tail[2:]])  # fmt: skip
    return changed
