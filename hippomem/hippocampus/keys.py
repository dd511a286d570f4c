"""Entity keys: names that normalise to the same key are the same entity.

Accents, case and punctuation go; the letters and digits of every script stay (北京大学, Москва and محمد each keep a
key of their own).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

MAX_KEY = 200  # characters; a longer "name" is a paragraph that an extractor took for one

_NOT_WORD = re.compile(r"[\W_]+")
_ARTICLES = ("the ", "a ", "an ")
_TRAILING_PARENTHESIS = re.compile(r"\s*\([^()]*\)\s*$")

STOP_WORDS = frozenset(
    """a about above after again against all also am an and any are as at be because been before being below between
    both but by can could did do does doing down during each either else ever few for from further had has have
    having he her here hers herself him himself his how i if in into is it its itself let me might more most must my
    myself neither no nor not now of off on once one only or other our ours ourselves out over own per same shall
    she should since so some such than that the their theirs them themselves then there these they this those
    through to too under until up upon very was we were what when where whether which while who whom whose why with
    within without would yes yet you your yours yourself yourselves""".split()
)


def plain(text: str) -> str:
    """`text` without accents, its words separated by single spaces, case kept."""
    if text.isascii():  # the common case, ten times cheaper
        return _NOT_WORD.sub(" ", text).strip()
    decomposed = unicodedata.normalize("NFKD", text)
    # Marks on letters with case are accents, and the vowel points of Arabic and Hebrew are optional; in Indic or Thai
    # script marks spell the word, and NFKC joins again what NFKD took apart there (Hangul syllables, for one).
    letters = []
    base = ""
    for char in decomposed:
        if unicodedata.combining(char):
            if (base and _is_cased(base)) or _is_vowel_point(char):
                continue
        else:
            base = char
        letters.append(char)
    joined = unicodedata.normalize("NFKC", "".join(letters))
    # str.isalnum is False for combining vowel signs, \w likewise: keep them inside words.
    spaced = "".join(c if c.isalnum() or unicodedata.category(c).startswith("M") else " " for c in joined)
    return " ".join(spaced.split())


@lru_cache(maxsize=16384)  # the same names come again and again
def entity_key(name: str) -> str:
    """The key of a name, or "" where it has none (too short, a stop word, no letter or digit)."""
    return key_of_plain(plain(name).lower())


def key_of_plain(text: str) -> str:
    """The key of text that is plain and lower case already: articles in front and a lone "s" behind go."""
    if text.startswith(_ARTICLES):
        text = text[text.index(" ") + 1 :]
    if text.endswith(" s"):
        text = text[:-2]
    if len(text) > MAX_KEY or text in STOP_WORDS:
        return ""
    # One ideograph is a word; one letter is not.
    return text if len(text) >= 2 or (text and is_unspaced(text)) else ""


def title_names(title: str) -> tuple[str, ...]:
    """The names a title gives its passage: itself and, where it ends in "(...)", the part before."""
    bare = _TRAILING_PARENTHESIS.sub("", title)
    return (title, bare) if bare and bare != title else (title,)


def is_unspaced(char: str) -> bool:
    """Whether `char` belongs to a script that writes words without spaces between them."""
    point = ord(char[0])
    return (
        0x0E00 <= point <= 0x0EFF  # Thai, Lao
        or 0x1000 <= point <= 0x109F  # Myanmar
        or 0x1780 <= point <= 0x17FF  # Khmer
        or 0x3040 <= point <= 0x30FF  # Kana
        or 0x3400 <= point <= 0x9FFF  # CJK ideographs
        or 0xF900 <= point <= 0xFAFF
        or 0x20000 <= point <= 0x323AF
    )


class Word(NamedTuple):
    """A word of a query: where it lies in the plain text, and whether it can begin a name."""

    start: int
    end: int
    namelike: bool
    unspaced: bool = False


def words(text: str) -> list[Word]:
    """The words of plain `text` (case kept). Scripts without spaces give one word a character."""
    found: list[Word] = []
    for match in re.finditer(r"\S+", text):
        run, start = match.group(), match.start()
        if run.isascii():  # the common case: no letter needs a look of its own
            found.append(Word(start, start + len(run), _is_namelike(run)))
            continue
        piece = 0
        for offset, char in enumerate(run):
            if is_unspaced(char):
                if piece < offset:
                    found.append(Word(start + piece, start + offset, _is_namelike(run[piece:offset])))
                found.append(Word(start + offset, start + offset + 1, True, True))
                piece = offset + 1
        if piece < len(run):
            found.append(Word(start + piece, start + len(run), _is_namelike(run[piece:])))
    return found


@lru_cache(maxsize=65536)  # words repeat
def _is_namelike(run: str) -> bool:
    first = run[0]
    return (
        (not run.islower() and any(char.isupper() for char in run))  # also iPod
        or (first.isalpha() and not _is_cased(first))
        or (len(run) == 4 and run.isdigit())
    )


def _is_cased(char: str) -> bool:
    return char.lower() != char.upper()


def _is_vowel_point(char: str) -> bool:
    return "\u064b" <= char <= "\u0652" or "\u0591" <= char <= "\u05c7" or char == "\u0670"
