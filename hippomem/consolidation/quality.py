"""The quality gate: what is remembered but not learned, and what only comes back from where it went.

Junk that a memory has learned heals only in part (arXiv 2510.13928), so it is flagged and kept out of the neural
memory. It stays in the store and can be recalled: what is junk is a guess, and a guess may not cost a memory.
"""

from __future__ import annotations

import re
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
# Numbers whole ("10:30" is not "4:30 in room 10"), "can't" as one word, and signs such as those of "C#", "-5", "5 %".
_UNIT = re.compile(r"\d+(?:[.,:]\d+)+|[^\W_]+(?:'[^\W_]+)*|-(?=\d)|[^\w\s.,;:!\"'“”„‘«»()\[\]{}…–—-]")
_ARTICLES = frozenset(("a", "an", "the", "An", "The", "AN", "THE"))  # not "A", as in "vitamin A"


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


def said(text: str) -> tuple[str, ...]:
    """What a text says: its words, numbers and signs in their order. Case, punctuation and articles do not count; all
    else does, as a name, a "not" or who stands first may turn it into its opposite.
    """
    return tuple(unit.casefold() for unit in _UNIT.findall(text.replace("’", "'")) if unit not in _ARTICLES)


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
    _said: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _ids: dict[tuple[str, ...], dict[str, None]] = field(default_factory=dict)

    def heard(self, passages: Iterable[tuple[str, str]]) -> None:
        """Passages, by id and text, that have just been recalled."""
        for id_, text in passages:
            self._texts.pop(id_, None)  # heard again, it is not the oldest any more
            self._texts[id_] = text
        while len(self._texts) > self.size:
            self.forget(next(iter(self._texts)))

    def sources_of(self, text: str) -> list[str]:
        """The ids of the recalled passages that say what a text says, the first recalled first."""
        for id_, heard in self._texts.items():
            if id_ not in self._said:
                self._said[id_] = said(heard)
                self._ids.setdefault(self._said[id_], {})[id_] = None
        return list(self._ids.get(said(text), ()))

    def forget(self, id_: str) -> None:
        """Take out one passage."""
        self._texts.pop(id_, None)
        if (own := self._said.pop(id_, None)) is not None:
            del self._ids[own][id_]
            if not self._ids[own]:
                del self._ids[own]
