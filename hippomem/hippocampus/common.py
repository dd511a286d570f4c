"""Titles that are common nouns: a passage titled "Politician" is linked to those that write "politician".

A name is known by its capitals, and so a text that says what someone is would not lead to the passage about that. A
title whose words would not be capitalised within a sentence gives its passage a key of its own, besides its name; a
text has that key wherever it writes those words in small letters, with whatever ending. Such keys stand in the views
alone: no extractor finds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from hippomem.hippocampus.keys import STOP_WORDS, plain, title_names
from hippomem.hippocampus.lexical import stem
from hippomem.storage.rows import LAST_BIT

LONGEST = 2  # words
SHORTEST = 3  # letters of a word
_MARK = "~"  # no name's key has it
_IDLE = STOP_WORDS | {"may", "will", "shall"}  # in small letters neither the month nor the man


def is_common(key: str) -> bool:
    """Whether a key is that of a common noun."""
    return key.startswith(_MARK)


def title_keys(title: str) -> frozenset[str]:
    """The key of a title that could stand in small letters, with and without what is in parentheses at its end."""
    found = set()
    for name in title_names(title) if title else ():
        words = plain(name).split()
        if 0 < len(words) <= LONGEST and words[0][1:].islower():
            words[0] = words[0].lower()
            if all(map(_counts, words)):
                found.add(_key(words))
    return frozenset(found)


def text_keys(lines: Sequence[str]) -> dict[str, int]:
    """The keys that stand in a passage, with the lines they stand in as bits (line 62 and later share one)."""
    found: dict[str, int] = {}
    for number, line in enumerate(lines):
        bit = 1 << min(number, LAST_BIT)
        for key, _ in _runs(plain(line)):
            found[key] = found.get(key, 0) | bit
    return found


def spelled(key: str, *texts: str) -> str:
    """The first words of the texts that have a common key; the stems in it where none have."""
    for text in texts:
        words = plain(text)
        for found, written in _runs(words[:1].lower() + words[1:]):  # a title is capitalised
            if found == key:
                return written
    return key.removeprefix(_MARK)


def _runs(text: str) -> Iterator[tuple[str, str]]:
    """Keys and the words that have them, of plain text."""
    words = text.split()
    counts = list(map(_counts, words))
    for first, is_first in enumerate(counts):
        if is_first:
            for last in range(first, min(first + LONGEST, len(words))):
                if not counts[last]:
                    break
                run = words[first : last + 1]
                yield _key(run), " ".join(run)


@lru_cache(maxsize=65536)  # words repeat
def _counts(word: str) -> bool:
    return len(word) >= SHORTEST and word.islower() and word.isalpha() and word not in _IDLE


def _key(words: Sequence[str]) -> str:
    return _MARK + " ".join(map(stem, words))
