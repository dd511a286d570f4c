"""Promoted facts: those that several events of several sources support, and what people decided about them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select, update

from hippomem.storage.chunks import rows_among
from hippomem.storage.schema import facts, passages, semantic_facts

REFUSED, KEPT = "refused", "kept"  # what an undo decided about a fact, whatever its support


def semantic_of(connection: Connection, namespace: int, subjects: Iterable[int]) -> set[tuple[int, str, int]]:
    """The promoted facts about these entities: subject, relation, object."""
    query = select(semantic_facts).where(semantic_facts.c.namespace == namespace, is_promoted())
    rows = rows_among(connection, query, semantic_facts.c.subject, subjects)
    return {(row.subject, row.relation, row.object) for row in rows}


def all_semantic(connection: Connection, namespace: int) -> dict[tuple[int, str, int], tuple[int, int, str | None]]:
    """Every fact that is promoted, or about which something was decided: events, sources, the decision."""
    query = select(semantic_facts).where(semantic_facts.c.namespace == namespace)
    return {(r.subject, r.relation, r.object): (r.events, r.sources, r.decision) for r in connection.execute(query)}


def decision_on(connection: Connection, namespace: int, fact: tuple[int, str, int]) -> tuple[bool, str | None]:
    """Whether a fact is promoted, and what was decided about it."""
    query = select(is_promoted(), semantic_facts.c.decision).where(*_is(namespace, fact))
    row = connection.execute(query).first()
    return (bool(row[0]), row[1]) if row else (False, None)


def set_semantic(
    connection: Connection,
    namespace: int,
    fact: tuple[int, str, int],
    support: tuple[int, int] | None,
    at: datetime,
    decision: str | None = None,
) -> None:
    """Promote a fact, or count its support anew; demote it where there is none. A decision keeps it so."""
    where = _is(namespace, fact)
    if support is None:
        connection.execute(delete(semantic_facts).where(*where))
        return
    values: dict[str, Any] = {"events": support[0], "sources": support[1]}
    values |= {"decision": decision} if decision else {}
    if not connection.execute(update(semantic_facts).where(*where).values(**values)).rowcount:
        key = {"namespace": namespace, **dict(zip(("subject", "relation", "object"), fact, strict=True))}
        connection.execute(insert(semantic_facts).values(**key, **values, promoted_at=at))


def supported(
    connection: Connection, namespace: int, events: int, sources: int
) -> dict[tuple[int, str, int], tuple[int, int, int]]:
    """Facts with that much support: (subject, relation, object) → events, sources, the newest passage of them."""
    fact = facts.c.subject, facts.c.relation, facts.c.object
    query = _support(*fact).where(facts.c.namespace == namespace).group_by(*fact)
    by_events, by_sources = list(query.selected_columns)[3:5]
    query = query.having((by_events >= events) & (by_sources >= sources))
    return {(s, r, o): (e, n, newest) for s, r, o, e, n, newest in connection.execute(query) if len(r) <= 255}


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


def is_promoted() -> ColumnElement[bool]:
    """Whether a row is of a fact that is promoted."""
    return semantic_facts.c.decision.is_(None) | (semantic_facts.c.decision != REFUSED)


def _is(namespace: int, fact: tuple[int, str, int]) -> tuple[ColumnElement[bool], ...]:
    columns = semantic_facts.c.subject, semantic_facts.c.relation, semantic_facts.c.object
    own = (column == part for column, part in zip(columns, fact, strict=True))
    return semantic_facts.c.namespace == namespace, *own


def _support(*columns: ColumnElement[Any]) -> Select[Any]:
    """Events, sources and the newest passage of facts."""
    source = func.coalesce(func.nullif(passages.c.source, ""), passages.c.session, "")
    counted = func.count(facts.c.passage.distinct()), func.count(source.distinct()), func.max(facts.c.passage)
    own = (passages.c.namespace == facts.c.namespace) & (passages.c.number == facts.c.passage)
    return select(*columns, *counted).select_from(facts.join(passages, own))
