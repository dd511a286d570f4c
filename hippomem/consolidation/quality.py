"""The quality gate: what is remembered but not learned, and what only comes back from where it went.

Junk that a memory has learned heals only in part (arXiv 2510.13928), so it is flagged and kept out of the neural
memory. It stays in the store and can be recalled: what is junk is a guess, and a guess may not cost a memory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

_WORD = re.compile(r"[^\W_]+")
_SMALL = frozenset(
    """a about all also am an and any are as at be been but by can could did do does for from get got had has have he
    her here him his how i if in into is it its just like me my no not of oh ok okay on or our out please she so some
    thank thanks that the their them then there they this to too up us very was we well were what when where which
    who why will with would yeah yes you your hi hello hey bye cool great fine nice right sure""".split()
)
LEAST_WORDS = 2  # different ones that say something
_BOILERPLATE = re.compile(
    r"all rights reserved|accept (all )?cookies|we use cookies|cookie (policy|settings)|privacy policy|terms of "
    r"(service|use)|unsubscribe|subscribe to our|click here|sign (in|up) to|skip to (main )?content|enable javascript|"
    r"this (e-?mail|message) .{0,40}confidential|page \d+ of \d+|copyright ©|© ?\d{4}|back to top|share on (facebook|"
    r"twitter|x)|loading\.\.\.",
    re.IGNORECASE,
)
BOILERPLATE_SHARE = 8  # words of text for each stock phrase, or more, and it is a text with a footer
REMEMBERED = 512  # recalled passages that an echo is looked for among
ALIKE = 0.9  # share of words in common, of all


def flag_of(text: str) -> str | None:
    """Why a text is not worth learning: "no information", "boilerplate"; None where it is."""
    words = content_words(text)
    if len(set(words)) < LEAST_WORDS:
        return "no information"
    phrases = len(_BOILERPLATE.findall(text))
    if phrases and len(words) < BOILERPLATE_SHARE * phrases:
        return "boilerplate"
    if len(words) >= 12 and len(set(words)) / len(words) < 0.2:
        return "no information"  # the same few words over and over
    return None


def content_words(text: str) -> list[str]:
    """The words that say something, in lower case. A script without spaces counts by characters."""
    return [
        unit
        for word in _WORD.findall(text.casefold())
        if word not in _SMALL
        for unit in (word if not word.isascii() and len(word) > 1 and not _has_case(word) else (word,))
    ]


def says_the_same(text: str, other: str) -> bool:
    """Whether two texts say the same in nearly the same words: no name or number is in one of them only."""
    ours, theirs = _words(text), _words(other)
    if ours.keys() == theirs.keys():
        return True
    return _alike(ours, theirs)


def _alike(ours: dict[str, bool], theirs: dict[str, bool]) -> bool:
    shared = len(ours.keys() & theirs.keys())
    every = len(ours.keys() | theirs.keys())
    if not every or shared / every < ALIKE:
        return False
    lone = ours.keys() ^ theirs.keys()
    return not any(ours.get(word, False) or theirs.get(word, False) for word in lone)


def _words(text: str) -> dict[str, bool]:
    """Each word, and whether it tells things apart: a number, a name, or a "not"."""
    found: dict[str, bool] = {}
    for word in _WORD.findall(text):
        low = word.casefold()
        tells = any(c.isdigit() for c in word) or low in ("not", "no", "never") or word[:1].isupper()
        found[low] = found.get(low, False) or tells
    return found


def _has_case(word: str) -> bool:
    return word.lower() != word.upper()


@dataclass
class Echoes:
    """What was recalled lately, so that it is known when it comes back in as if it were new.

    It holds the last `size` passages, which are read when something comes in: a recall only lays them down. Not safe
    for threads: its memory's lock is.
    """

    size: int = REMEMBERED
    _texts: dict[str, str] = field(default_factory=dict)  # oldest first
    _words: dict[str, dict[str, bool]] = field(default_factory=dict)
    _holders: dict[str, dict[str, None]] = field(default_factory=dict)

    def heard(self, passages: Iterable[tuple[str, str]]) -> None:
        """Passages, by id and text, that have just been recalled."""
        for id_, text in passages:
            self._texts.setdefault(id_, text)
        while len(self._texts) > self.size:
            self.forget(next(iter(self._texts)))

    def source_of(self, text: str) -> str | None:
        """The id of the recalled passage that a text repeats, None where it says something else."""
        self._read()
        words = _words(text)
        met: Counter[str] = Counter()
        for word in words:
            if word in self._holders:
                met.update(self._holders[word].keys())
        for id_, shared in met.most_common(4):
            theirs = self._words[id_]
            if shared >= ALIKE * max(len(words), len(theirs)) and (
                words.keys() == theirs.keys() or _alike(words, theirs)
            ):
                return id_
        return None

    def forget(self, id_: str) -> None:
        """Take out one passage."""
        self._texts.pop(id_, None)
        for word in self._words.pop(id_, ()):
            del self._holders[word][id_]
            if not self._holders[word]:
                del self._holders[word]

    def _read(self) -> None:
        for id_, text in self._texts.items():
            if id_ not in self._words:
                self._words[id_] = words = _words(text)
                for word in words:
                    self._holders.setdefault(word, {})[id_] = None
