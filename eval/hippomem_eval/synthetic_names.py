"""Made-up words and names that can be pronounced. Each follows from its number; no two numbers give the same."""

from __future__ import annotations

from functools import lru_cache
from itertools import count, islice

FUNCTION_WORDS = tuple(
    """the of and in a to was is for on as by with he that it at from his an were are which be this has had or not her
    but also who they she its their been have one after other when into there more than all if where two over some
    most between during while only then about such under him same both each before against""".split()
)
_SYLLABLES = tuple(c + v for c in "b d f g h j k l m n p r s t v w z ch sh th".split() for v in "aeiou")
_MIX = 0x9E3779B1  # prime, so that multiplying by it is one to one below any power of 100
_WORDS, _SHORT = 50_000, 5_000
_SURNAMES = 30_011
_GIVEN = 3_001
_BORROWED = 0.45  # of the names of several words begin with the name of an entity of one word: "Oslo Airport"


def vocabulary() -> list[str]:
    """Some 50,000 words with a meaning, by rank, the short ones first."""
    words = [_spelled(rank, 2) for rank in range(_SHORT)] + [_spelled(rank, 3) for rank in range(_WORDS - _SHORT)]
    return [word for word in words if word not in FUNCTION_WORDS]


def title_name(number: int) -> str:
    """The title of a passage; no entity has it."""
    return _name(2 * number)


def entity_name(rank: int) -> str:
    """The name of an entity that is no title."""
    return _name(2 * rank + 1)


def _name(number: int) -> str:
    """One word in 27 of 100 names, two in 41, three in 23, else four."""
    kind = _mixed(number, 5) % 100
    if kind < 27:
        return _spelled(number, 3 if number < 10**6 else 5).capitalize() + "n"
    given, surname = divmod(number * _MIX % (_GIVEN * _SURNAMES), _SURNAMES)
    words = [_first(given, _mixed(number, 4)), _spelled(surname, 3).capitalize() + "r"]
    for extra in range((kind >= 68) + (kind >= 91)):
        words.insert(1, _spelled(_mixed(number + extra, 5) % _GIVEN, 2).capitalize() + "s")
    return " ".join(words)


def _first(given: int, chance: int) -> str:
    """A given name, or an entity of one word: what stands in it is then named wherever this is."""
    if chance < _BORROWED * 10**8:
        return _entities_of_one_word()[given]
    return _spelled(given, 2).capitalize() + "l"


@lru_cache(maxsize=1)
def _entities_of_one_word() -> tuple[str, ...]:
    names = (_name(number) for number in count(1, 2) if _mixed(number, 5) % 100 < 27)
    return tuple(islice(names, _GIVEN))


def _mixed(number: int, syllables: int) -> int:
    return int((number + 1) * _MIX % 100**syllables)


def _spelled(number: int, syllables: int) -> str:
    """A word of so many syllables: one to one below 100 ** syllables."""
    rest = _mixed(number, syllables)
    word = ""
    for _ in range(syllables):
        rest, place = divmod(rest, 100)
        word += _SYLLABLES[place]
    return word
