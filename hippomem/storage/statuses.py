"""What became of passages, facts and edges: archived, merged, flagged, invalid, strengthened. Nothing here deletes.

Every change that counts for people is a row of the log (`changes`) with a `detail` that says why and holds what it
takes to undo it. A detail holds no text of another passage, so that forgetting leaves none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select, update

from hippomem.storage.chunks import chunks
from hippomem.storage.schema import (
    PASSAGE_ACTIONS,
    changes,
    cues,
    documents,
    entities,
    facts,
    mentions,
    passages,
    reviews,
    semantic_facts,
    statuses,
    strengths,
    validities,
    versions,
)


@dataclass(frozen=True, slots=True)
class Status:
    """What became of a passage."""

    archived_at: datetime | None = None
    merged_into: str | None = None
    invalid_at: datetime | None = None
    flag: str | None = None
    valid_from: datetime | None = None


def log_change(
    connection: Connection, namespace: int, action: str, number: int, id_: str, at: datetime, detail: Mapping[str, Any]
) -> int:
    """A line of the log. Returns its sequence."""
    row = insert(changes).values(
        namespace=namespace, action=action, passage=number, passage_id=id_, at=at, detail=dict(detail)
    )
    return int(connection.execute(row.returning(changes.c.sequence)).scalar_one())


def change(connection: Connection, namespace: int, sequence: int) -> Any:
    """A row of the log, None where there is none."""
    if sequence >> 63:  # past what a database counts to
        return None
    query = select(changes).where(changes.c.namespace == namespace, changes.c.sequence == sequence)
    return connection.execute(query).first()


def is_logged(connection: Connection, namespace: int, action: str, id_: str, why: str) -> bool:
    """Whether the log has a line of this kind about a passage that says just this."""
    query = select(changes.c.detail).where(
        changes.c.namespace == namespace, changes.c.passage_id == id_, changes.c.action == action
    )
    return any((detail or {}).get("why") == why for detail in connection.execute(query).scalars())


# -- passages -------------------------------------------------------------------------------------------------------


def status_of(connection: Connection, namespace: int, numbers: Iterable[int]) -> dict[int, Status]:
    """The status of those passages that have one."""
    found: dict[int, Status] = {}
    for some in chunks(numbers):
        rows = connection.execute(
            select(statuses).where(statuses.c.namespace == namespace, statuses.c.passage.in_(some))
        )
        found.update(
            (r.passage, Status(r.archived_at, r.merged_into, r.invalid_at, r.flag, r.valid_from)) for r in rows
        )
    return found


def set_status(connection: Connection, namespace: int, number: int, **values: Any) -> None:
    """Change some of a passage's status."""
    where = (statuses.c.namespace == namespace, statuses.c.passage == number)
    if not connection.execute(update(statuses).where(*where).values(**values)).rowcount:
        connection.execute(insert(statuses).values(namespace=namespace, passage=number, **values))


def forgive(connection: Connection, namespace: int, number: int) -> None:
    """Count the failures of a passage from 0 again."""
    connection.execute(
        update(reviews).where(reviews.c.namespace == namespace, reviews.c.passage == number).values(failures=0)
    )


def is_kept(connection: Connection, namespace: int, id_: str) -> bool:
    """Whether an undo brought this passage back, once and for all."""
    query = select(changes.c.detail).where(
        changes.c.namespace == namespace, changes.c.passage_id == id_, changes.c.action == "restore"
    )
    return any("undone" in (detail or {}) for detail in connection.execute(query).scalars())


def is_refused(connection: Connection, namespace: int, id_: str, fact: str, by: str) -> bool:
    """Whether an undo refused that this fact of a passage ends where another passage contradicts it."""
    query = select(changes.c.detail).where(
        changes.c.namespace == namespace, changes.c.passage_id == id_, changes.c.action == "revalidate"
    )
    found = (detail or {} for detail in connection.execute(query).scalars())
    return any((detail.get("fact"), detail.get("by")) == (fact, by) for detail in found)


def hiding(connection: Connection, namespace: int) -> list[tuple[int, datetime | None, bool, datetime | None]]:
    """The passages that are archived or invalid at some moment: since when archived, whether merged into another one,
    since when invalid."""
    query = select(statuses.c.passage, statuses.c.archived_at, statuses.c.merged_into, statuses.c.invalid_at).where(
        statuses.c.namespace == namespace, statuses.c.archived_at.is_not(None) | statuses.c.invalid_at.is_not(None)
    )
    rows = connection.execute(query)
    return [(row.passage, row.archived_at, row.merged_into is not None, row.invalid_at) for row in rows]


def id_of(connection: Connection, namespace: int, number: int) -> str | None:
    """The id of a passage, None where it is gone."""
    query = select(passages.c.id).where(passages.c.namespace == namespace, passages.c.number == number)
    return connection.execute(query).scalar()


def changed_after(connection: Connection, namespace: int, sequence: int, limit: int) -> list[tuple[int, int]]:
    """(sequence, passage) of what was added, linked anew, taken out or stands again after a change, oldest first."""
    query = (
        select(changes.c.sequence, changes.c.passage)
        .where(
            changes.c.namespace == namespace,
            changes.c.sequence > sequence,
            changes.c.action.in_((*PASSAGE_ACTIONS, "restore", "revalidate")),
        )
        .order_by(changes.c.sequence)
        .limit(limit)
    )
    return [(row.sequence, row.passage) for row in connection.execute(query)]


# -- facts ----------------------------------------------------------------------------------------------------------


REFUSED, KEPT = "refused", "kept"  # what an undo decided about a fact, whatever its support


def _is_promoted() -> ColumnElement[bool]:
    return semantic_facts.c.decision.is_(None) | (semantic_facts.c.decision != REFUSED)


def semantic_of(connection: Connection, namespace: int, subjects: Iterable[int]) -> set[tuple[int, str, int]]:
    """The promoted facts about these entities: subject, relation, object."""
    found: set[tuple[int, str, int]] = set()
    for some in chunks(subjects):
        rows = connection.execute(
            select(semantic_facts.c.subject, semantic_facts.c.relation, semantic_facts.c.object).where(
                semantic_facts.c.namespace == namespace, semantic_facts.c.subject.in_(some), _is_promoted()
            )
        )
        found.update((row.subject, row.relation, row.object) for row in rows)
    return found


# -- edges ----------------------------------------------------------------------------------------------------------


def count_paths(connection: Connection, namespace: int, used: Mapping[int, Iterable[int]], at: datetime) -> None:
    """Count one use of each edge, given as passage → entities; the next round strengthens them."""
    for passage, own in used.items():
        for entity in sorted(set(own)):
            where = (
                strengths.c.namespace == namespace,
                strengths.c.passage == passage,
                strengths.c.entity == entity,
            )
            more = update(strengths).where(*where).values(pending=strengths.c.pending + 1)
            if not connection.execute(more).rowcount:
                connection.execute(
                    insert(strengths).values(
                        namespace=namespace, passage=passage, entity=entity, strength=1.0, pending=1, at=at
                    )
                )


def entities_named(connection: Connection, namespace: int, passage: int, keys: Iterable[str]) -> set[int]:
    """The entities by these keys that a passage mentions."""
    query = (
        select(entities.c.number)
        .join(mentions, (mentions.c.namespace == entities.c.namespace) & (mentions.c.entity == entities.c.number))
        .where(entities.c.namespace == namespace, mentions.c.passage == passage, entities.c.key.in_(sorted(keys)))
    )
    return set(connection.execute(query).scalars())


def all_strengths(connection: Connection, namespace: int) -> list[tuple[int, int, float, int, datetime]]:
    """(passage, entity, strength, uses since, when it was set) of all edges that use has changed or will."""
    query = select(
        strengths.c.passage, strengths.c.entity, strengths.c.strength, strengths.c.pending, strengths.c.at
    ).where(strengths.c.namespace == namespace)
    return [tuple(row) for row in connection.execute(query.order_by(strengths.c.passage, strengths.c.entity))]


def set_strengths(connection: Connection, namespace: int, passage: int, own: Mapping[int, float], at: datetime) -> None:
    """The strengths of a passage's edges, by entity; all others of it are 1 again."""
    connection.execute(delete(strengths).where(strengths.c.namespace == namespace, strengths.c.passage == passage))
    rows = [
        {"namespace": namespace, "passage": passage, "entity": e, "strength": s, "pending": 0, "at": at}
        for e, s in own.items()
    ]
    if rows:
        connection.execute(insert(strengths), rows)


def strengths_of(connection: Connection, namespace: int, numbers: Sequence[int]) -> dict[int, dict[str, float]]:
    """passage → entity key → strength, where that is not 1."""
    found: dict[int, dict[str, float]] = {}
    for some in chunks(numbers):
        rows = connection.execute(
            select(strengths.c.passage, entities.c.key, strengths.c.strength)
            .join(entities, entities.c.number == strengths.c.entity)
            .where(strengths.c.namespace == namespace, strengths.c.passage.in_(some), strengths.c.strength != 1.0)
        )
        for passage, key, strength in rows:
            found.setdefault(passage, {})[key] = strength
    return found


def cues_of(connection: Connection, namespace: int, numbers: Sequence[int]) -> dict[int, list[str]]:
    """passage → keys of the names that a repair added to it."""
    found: dict[int, list[str]] = {}
    for some in chunks(numbers):
        rows = connection.execute(
            select(cues.c.passage, cues.c.key).where(
                cues.c.namespace == namespace, cues.c.passage.in_(some), cues.c.name != ""
            )
        )
        for passage, key in rows:
            found.setdefault(passage, []).append(key)
    return found


def strengthened_at(connection: Connection, namespace: int, numbers: Iterable[int]) -> dict[int, datetime]:
    """When the edges of passages were strengthened last, of those that have such."""
    found: dict[int, datetime] = {}
    for some in chunks(numbers):
        query = select(strengths.c.passage, strengths.c.at).where(
            strengths.c.namespace == namespace, strengths.c.passage.in_(some), strengths.c.strength != 1.0
        )
        found.update((row.passage, row.at) for row in connection.execute(query))
    return found


def all_cues_of(connection: Connection, namespace: int, numbers: Iterable[int]) -> dict[int, list[tuple[str, str]]]:
    """passage → (key, name) of what repairs added to it; "" where that was taken from it for good."""
    found: dict[int, list[tuple[str, str]]] = {}
    for some in chunks(numbers):
        query = select(cues.c.passage, cues.c.key, cues.c.name).where(
            cues.c.namespace == namespace, cues.c.passage.in_(some)
        )
        for passage, key, name in connection.execute(query.order_by(cues.c.passage, cues.c.key)):
            found.setdefault(passage, []).append((key, name))
    return found


def set_cue(connection: Connection, namespace: int, number: int, key: str, name: str) -> bool:
    """Add a name to a passage. False where it has it already, or had it and was not to keep it."""
    where = (cues.c.namespace == namespace, cues.c.passage == number, cues.c.key == key)
    if connection.execute(select(cues.c.key).where(*where)).first():
        return False
    connection.execute(insert(cues).values(namespace=namespace, passage=number, key=key, name=name))
    return True


def drop_cue(connection: Connection, namespace: int, number: int, key: str) -> bool:
    """Take a name from a passage, for good: it is not added again. False where the passage does not have it."""
    where = (cues.c.namespace == namespace, cues.c.passage == number, cues.c.key == key, cues.c.name != "")
    return bool(connection.execute(update(cues).where(*where).values(name="")).rowcount)


def status_counts(connection: Connection, namespace: int) -> dict[str, int]:
    """How many are archived, merged, superseded, flagged; how many facts are contradicted and how many promoted."""
    own = statuses.c.namespace == namespace
    counted = {
        "archived": (statuses, own & statuses.c.archived_at.is_not(None)),
        "merged": (statuses, own & statuses.c.merged_into.is_not(None) & statuses.c.archived_at.is_not(None)),
        "superseded": (statuses, own & statuses.c.invalid_at.is_not(None)),
        "flagged": (statuses, own & (statuses.c.flag != "")),
        "contradicted": (validities, (validities.c.namespace == namespace) & validities.c.invalid_at.is_not(None)),
        "ended_by_users": (facts, (facts.c.namespace == namespace) & facts.c.invalid_at.is_not(None)),
        "semantic_facts": (semantic_facts, (semantic_facts.c.namespace == namespace) & _is_promoted()),
        "earlier_versions": (versions, versions.c.namespace == namespace),
        "strengthened": (strengths, (strengths.c.namespace == namespace) & (strengths.c.strength != 1.0)),
    }
    return {
        name: int(connection.execute(select(func.count()).select_from(table).where(where)).scalar_one())
        for name, (table, where) in counted.items()
    }


def supported(
    connection: Connection, namespace: int, events: int, sources: int
) -> dict[tuple[int, str, int], tuple[int, int, int]]:
    """Facts with that much support: (subject, relation, object) → events, sources, the newest passage of them."""
    fact = facts.c.subject, facts.c.relation, facts.c.object
    query = _support(*fact).where(facts.c.namespace == namespace).group_by(*fact)
    by_events, by_sources = list(query.selected_columns)[3:5]
    query = query.having((by_events >= events) & (by_sources >= sources))
    return {(s, r, o): (e, n, newest) for s, r, o, e, n, newest in connection.execute(query) if len(r) <= 255}


def set_semantic(
    connection: Connection,
    namespace: int,
    fact: tuple[int, str, int],
    support: tuple[int, int] | None,
    at: datetime,
    decision: str | None = None,
) -> None:
    """Promote a fact, or count its support anew; demote it where there is none. A decision keeps it so."""
    subject, relation, object_ = fact
    where = (
        semantic_facts.c.namespace == namespace,
        semantic_facts.c.subject == subject,
        semantic_facts.c.relation == relation,
        semantic_facts.c.object == object_,
    )
    if support is None:
        connection.execute(delete(semantic_facts).where(*where))
        return
    values: dict[str, Any] = {"events": support[0], "sources": support[1]}
    values |= {"decision": decision} if decision else {}
    if not connection.execute(update(semantic_facts).where(*where).values(**values)).rowcount:
        key = {"namespace": namespace, "subject": subject, "relation": relation, "object": object_}
        connection.execute(insert(semantic_facts).values(**key, **values, promoted_at=at))


def all_semantic(connection: Connection, namespace: int) -> dict[tuple[int, str, int], tuple[int, int, str | None]]:
    """Every fact that is promoted, or about which something was decided: events, sources, the decision."""
    query = select(semantic_facts).where(semantic_facts.c.namespace == namespace)
    return {(r.subject, r.relation, r.object): (r.events, r.sources, r.decision) for r in connection.execute(query)}


def support_of(connection: Connection, namespace: int, fact: tuple[int, str, int]) -> tuple[int, int, int | None]:
    """How many events of how many sources say so, and the newest passage that does."""
    query = _support().where(
        facts.c.namespace == namespace,
        facts.c.subject == fact[0],
        facts.c.relation == fact[1],
        facts.c.object == fact[2],
    )
    events, sources, newest = connection.execute(query).one()
    return int(events), int(sources), newest


def _support(*columns: ColumnElement[Any]) -> Select[Any]:
    """Events, sources and the newest passage of facts."""
    source = func.coalesce(func.nullif(passages.c.source, ""), passages.c.session, "")
    counted = func.count(facts.c.passage.distinct()), func.count(source.distinct()), func.max(facts.c.passage)
    own = (passages.c.namespace == facts.c.namespace) & (passages.c.number == facts.c.passage)
    return select(*columns, *counted).select_from(facts.join(passages, own))


def entity_numbers(connection: Connection, namespace: int, keys: Iterable[str]) -> dict[str, int]:
    """The numbers of entities by their keys."""
    found: dict[str, int] = {}
    for some in chunks(sorted(keys)):
        query = select(entities.c.key, entities.c.number)
        rows = connection.execute(query.where(entities.c.namespace == namespace, entities.c.key.in_(some)))
        found.update((row.key, row.number) for row in rows)
    return found


def entity_keys(connection: Connection, namespace: int, numbers: Iterable[int]) -> dict[int, str]:
    """The keys of entities."""
    found: dict[int, str] = {}
    for some in chunks(numbers):
        query = select(entities.c.number, entities.c.key)
        rows = connection.execute(query.where(entities.c.namespace == namespace, entities.c.number.in_(some)))
        found.update((row.number, row.key) for row in rows)
    return found


def subjects_of(connection: Connection, namespace: int, numbers: Iterable[int]) -> set[int]:
    """The entities that facts of these passages are about."""
    found: set[int] = set()
    for some in chunks(numbers):
        query = select(facts.c.subject).where(facts.c.namespace == namespace, facts.c.passage.in_(some))
        found.update(connection.execute(query.distinct()).scalars())
    return found


def ingested_sources(connection: Connection, namespace: int) -> set[str]:
    """The sources of documents, whose passages have no moment but the one they are dated with."""
    return set(connection.execute(select(documents.c.source).where(documents.c.namespace == namespace)).scalars())
