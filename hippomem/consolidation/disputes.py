"""Which facts of the store contradict each other: what contradictions.py is to judge, read for the subjects of some
passages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection

from hippomem.consolidation.contradictions import (
    Contradiction,
    Statement,
    Telling,
    Tellings,
    contradictions,
    relation_key,
    tellings,
)
from hippomem.storage import links, reads, semantic, statuses, validities
from hippomem.storage.entities import entity_keys, subjects_of
from hippomem.types import Passage


def disputed(
    connection: Connection,
    namespace: int,
    there: dict[int, Passage],
    measured: dict[str, Tellings],
    trust: Callable[[Passage], float],
    merged: set[int],
) -> list[Contradiction]:
    """What is contradicted of all that is known about the subjects of these passages, without what was found before.
    `measured` is added to; what is archived, or `merged`, counts no more."""
    subjects = subjects_of(connection, namespace, there)
    # Of an entity that much is said about only what may contradict itself is read. Spellings of a relation are one.
    stated = links.objects_of(connection, namespace, subjects)
    objects: Counter[tuple[int, str]] = Counter()
    for subject, relation, count in stated:
        objects[subject, relation_key(relation)] += count
    several = [(s, r) for s, r, _ in stated if objects[s, relation_key(r)] > 1]
    if not several:
        return []
    documents = reads.ingested_sources(connection, namespace)
    _measure(connection, namespace, {relation_key(r) for _, r in several}, documents, measured)
    wanted = [(s, r) for s, r in several if measured[relation_key(r)].without(s).is_functional]
    facts = links.facts_about(connection, namespace, wanted)
    if not facts:
        return []
    about = reads.by_number(connection, namespace, sorted({fact[0] for fact in facts}))
    archived = merged | {
        number
        for number, status in statuses.status_of(connection, namespace, about).items()
        if status.archived_at is not None
    }
    keys = entity_keys(connection, namespace, sorted({fact[3] for fact in facts}))
    promoted = semantic.semantic_of(connection, namespace, subjects)
    known = validities.validities_of(connection, namespace, about)
    statements = []
    for passage, subject, relation, object_, start, end in facts:
        if passage not in about or passage in archived:
            continue
        validity = known.get((passage, validities.fact_id(subject, relation, object_)), validities.Validity())
        spared, again = (validity.valid_from, None) if validity.is_spared else (None, validity.valid_from)
        own = about[passage]
        told_at = max(filter(None, (own.recorded_at, None if own.occurred_at else again)), default=None)
        statement = Statement(
            passage, subject, relation, object_, keys.get(object_, ""), start or again or moment_of(own, documents),
            (subject, relation, object_) in promoted, end is not None, trust(own),
            told_at, spared,
        )  # fmt: skip
        statements.append(statement)
    found = contradictions(statements, measured)
    return [one for one in found if not is_settled(one, known.get((one.older.passage, fact_of(one.older))))]


def _measure(
    connection: Connection, namespace: int, keys: set[str], documents: set[str], measured: dict[str, Tellings]
) -> None:
    """Measure these relations where they are not yet."""
    missing = keys - measured.keys()
    spellings = (
        [one for one in links.relations(connection, namespace) if relation_key(one) in missing] if missing else []
    )
    told: dict[str, list[Telling]] = {key: [] for key in missing}
    for relation, subject, key, occasion, about in links.told_of(connection, namespace, spellings):
        begins = about.valid_from or moment_of(about, documents)
        told[relation_key(relation)].append(Telling(subject, key, occasion, begins))
    measured.update((key, tellings(own)) for key, own in told.items())


def fact_of(statement: Statement) -> str:
    """The hash of its triple."""
    return validities.fact_id(statement.subject, statement.relation, statement.object)


def is_settled(found: Contradiction, known: validities.Validity | None) -> bool:
    """Whether it was found before."""
    end = found.newer.moment
    if found.is_doubted or known is None or known.by_passage is None or known.invalid_at is None or end is None:
        return False
    return known.invalid_at <= end


def moment_of(passage: Passage | links.Occasion, documents: set[str]) -> datetime | None:
    """From when on what a passage says holds: when it happened; for a note, else, when it was taken. A document that is
    not dated tells nothing by when it was read."""
    if passage.occurred_at is not None:
        return passage.occurred_at
    return None if passage.source in documents else passage.recorded_at
