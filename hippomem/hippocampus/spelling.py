"""Misspelt words of a question: one that stands nowhere in the memory is read as one that does, a slip away.

A slip is a letter left out, put in, exchanged, or swapped with the next (Damerau 1964: four of five misspellings). All
words one slip away are looked up in the index that is there (Norvig, "How to write a spelling corrector", 2007): that
needs no index of its own, and costs the same whatever is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hippomem.hippocampus.keys import STOP_WORDS, Word, plain, words

SHORTEST = 5  # letters; shorter words are a slip away from too many others
LONGEST = 40  # letters; what is longer is no word, and has as many others a slip away as it has letters
MOST = 100  # words of one question; what holds more that nobody knows is no question with slips in it
PROVEN = 2  # passages that hold what a word without a capital is taken for: a word that stands once may be misspelt too
_ALPHABETS = ("abcdefghijklmnopqrstuvwxyz", "абвгдеёжзийклмнопрстуфхцчшщъыьэюяіїєґ", "αβγδεζηθικλμνξοπρσςτυφχψω")


def corrected(question: str, count: Callable[[str], int], named: Callable[[str], list[str]]) -> str:
    """The question in plain text, with words that stand nowhere replaced by such that do; itself where there are none
    or very many.

    `count` tells in how many passages a word stands, `named` what names a text holds. Of several words that could be
    meant, one wins that makes a name with the words beside it, the longest; then the one that most passages hold.
    """
    text = plain(question)
    found = words(text)
    strange = [word for word in found if _can_be_misspelt(text, word) and not count(_low(text, word))]
    if not 0 < len(strange) <= MOST:
        return question
    known_names, before = named(text), text
    for word in reversed(strange):  # so that the places of those before stay right
        written = text[word.start : word.end]
        if any(written in name.split() for name in known_names):
            continue  # of the user's own triples, which no text need hold
        least = 1 if word.namelike else PROVEN
        meant = [(near, n) for near in _a_slip_away(written.lower()) if (n := count(near)) >= least]
        if not meant:
            continue
        options = []
        for near, n in meant:
            spelt = near.capitalize() if written[0].isupper() else near
            changed = text[: word.start] + spelt + text[word.end :]
            longest = max((len(name.split()) for name in named(changed) if spelt in name.split()), default=0)
            options.append((-longest, -n, near, changed))
        text = min(options)[-1]
    return question if text == before else text


def _low(text: str, word: Word) -> str:
    return text[word.start : word.end].lower()


def _can_be_misspelt(text: str, word: Word) -> bool:
    written = _low(text, word)
    return not word.unspaced and SHORTEST <= len(written) <= LONGEST and written.isalpha() and written not in STOP_WORDS


def _a_slip_away(word: str) -> Iterator[str]:
    """All words one slip away, each once."""
    letters = next((alphabet for alphabet in _ALPHABETS if word[0] in alphabet), "".join(sorted(set(word))))
    seen = {word}
    for at in range(len(word) + 1):
        head, tail = word[:at], word[at:]
        near = [head + letter + tail for letter in letters]
        if tail:
            near += [head + tail[1:], *(head + letter + tail[1:] for letter in letters)]
        if len(tail) > 1:
            near.append(head + tail[1] + tail[0] + tail[2:])
        for other in near:
            if other not in seen:
                seen.add(other)
                yield other
