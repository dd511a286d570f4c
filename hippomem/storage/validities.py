"""From when to when facts hold: what users said of their triples, and what consolidation found.

What a user said stands with the fact (`facts`) and is never changed by anything else; what was found lies beside it
(`validities`). A passage's status follows both: it is invalid from when the last of its facts has ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from hippomem.storage.chunks import chunks
from hippomem.storage.entities import entity_keys
from hippomem.storage.schema import facts, passages, validities
from hippomem.storage.statuses import set_status, status_of

SPARED = ""  # stands for what contradicts a fact that was found to hold after all, and goes with no passage


@dataclass(frozen=True, slots=True)
class Validity:
    """From when to when a fact holds. One that names what contradicts it and has no end was found to hold after all, at
    `valid_from`: what was said by then does not contradict it again. One that names nothing holds from `valid_from`,
    when it was last said."""

    valid_from: datetime | None = None
    invalid_at: datetime | None = None
    by_passage: str | None = None

    @property
    def is_spared(self) -> bool:
        """Whether it was found to hold after all."""
        return self.by_passage is not None and self.invalid_at is None

    def as_told(self) -> list[str | None]:
        """As the log of changes keeps it."""
        moments = self.valid_from, self.invalid_at
        return [*(moment.isoformat() if moment else None for moment in moments), self.by_passage]

    @classmethod
    def of_told(cls, told: list[str | None]) -> Validity:
        """What `as_told` gave."""
        start, end = (datetime.fromisoformat(moment) if moment else None for moment in told[:2])
        return cls(start, end, told[2])


def fact_id(subject: int, relation: str, object_: int) -> str:
    """The hash of a triple, by its entities' numbers."""
    return hashlib.blake2b(f"{subject}\0{relation}\0{object_}".encode(), digest_size=16).hexdigest()


# Built once: building it takes longer than running it.
_VALIDITIES_OF = select(validities).where(
    validities.c.namespace == bindparam("namespace"), validities.c.passage.in_(bindparam("numbers", expanding=True))
)


def validities_of(connection: Connection, namespace: int, numbers: Iterable[int]) -> dict[tuple[int, str], Validity]:
    """(passage, fact) → validity, where anything is known of it."""
    found: dict[tuple[int, str], Validity] = {}
    for some in chunks(numbers):
        rows = connection.execute(_VALIDITIES_OF, {"namespace": namespace, "numbers": some})
        found.update(((r.passage, r.fact), Validity(r.valid_from, r.invalid_at, r.by_passage)) for r in rows)
    return found


def set_validity(connection: Connection, namespace: int, number: int, fact: str, **values: Any) -> None:
    """Change some of a fact's validity."""
    where = (validities.c.namespace == namespace, validities.c.passage == number, validities.c.fact == fact)
    if not connection.execute(update(validities).where(*where).values(**values)).rowcount:
        connection.execute(insert(validities).values(namespace=namespace, passage=number, fact=fact, **values))


def hold_from(connection: Connection, namespace: int, number: int, since: Mapping[str, datetime]) -> None:
    """The facts of a passage hold from these moments on, and nothing contradicts them any more. There may be
    thousands."""
    v = validities.c
    query = select(v.fact).where(v.namespace == namespace, v.passage == number)
    there = since.keys() & set(connection.execute(query).scalars())
    own = (v.namespace == namespace, v.passage == number, v.fact == bindparam("which"))
    rows = [{"which": fact, "valid_from": since[fact], "by_passage": None} for fact in sorted(there)]
    if rows:
        connection.execute(update(validities).where(*own), rows)
    rows = [{"fact": fact, "valid_from": since[fact]} for fact in sorted(since.keys() - there)]
    if rows:
        connection.execute(insert(validities).values(namespace=namespace, passage=number), rows)


def facts_in(connection: Connection, namespace: int, number: int) -> list[str]:
    """The hashes of what a passage states."""
    query = select(facts.c.subject, facts.c.relation, facts.c.object).distinct()
    rows = connection.execute(query.where(facts.c.namespace == namespace, facts.c.passage == number))
    return sorted(fact_id(*row) for row in rows)


def hand_over(connection: Connection, namespace: int, old: tuple[int, str], new: tuple[int, str]) -> None:
    """What a passage ended, given as (number, id), stays ended by what an update puts in its place, where that states
    all that the old one did."""
    stated, states = (set(facts_in(connection, namespace, number)) for number, _ in (old, new))
    if stated <= states:
        own = (validities.c.namespace == namespace, validities.c.by_passage == old[1])
        connection.execute(update(validities).where(*own).values(by_passage=new[1]))


def ended_facts(
    connection: Connection, namespace: int, numbers: Iterable[int]
) -> dict[int, list[tuple[str, str, str, Validity]]]:
    """passage → subject's key, relation, object's key, validity, of the facts whose validity is known."""
    known = validities_of(connection, namespace, numbers)
    found: dict[int, list[tuple[str, str, str, Validity]]] = {}
    for some in chunks(sorted({passage for passage, _ in known})):
        own = select(facts.c.passage, facts.c.subject, facts.c.relation, facts.c.object).distinct()
        rows = connection.execute(own.where(facts.c.namespace == namespace, facts.c.passage.in_(some))).all()
        keys = entity_keys(connection, namespace, sorted({n for row in rows for n in (row.subject, row.object)}))
        for passage, subject, relation, object_ in rows:
            validity = known.get((passage, fact_id(subject, relation, object_)))
            if validity is not None:
                found.setdefault(passage, []).append((keys[subject], relation, keys[object_], validity))
    return found


def settle(connection: Connection, namespace: int, number: int) -> None:
    """A passage is invalid from when the last of its facts is, and only if all of them are. Where users said from when
    its facts hold, it holds from the first of these, and of its own moment for the others."""
    query = select(facts.c.subject, facts.c.relation, facts.c.object, facts.c.valid_from, facts.c.invalid_at).where(
        facts.c.namespace == namespace, facts.c.passage == number
    )
    said: dict[str, list[tuple[datetime | None, datetime | None]]] = {}
    for subject, relation, object_, start, end in connection.execute(query):
        said.setdefault(fact_id(subject, relation, object_), []).append((start, end))
    found = validities_of(connection, namespace, [number])
    starts: list[datetime | None] = []
    ends: list[datetime | None] = []
    for fact, own in said.items():
        # A name that is written otherwise gives a second row: the one with a validity tells.
        own = [one for one in own if one != (None, None)] or own
        starts += [start for start, _ in own]
        known = found.get((number, fact))
        ends += [end or (known.invalid_at if known else None) for _, end in own]
    values = {"invalid_at": _last(ends), "valid_from": _first(connection, namespace, number, starts)}
    before = status_of(connection, namespace, [number]).get(number)
    now = {name: getattr(before, name) if before else None for name in values}
    if now != values:
        set_status(connection, namespace, number, **values)


def _last(ends: list[datetime | None]) -> datetime | None:
    """The last of the ends, None where one is open."""
    held = [end for end in ends if end is not None]
    return max(held) if held and len(held) == len(ends) else None


def _first(connection: Connection, namespace: int, number: int, starts: list[datetime | None]) -> datetime | None:
    """The first of what users said, None where they said nothing."""
    said = [start for start in starts if start is not None]
    if said and len(said) < len(starts):
        query = select(passages.c.occurred_at, passages.c.recorded_at)
        occurred, recorded = connection.execute(
            query.where(passages.c.namespace == namespace, passages.c.number == number)
        ).one()
        said.append(occurred or recorded)
    return min(said, default=None)
