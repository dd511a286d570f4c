"""Contradictions between facts: same subject, functional relation, another object, both held to be true now.

A relation is functional as far as subjects have one object of it (functionality, PARIS, Suchanek et al. 2011, VLDB).
What tells are subjects about whom it was said more than once: with the same object again, or with another. That
somebody visited one place tells little, as long as nobody said a second time where they were. Several objects are
one at a time where they follow each other, each told of again only until the next one begins: then something has
changed. Of objects that go on to hold, that comes about by chance, with the probability p, the product over all but the
last of m objects of 1 / C(n - 1 + l, l) for one that is told of n times with l objects that begin later. Where a
relation's objects follow each other more often than by chance, by three standard errors, a subject of which they do
speaks 1 - p for one object, and p against; any other one with several objects speaks against it. It is measured from
the corpus, without the subject in question. Of two facts the newer holds; both are kept, the older gets an end. Where
nothing tells which is newer nothing is decided.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from math import exp, fsum, lgamma, sqrt

FUNCTIONAL = 0.5  # functionality from which a relation counts as functional: what changed counts against it, too
ONCE = 0.25  # what a subject that was told of once tells, to 1 of one that was told of again with the same object
EVIDENCE = 3.0  # of subjects that have one object, before anything is known
SURE = 3.0  # standard errors
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
class Telling:
    """One of the relation's facts, as it was told: the subject, the object's normalised name, what tells the occasion
    apart from others, and since when it holds, None where nothing tells."""

    subject: int
    object_key: str
    occasion: Hashable
    moment: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tellings:
    """How many subjects of a relation were told of once; what those that were told of again say for one object at a
    time, and against it; and of these what each `several` says that has several objects."""

    once: int = 0
    same: float = 0.0
    other: float = 0.0
    several: Mapping[int, tuple[float, float]] = field(default_factory=dict, compare=False)

    @property
    def held(self) -> float:
        """All that speaks for one object: of what was told of once, a little."""
        return self.same + ONCE * self.once

    @property
    def functionality(self) -> float:
        """The share of what speaks for one object at a time, 0 to 1."""
        return self.held / (self.held + self.other) if self.held else 0.0

    @property
    def is_functional(self) -> bool:
        """Whether subjects of the relation have one object at a time, as far as that is known."""
        return self.held >= EVIDENCE and self.functionality >= FUNCTIONAL

    def without(self, subject: int) -> Tellings:
        """Without what a subject says that has several objects."""
        same, other = self.several.get(subject, (0.0, 0.0))
        return Tellings(self.once, max(0.0, self.same - same), max(0.0, self.other - other))


def tellings(told: Iterable[Telling]) -> Tellings:
    """Of all that was told of one relation."""
    by_subject: dict[int, list[Telling]] = defaultdict(list)
    for one in told:
        by_subject[one.subject].append(one)
    once = same = 0
    orders: dict[int, tuple[bool, float]] = {}
    for subject, own in by_subject.items():
        keys = {one.object_key for one in own}
        shortest = min(keys, key=len)
        if not all(_is_part(shortest, key) for key in keys):
            orders[subject] = follow(own)
        elif len({one.occasion for one in own}) > 1:
            same += 1
        else:
            once += 1
    more = fsum(is_so - chance for is_so, chance in orders.values())
    error = sqrt(fsum(chance * (1 - chance) for _, chance in orders.values()))
    is_shown = more - 0.5 > SURE * error  # half a subject: they are whole
    several = {
        subject: (1 - chance, chance) if is_shown and is_so else (0.0, 1.0)
        for subject, (is_so, chance) in orders.items()
    }
    held, against = (fsum(said[way] for said in several.values()) for way in (0, 1))
    return Tellings(once, same + held, against, several)


def follow(told: Iterable[Telling]) -> tuple[bool, float]:
    """Whether the objects of a subject follow each other, and how probable that was if all went on to hold: 1 where
    nothing tells their order."""
    began: dict[tuple[Hashable, str], datetime] = {}
    at: dict[datetime, str] = {}
    for one in told:
        if one.moment is None or at.setdefault(one.moment, one.object_key) != one.object_key:
            return True, 1.0
        known = one.occasion, one.object_key
        began[known] = min(began.get(known, one.moment), one.moment)
    order = [key for _, key in sorted(began, key=began.__getitem__)]
    counts = Counter(order)  # by the object that began first, first
    ways = [_log_ways(count - 1, len(counts) - place) for place, count in enumerate(counts.values(), 1)]
    return sum(1 for _ in groupby(order)) == len(counts), exp(-fsum(ways))


def _log_ways(some: int, others: int) -> float:
    """ln of how many orders of these there are, of which one has all of `some` first."""
    return lgamma(some + others + 1) - lgamma(some + 1) - lgamma(others + 1)


def contradictions(statements: Iterable[Statement], measured: Mapping[str, Tellings]) -> list[Contradiction]:
    """What of these is contradicted by what, for subjects given with all that is stated about them; `measured` by the
    relation's key."""
    groups: dict[tuple[int, str], list[Statement]] = defaultdict(list)
    for statement in statements:
        groups[statement.subject, relation_key(statement.relation)].append(statement)
    found = []
    for (subject, relation), group in sorted(groups.items(), key=lambda item: item[0]):
        others = measured.get(relation, Tellings()).without(subject)
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
