"""Contradictions between facts: same subject, functional relation, another object, both held to be true now.

A relation is functional as far as subjects have one object of it (functionality, PARIS, Suchanek et al. 2011, VLDB:
subjects over pairs of subject and object). It is measured from the corpus, without the subject in question. Of two
facts the newer holds; both are kept, the older gets an end. Where nothing tells which is newer nothing is decided.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

FUNCTIONAL = 0.75  # functionality from which a relation counts as functional: what changed counts against it, too
SUBJECTS = 8  # that must have the relation before that is known
_SPACE = re.compile(r"\W+")


@dataclass(frozen=True, slots=True)
class Statement:
    """A fact as a passage states it. `moment` is from when it holds, None where nothing tells; `object_key` is the
    object's normalised name; `is_promoted` whether several events of several sources support it; `is_closed` whether a
    user said until when it holds: it is left as it is, and tells nothing about what came after it."""

    passage: int
    subject: int
    relation: str
    object: int
    object_key: str
    moment: datetime | None
    is_promoted: bool = False
    is_closed: bool = False
    trust: float = 1.0


@dataclass(frozen=True, slots=True)
class Contradiction:
    """`older` ends where `newer` begins; not so where that is doubted, as `newer` is less trusted."""

    older: Statement
    newer: Statement
    functionality: float
    subjects: int
    is_doubted: bool = False


def relation_key(relation: str) -> str:
    """A relation's name, whatever its case and punctuation: "works for", "works_for"."""
    return _SPACE.sub(" ", relation.replace("_", " ").casefold()).strip()


class Functionality:
    """Objects per subject of each relation, over the whole corpus: from (relation, subjects, pairs of subject and
    object) as it is spelled."""

    def __init__(self, measured: Iterable[tuple[str, int, int]]) -> None:
        self._measured: dict[str, tuple[int, int]] = {}
        for relation, subjects, pairs in measured:
            before = self._measured.get(relation_key(relation), (0, 0))
            self._measured[relation_key(relation)] = (before[0] + subjects, before[1] + pairs)

    @classmethod
    def of(cls, facts: Iterable[tuple[int, str, int]]) -> Functionality:
        """Measured on (subject, relation, object)."""
        objects: dict[str, set[tuple[int, int]]] = defaultdict(set)
        for subject, relation, object_ in facts:
            objects[relation].add((subject, object_))
        return cls((relation, len({s for s, _ in pairs}), len(pairs)) for relation, pairs in objects.items())

    def without(self, relation: str, objects: int) -> tuple[float, int]:
        """Functionality of a relation (by its key) and the number of its subjects, without one that has so many
        objects."""
        subjects, pairs = self._measured.get(relation, (0, 0))
        rest = max(0, subjects - 1)
        return (rest / max(pairs - objects, rest) if rest else 0.0), rest

    def is_functional(self, relation: str, objects: int) -> bool:
        """Whether a subject with so many objects of this relation contradicts itself."""
        measure, subjects = self.without(relation_key(relation), objects)
        return objects > 1 and measure >= FUNCTIONAL and subjects >= SUBJECTS


def contradictions(statements: Iterable[Statement], functionality: Functionality) -> list[Contradiction]:
    """What of these is contradicted by what, for subjects given with all that is stated about them."""
    groups: dict[tuple[int, str], list[Statement]] = defaultdict(list)
    for statement in statements:
        groups[statement.subject, relation_key(statement.relation)].append(statement)
    found = []
    for (_, relation), group in sorted(groups.items(), key=lambda item: item[0]):
        objects = len({s.object for s in group})
        if not functionality.is_functional(relation, objects):
            continue
        measure, subjects = functionality.without(relation, objects)
        found += [
            Contradiction(older, newer, measure, subjects, doubted) for older, newer, doubted in _superseded(group)
        ]
    return found


def _superseded(group: list[Statement]) -> list[tuple[Statement, Statement, bool]]:
    """Each statement with the first later one that contradicts it, and before it those that do and are less trusted
    (True)."""
    together: Mapping[int, set[int]] = _objects_by_passage(group)
    dated = sorted((s for s in group if s.moment is not None and not s.is_closed), key=lambda s: (s.moment, s.passage))
    following = list(range(1, len(dated) + 1))  # of each, the place of the first later one with another object
    for place in range(len(dated) - 2, -1, -1):
        if dated[place].object == dated[place + 1].object:
            following[place] = following[place + 1]
    pairs = []
    for older, start in zip(dated, following, strict=True):
        for newer in map(dated.__getitem__, range(start, len(dated))):
            if (
                newer.object == older.object
                or newer.moment == older.moment
                or _is_part(older.object_key, newer.object_key)
            ):
                continue
            if len(together[older.passage]) > 1 or len(together[newer.passage]) > 1:
                continue  # one text that gives two objects says that there may be two
            if older.is_promoted and not newer.is_promoted and _support(group, newer) < 2:
                continue  # one voice does not undo what many have said
            is_doubted = newer.trust < older.trust
            pairs.append((older, newer, is_doubted))
            if not is_doubted:
                break
    return pairs


def _objects_by_passage(group: list[Statement]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    for s in group:
        found[s.passage].add(s.object)
    return found


def _support(group: list[Statement], statement: Statement) -> int:
    return len({s.passage for s in group if s.object == statement.object})


def _is_part(one: str, other: str) -> bool:
    """Whether one name is the other with more to it: "Oslo" and "Oslo, Norway" do not contradict each other."""
    ours, theirs = set(one.split()), set(other.split())
    return ours <= theirs or theirs <= ours
