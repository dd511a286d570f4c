"""Contradictions between facts: same subject, functional relation, another object, both held to be true now.

A relation is functional as far as subjects have one object of it (functionality, PARIS, Suchanek et al. 2011, VLDB).
What tells are subjects about whom it was said more than once: with the same object again, or with another. That
somebody visited one place tells little, as long as nobody said a second time where they were. It is measured
from the corpus, without the subject in question. Of two facts the newer holds; both are kept, the older gets an end.
Where nothing tells which is newer nothing is decided.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

FUNCTIONAL = 0.5  # functionality from which a relation counts as functional: what changed counts against it, too
ONCE = 0.25  # what a subject that was told of once tells, to 1 of one that was told of again with the same object
EVIDENCE = 3.0  # of subjects that have one object, before anything is known
_SPACE = re.compile(r"\W+")


@dataclass(frozen=True, slots=True)
class Statement:
    """A fact as a passage states it. `moment` is from when it holds, None where nothing tells; `object_key` is the
    object's normalised name; `is_promoted` whether several events of several sources support it; `is_closed` whether a
    user said until when it holds: it is left as it is, and tells nothing about what came after it. `told_at` is when it
    was last said; what was said until `spared_until` does not contradict it."""

    passage: int
    subject: int
    relation: str
    object: int
    object_key: str
    moment: datetime | None
    is_promoted: bool = False
    is_closed: bool = False
    trust: float = 1.0
    told_at: datetime | None = None
    spared_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Contradiction:
    """`older` ends where `newer` begins; not so where that is doubted, as `newer` is less trusted."""

    older: Statement
    newer: Statement
    tellings: Tellings
    is_doubted: bool = False


def relation_key(relation: str) -> str:
    """A relation's name, whatever its case and punctuation: "works for", "works_for"."""
    return _SPACE.sub(" ", relation.replace("_", " ").casefold()).strip()


@dataclass(frozen=True, slots=True)
class Tellings:
    """How many subjects of a relation were told of once, again with the same object, and with another one."""

    once: int = 0
    same: int = 0
    other: int = 0

    @property
    def functionality(self) -> float:
        """The share of one object among what was told of again, with a little for what was told of once."""
        held = self.same + ONCE * self.once
        return held / (held + self.other) if held else 0.0

    @property
    def is_functional(self) -> bool:
        """Whether subjects of the relation have one object, as far as that is known."""
        return self.same + ONCE * self.once >= EVIDENCE and self.functionality >= FUNCTIONAL

    def without_one(self) -> Tellings:
        """Without a subject that has several objects."""
        return replace(self, other=max(0, self.other - 1))


def tellings(told: Iterable[tuple[int, str, Hashable]]) -> Tellings:
    """Of one relation, from (subject, the object's key, what tells apart one telling from another)."""
    objects: dict[int, set[str]] = defaultdict(set)
    times: dict[int, set[Hashable]] = defaultdict(set)
    for subject, key, telling in told:
        objects[subject].add(key)
        times[subject].add(telling)
    once = same = other = 0
    for subject, keys in objects.items():
        shortest = min(keys, key=len)
        if not all(_is_part(shortest, key) for key in keys):
            other += 1
        elif len(times[subject]) > 1:
            same += 1
        else:
            once += 1
    return Tellings(once, same, other)


def contradictions(statements: Iterable[Statement], measured: Mapping[str, Tellings]) -> list[Contradiction]:
    """What of these is contradicted by what, for subjects given with all that is stated about them; `measured` by the
    relation's key."""
    groups: dict[tuple[int, str], list[Statement]] = defaultdict(list)
    for statement in statements:
        groups[statement.subject, relation_key(statement.relation)].append(statement)
    found = []
    for (_, relation), group in sorted(groups.items(), key=lambda item: item[0]):
        others = measured.get(relation, Tellings()).without_one()
        if others.is_functional:
            found += [Contradiction(older, newer, others, doubted) for older, newer, doubted in _superseded(group)]
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
                or _is_spared(older, newer)
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


def _is_spared(older: Statement, newer: Statement) -> bool:
    """Whether it was decided, after `newer` was said, that `older` holds all the same."""
    return older.spared_until is not None and newer.told_at is not None and newer.told_at <= older.spared_until


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
