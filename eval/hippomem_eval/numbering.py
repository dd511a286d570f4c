"""Ids that tell things apart, where those of a file do not."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence


def numbered(ids: Sequence[str]) -> list[str]:
    """The ids, in order; one that comes again gets a number with which none of them comes."""
    taken, seen = set(ids), set[str]()
    numbers: dict[str, Iterator[int]] = defaultdict(lambda: itertools.count(2))
    unique = []
    for id_ in ids:
        is_again = id_ in seen
        seen.add(id_)
        unique.append(next(new for n in numbers[id_] if (new := f"{id_}#{n}") not in taken) if is_again else id_)
    return unique
