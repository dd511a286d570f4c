"""What passages name and state: their mentions of entities, and their facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, exists, func, insert, select

from hippomem.storage.chunks import CHUNK, chunks, rows_among
from hippomem.storage.entities import numbered
from hippomem.storage.rows import FactRow, Links, MentionRow
from hippomem.storage.schema import UTCDateTime, entities, facts, mentions, passages, statuses, validities
from hippomem.storage.validities import fact_id, validities_of
from hippomem.types import Triple

# Statements that every recall runs are built once: building them takes longer than running them.
_FACTS_OF = (
    select(
        facts.c.passage,
        facts.c.subject,
        facts.c.object,
        facts.c.subject_name,
        facts.c.relation,
        facts.c.object_name,
        facts.c.extractor,
        facts.c.valid_from,
        facts.c.invalid_at,
        passages.c.occurred_at,
        func.coalesce(passages.c.occurred_at, passages.c.recorded_at, type_=UTCDateTime),
        exists().where(validities.c.namespace == facts.c.namespace, validities.c.passage == facts.c.passage),
    )
    .join(passages, and_(passages.c.namespace == facts.c.namespace, passages.c.number == facts.c.passage))
    .where(facts.c.namespace == bindparam("namespace"), facts.c.passage.in_(bindparam("numbers", expanding=True)))
    .order_by(facts.c.passage, facts.c.position)
)
_NAMED = select(entities.c.number).where(
    entities.c.namespace == bindparam("namespace"), entities.c.key.in_(bindparam("keys", expanding=True))
)
_FACTS_ABOUT = _FACTS_OF.where(facts.c.subject.in_(_NAMED) | facts.c.object.in_(_NAMED))


def facts_of(
    connection: Connection, namespace: int, numbers: Sequence[int], about: Sequence[str] | None = None
) -> dict[int, list[Triple]]:
    """The triples of passages, in the order of the text; where `about` has a few keys of entities, only what is about
    one of these. With more of them than a statement takes well, all are read.
    """
    found: dict[int, list[Triple]] = {}
    query, limits = (_FACTS_ABOUT, {"keys": about}) if about is not None and len(about) <= CHUNK else (_FACTS_OF, {})
    for some in chunks(numbers):
        rows = connection.execute(query, {"namespace": namespace, "numbers": some, **limits}).all()
        known = validities_of(connection, namespace, some) if any(row[-1] for row in rows) else {}
        for passage, subject, object_, name, relation, other, extractor, start, end, occurred_at, since, _ in rows:
            ended = known.get((passage, fact_id(subject, relation, object_))) if known else None
            end = end or (ended.invalid_at if ended else None)
            triple = Triple(name, relation, other, extractor, occurred_at, start or since, end)
            found.setdefault(passage, []).append(triple)
    return found


def stated_in(connection: Connection, namespace: int, numbers: Sequence[int]) -> dict[int, list[Triple]]:
    """The same as they were brought: with a validity only where a user said so."""
    found: dict[int, list[Triple]] = {}
    for some in chunks(numbers):
        for row in connection.execute(_FACTS_OF, {"namespace": namespace, "numbers": some}):
            names = row.subject_name, row.relation, row.object_name, row.extractor
            triple = Triple(*names, valid_from=row.valid_from, invalid_at=row.invalid_at)
            found.setdefault(row.passage, []).append(triple)
    return found


def brings_facts(connection: Connection, namespace: int, number: int, other: int) -> bool:
    """Whether users stated facts with one passage that they did not with the other."""
    query = select(
        facts.c.passage, facts.c.subject, facts.c.relation, facts.c.object, facts.c.valid_from, facts.c.invalid_at
    )
    own = (facts.c.namespace == namespace, facts.c.passage.in_([number, other]), facts.c.extractor == "user")
    stated = [(passage, tuple(fact)) for passage, *fact in connection.execute(query.where(*own))]
    ours, theirs = ({fact for passage, fact in stated if passage == n} for n in (number, other))
    return not ours <= theirs


def names_in(connection: Connection, namespace: int, numbers: Sequence[int]) -> dict[int, dict[str, str]]:
    """For each passage, entity key -> the name as it stands there."""
    found: dict[int, dict[str, str]] = {}
    query = select(mentions.c.passage, entities.c.key, mentions.c.name).join(
        entities, entities.c.number == mentions.c.entity
    )
    ours = query.where(mentions.c.namespace == namespace)
    for passage, key, name in rows_among(connection, ours, mentions.c.passage, numbers):
        found.setdefault(passage, {})[key] = name
    return found


def mention_rows(connection: Connection, namespace: int, numbers: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """The mentions of passages by key: key, name, lines and titled of each."""
    found: dict[int, list[dict[str, Any]]] = {}
    query = (
        select(mentions.c.passage, entities.c.key, mentions.c.name, mentions.c.lines, mentions.c.titled)
        .join(entities, entities.c.number == mentions.c.entity)
        .where(mentions.c.namespace == namespace)
        .order_by(mentions.c.passage, entities.c.key)
    )
    for row in rows_among(connection, query, mentions.c.passage, numbers):
        mention = row._asdict()
        found.setdefault(mention.pop("passage"), []).append(mention)
    return found


def add_links(connection: Connection, namespace: int, links: Sequence[tuple[int, Links]]) -> tuple[int, int]:
    """Write what passages name and state. Returns how many entities are new, and how many facts were written."""
    keys = sorted({m.key for _, own in links for m in own.mentions})
    number_of, created = numbered(connection, namespace, keys)
    mention_rows = [_mention(namespace, number, number_of, m) for number, own in links for m in own.mentions]
    fact_rows = [
        _fact(namespace, number, position, number_of, f)
        for number, own in links
        for position, f in enumerate(own.facts)
    ]
    if mention_rows:
        connection.execute(insert(mentions), mention_rows)
    if fact_rows:
        connection.execute(insert(facts), fact_rows)
    return created, len(fact_rows)


def relations(connection: Connection, namespace: int) -> list[str]:
    """Each relation of the corpus as it is spelled."""
    return list(connection.execute(select(facts.c.relation).where(facts.c.namespace == namespace).distinct()).scalars())


class Occasion(NamedTuple):
    """Where and when a fact was told: the passage's source and times, and since when it holds, as a user said."""

    source: str
    occurred_at: datetime | None
    recorded_at: datetime
    valid_from: datetime | None


def told_of(
    connection: Connection, namespace: int, spellings: Iterable[str]
) -> list[tuple[str, int, str, tuple[str, str | None, datetime | None], Occasion]]:
    """(relation, subject, the object's key, what tells apart one telling from another, its occasion) of all facts with
    these relations. The same text of the same occasion is told once, from however many sources it came."""
    occasion = passages.c.source, passages.c.occurred_at, passages.c.recorded_at, facts.c.valid_from
    columns = passages.c.content, passages.c.session, *occasion
    found: list[tuple[str, int, str, tuple[str, str | None, datetime | None], Occasion]] = []
    query = (
        select(facts.c.relation, facts.c.subject, entities.c.key, *columns)
        .join(passages, and_(passages.c.namespace == facts.c.namespace, passages.c.number == facts.c.passage))
        .join(entities, and_(entities.c.namespace == facts.c.namespace, entities.c.number == facts.c.object))
        .outerjoin(statuses, and_(statuses.c.namespace == facts.c.namespace, statuses.c.passage == facts.c.passage))
        .where(facts.c.namespace == namespace, statuses.c.merged_into.is_(None))
    )
    for relation, subject, key, content, session, *rest in rows_among(connection, query, facts.c.relation, spellings):
        about = Occasion(*rest)
        found.append((relation, subject, key, (content, session, about.occurred_at), about))
    return found


def objects_of(connection: Connection, namespace: int, subjects: Iterable[int]) -> list[tuple[int, str, int]]:
    """(subject, relation, number of objects) of all that is stated about these entities."""
    query = select(facts.c.subject, facts.c.relation, func.count(facts.c.object.distinct()))
    query = query.where(facts.c.namespace == namespace).group_by(facts.c.subject, facts.c.relation)
    return [tuple(row) for row in rows_among(connection, query, facts.c.subject, subjects)]


def facts_about(
    connection: Connection, namespace: int, wanted: Iterable[tuple[int, str]]
) -> list[tuple[int, int, str, int, datetime | None, datetime | None]]:
    """(passage, subject, relation, object, valid_from, invalid_at) of the facts with these subjects and relations; the
    last two as users said."""
    relations_of: dict[int, list[str]] = {}
    for subject, relation in wanted:
        relations_of.setdefault(subject, []).append(relation)
    columns = facts.c.passage, facts.c.subject, facts.c.relation, facts.c.object, facts.c.valid_from, facts.c.invalid_at
    query = select(*columns).where(facts.c.namespace == namespace).order_by(facts.c.passage, facts.c.position)
    found: list[tuple[int, int, str, int, datetime | None, datetime | None]] = []
    for subject, own in sorted(relations_of.items()):
        rows = rows_among(connection, query.where(facts.c.subject == subject), facts.c.relation, own)
        found += [tuple(row) for row in rows]
    return found


def _mention(namespace: int, passage: int, number_of: dict[str, int], mention: MentionRow) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "passage": passage,
        "entity": number_of[mention.key],
        "name": mention.name,
        "lines": mention.lines,
        "titled": mention.titled,
    }


def _fact(namespace: int, passage: int, position: int, number_of: dict[str, int], fact: FactRow) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "passage": passage,
        "position": position,
        "subject": number_of[fact.subject_key],
        "object": number_of[fact.object_key],
        "subject_name": fact.triple.subject,
        "relation": fact.triple.relation,
        "object_name": fact.triple.object,
        "extractor": fact.triple.extractor,
        "valid_from": fact.triple.valid_from if fact.is_brought else None,
        "invalid_at": fact.triple.invalid_at if fact.is_brought else None,
    }
