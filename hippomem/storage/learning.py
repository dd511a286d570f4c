"""Learning events and rehearsals: reads and writes. Each runs inside the caller's transaction; writes are logged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select, update

from hippomem.storage.chunks import chunks, rows_among
from hippomem.storage.schema import (
    analyses,
    changes,
    learning_events,
    learning_targets,
    learning_vectors,
    passages,
    rehearsals,
)

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What each expert of a ranking said about its candidates, (n, terms) float32, and which were useful, (n,)."""

    terms: Floats
    useful: NDArray[np.bool_]

    def packed(self) -> bytes:
        """Two bytes a number: the count of terms, then the rows, each with a 1 or 0 at its end."""
        rows = np.column_stack([self.terms, self.useful]).astype(np.float16)
        return bytes([self.terms.shape[1]]) + rows.tobytes()

    @classmethod
    def unpacked(cls, data: bytes) -> Evidence:
        """What `packed` made. Raises ValueError where it is no such thing."""
        if not data:
            raise ValueError("evidence is empty")
        rows = np.frombuffer(data[1:], np.float16).reshape(-1, data[0] + 1).astype(np.float32)
        if not np.isfinite(rows).all():
            raise ValueError("evidence is not finite")
        return cls(rows[:, :-1], rows[:, -1] > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLearning:
    """An event to write: the passages by number, the query's vector (d,) float32."""

    id: str
    query: str
    vector: Floats
    passages: tuple[int, ...]
    confidence: float
    recorded_at: datetime
    evidence: bytes | None = None


@dataclass(frozen=True, slots=True)
class LearningRow:
    """An event as it is stored: `passages` (number, id) and, in the same order, their `vectors` (p, d) float32."""

    number: int
    id: str
    query: str
    confidence: float
    recorded_at: datetime
    evidence: bytes | None
    vector: Floats
    passages: tuple[tuple[int, str], ...]
    vectors: Floats


@dataclass(frozen=True, slots=True)
class RehearsalRow:
    """A rehearsal as it is stored."""

    number: int
    id: str
    events: tuple[int, ...]
    absorbed: tuple[int, ...]
    recorded_at: datetime


def event_id(query: str, passage_ids: Iterable[str], confidence: float, at: datetime) -> str:
    """The content hash that names an event: the same feedback given twice at one moment is one."""
    parts = [query, *sorted(passage_ids), repr(float(confidence)), at.isoformat()]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


# -- writing ----------------------------------------------------------------------------------------------------


def add_events(
    connection: Connection, namespace: int, encoder: int, new: Sequence[NewLearning], at: datetime
) -> dict[str, int]:
    """Write events that are not there yet. Returns the numbers of all by id."""
    known = numbers_of(connection, namespace, [event.id for event in new])
    for event in {event.id: event for event in new if event.id not in known}.values():
        number = connection.execute(
            insert(learning_events).returning(learning_events.c.number),
            {
                "namespace": namespace,
                "id": event.id,
                "query": event.query,
                "confidence": event.confidence,
                "evidence": event.evidence,
                "recorded_at": event.recorded_at,
            },
        ).scalar_one()
        own = {"namespace": namespace, "event": number}
        connection.execute(insert(learning_vectors), own | {"encoder": encoder, "vector": event.vector.tobytes()})
        connection.execute(insert(learning_targets), [own | {"passage": passage} for passage in event.passages])
        _log(connection, namespace, "learn", [(number, event.id)], at)
        known[event.id] = number
    return known


def add_rehearsal(
    connection: Connection,
    namespace: int,
    events: Sequence[int],
    absorbed: Sequence[int],
    at: datetime,
    *,
    recorded: tuple[str | None, datetime] | None = None,
) -> None:
    """Write that these events were replayed, in this order. What was `recorded` earlier, as an import tells by its id
    and moment, is written once; what is done now in any case, a moment later where another process has just done the
    same.
    """
    known, moment = recorded or (None, at)
    while True:
        made_of = f"{namespace} {moment.isoformat()} {list(events)}"
        id_ = known or hashlib.blake2b(made_of.encode(), digest_size=16).hexdigest()
        own = (rehearsals.c.namespace == namespace, rehearsals.c.id == id_)
        if connection.execute(select(rehearsals.c.number).where(*own)).first() is None:
            break
        if recorded is not None:
            return
        moment += timedelta(microseconds=1)
    row = {"namespace": namespace, "id": id_, "events": list(events), "absorbed": list(absorbed)}
    made = insert(rehearsals).returning(rehearsals.c.number)
    number = connection.execute(made, row | {"recorded_at": moment}).scalar_one()
    _log(connection, namespace, "rehearse", [(number, id_)], at)


def drop_targets(connection: Connection, namespace: int, numbers: Iterable[int], at: datetime) -> None:
    """Passages are about to go: take them out of the events in which they were useful, and with them the events that
    are left with none. What the experts said in such a ranking goes too.
    """
    touched: set[int] = set()
    for some in chunks(numbers):
        where = (learning_targets.c.namespace == namespace, learning_targets.c.passage.in_(some))
        touched.update(connection.execute(select(learning_targets.c.event).where(*where)).scalars())
        connection.execute(delete(learning_targets).where(*where))
    if not touched:
        return
    ids = _ids(connection, namespace, touched)
    for some in chunks(sorted(touched)):
        ours = (learning_events.c.namespace == namespace, learning_events.c.number.in_(some))
        left = exists().where(
            learning_targets.c.namespace == namespace, learning_targets.c.event == learning_events.c.number
        )
        bare = set(connection.execute(select(learning_events.c.number).where(*ours, ~left)).scalars())
        _delete(connection, namespace, bare)
        connection.execute(update(learning_events).where(*ours).values(evidence=None))
    _log(connection, namespace, "unlearn", sorted(ids.items()), at)


def move_targets(connection: Connection, namespace: int, old: int, new: int, at: datetime) -> None:
    """A passage has become another one by an update: what was useful about it is so still."""
    where = (learning_targets.c.namespace == namespace, learning_targets.c.passage == old)
    touched = list(connection.execute(select(learning_targets.c.event).where(*where)).scalars())
    connection.execute(update(learning_targets).where(*where).values(passage=new))
    _log(connection, namespace, "learn", sorted(_ids(connection, namespace, touched).items()), at)


def remove_events(connection: Connection, namespace: int, numbers: Sequence[int], at: datetime) -> None:
    """Take events out."""
    ids = _ids(connection, namespace, numbers)
    _delete(connection, namespace, ids)
    _log(connection, namespace, "unlearn", sorted(ids.items()), at)


def _delete(connection: Connection, namespace: int, numbers: Iterable[int]) -> None:
    for some in chunks(sorted(numbers)):
        for table, column in (
            (learning_targets, learning_targets.c.event),
            (learning_vectors, learning_vectors.c.event),
            (learning_events, learning_events.c.number),
        ):
            connection.execute(delete(table).where(table.c.namespace == namespace, column.in_(some)))


def _log(connection: Connection, namespace: int, action: str, entries: Sequence[tuple[int, str]], at: datetime) -> None:
    rows = [
        {"namespace": namespace, "action": action, "passage": number, "passage_id": id_, "at": at}
        for number, id_ in entries
    ]
    if rows:
        connection.execute(insert(changes), rows)


# -- reading ----------------------------------------------------------------------------------------------------


def anything(connection: Connection, namespace: int) -> bool:
    """Whether the namespace has ever learned something that is still there."""
    query = select(learning_events.c.number).where(learning_events.c.namespace == namespace).limit(1)
    return connection.execute(query).first() is not None


def numbers_of(connection: Connection, namespace: int, ids: Iterable[str]) -> dict[str, int]:
    """The numbers of those events that are there, by id."""
    query = select(learning_events.c.id, learning_events.c.number).where(learning_events.c.namespace == namespace)
    return {row.id: row.number for row in rows_among(connection, query, learning_events.c.id, ids)}


def events_about(
    connection: Connection, namespace: int, passage_numbers: Iterable[int], only_useful: bool = False
) -> list[int]:
    """The events that are about any of these passages, ascending; `only_useful`: in which they were of use."""
    query = select(learning_targets.c.event).where(learning_targets.c.namespace == namespace)
    if only_useful:
        own = (learning_events.c.namespace == namespace) & (learning_events.c.number == learning_targets.c.event)
        query = query.join(learning_events, own).where(learning_events.c.confidence > 0)
    return sorted({row.event for row in rows_among(connection, query, learning_targets.c.passage, passage_numbers)})


def event_numbers(connection: Connection, namespace: int) -> list[int]:
    """The numbers of all events, ascending."""
    query = select(learning_events.c.number).where(learning_events.c.namespace == namespace)
    return list(connection.execute(query.order_by(learning_events.c.number)).scalars())


def event_rows(
    connection: Connection, namespace: int, encoder: int, numbers: Iterable[int] | None = None
) -> Iterator[LearningRow]:
    """The given events, or all, by number; those that are gone are left out."""
    for some in chunks(event_numbers(connection, namespace) if numbers is None else sorted(set(numbers))):
        # Passages by themselves: joined to them, SQLite looks through all of a namespace for those of a few events.
        query = select(learning_targets.c.event, learning_targets.c.passage).where(
            learning_targets.c.namespace == namespace, learning_targets.c.event.in_(some)
        )
        pairs = connection.execute(query.order_by(learning_targets.c.event, learning_targets.c.passage)).all()
        there = _encoded(connection, namespace, encoder, {passage for _, passage in pairs})
        useful: dict[int, list[tuple[int, str, Floats]]] = {}
        for event, passage in pairs:
            if passage in there:
                useful.setdefault(event, []).append((passage, *there[passage]))
        rows = connection.execute(
            select(learning_events, learning_vectors.c.vector)
            .join(
                learning_vectors,
                (learning_vectors.c.namespace == learning_events.c.namespace)
                & (learning_vectors.c.event == learning_events.c.number)
                & (learning_vectors.c.encoder == encoder),
            )
            .where(learning_events.c.namespace == namespace, learning_events.c.number.in_(some))
            .order_by(learning_events.c.number)
        )
        for row in rows:
            own = useful.get(row.number, [])
            if own:
                yield LearningRow(
                    row.number,
                    row.id,
                    row.query,
                    row.confidence,
                    row.recorded_at,
                    row.evidence,
                    np.frombuffer(row.vector, np.float32),
                    tuple((number, id_) for number, id_, _ in own),
                    np.stack([vector for *_, vector in own]),
                )


def _encoded(
    connection: Connection, namespace: int, encoder: int, numbers: Iterable[int]
) -> dict[int, tuple[str, Floats]]:
    """The ids and vectors of passages."""
    p, a = passages.c, analyses.c
    own = (a.namespace == p.namespace) & (a.content == p.content) & (a.encoder == encoder)
    query = select(p.number, p.id, a.vector).join_from(passages, analyses, own).where(p.namespace == namespace)
    rows = rows_among(connection, query, p.number, numbers)
    return {number: (id_, np.frombuffer(vector, np.float32)) for number, id_, vector in rows}


def rehearsal_rows(connection: Connection, namespace: int, numbers: Iterable[int] | None = None) -> list[RehearsalRow]:
    """The given rehearsals, or all, by number."""
    query = select(rehearsals).where(rehearsals.c.namespace == namespace).order_by(rehearsals.c.number)
    found: list[Any] = []
    if numbers is None:
        found += connection.execute(query)
    else:
        found += rows_among(connection, query, rehearsals.c.number, numbers)
    return [RehearsalRow(row.number, row.id, tuple(row.events), tuple(row.absorbed), row.recorded_at) for row in found]


def learning_steps(connection: Connection, namespace: int) -> list[tuple[str, int]]:
    """What the log says of the events and rehearsals that are there, oldest first: ("learn" or "rehearse", number)."""
    found: dict[tuple[str, int], int] = {}
    for action, table in (("learn", learning_events), ("rehearse", rehearsals)):
        ids = connection.execute(select(table.c.id).where(table.c.namespace == namespace)).scalars()
        first = func.min(changes.c.sequence)  # a later "learn" says that the event was changed
        logged = select(changes.c.passage, first).where(changes.c.namespace == namespace, changes.c.action == action)
        rows = rows_among(connection, logged.group_by(changes.c.passage), changes.c.passage_id, ids.all())
        found.update({(action, n): at for n, at in rows})
    return sorted(found, key=lambda step: found[step])


def taught_by(connection: Connection, namespace: int, sequence: int, numbers: Iterable[int]) -> set[int]:
    """Which of these events were there at this change of the log: a later "learn" says that they were changed."""
    own = (changes.c.namespace == namespace, changes.c.action == "learn", changes.c.sequence <= sequence)
    ids = _ids(connection, namespace, numbers).values()
    rows = rows_among(connection, select(changes.c.passage).where(*own), changes.c.passage_id, ids)
    return {row.passage for row in rows}


def counts(connection: Connection, namespace: int) -> dict[str, int]:
    """How many events and rehearsals there are."""
    return {
        name: int(
            connection.execute(select(func.count()).select_from(t).where(t.c.namespace == namespace)).scalar_one()
        )
        for name, t in (("learned", learning_events), ("rehearsals", rehearsals))
    }


def _ids(connection: Connection, namespace: int, numbers: Iterable[int]) -> dict[int, str]:
    query = select(learning_events.c.number, learning_events.c.id).where(learning_events.c.namespace == namespace)
    return {row.number: row.id for row in rows_among(connection, query, learning_events.c.number, numbers)}


# -- another encoder --------------------------------------------------------------------------------------------


def without_vectors(connection: Connection, encoder: int, limit: int) -> list[tuple[int, int, str]]:
    """Events of any namespace that have no vector of this encoder: (namespace, number, query)."""
    there = exists().where(
        learning_vectors.c.namespace == learning_events.c.namespace,
        learning_vectors.c.event == learning_events.c.number,
        learning_vectors.c.encoder == encoder,
    )
    key = learning_events.c.namespace, learning_events.c.number
    query = select(*key, learning_events.c.query).where(~there).order_by(*key).limit(limit)
    return [tuple(row) for row in connection.execute(query)]


def add_vectors(connection: Connection, encoder: int, vectors: Iterable[tuple[int, int, Floats]]) -> None:
    """Write vectors, (namespace, event, vector), of events that are still there and have none of this encoder."""
    for namespace, number, vector in vectors:
        at = (learning_events.c.namespace == namespace, learning_events.c.number == number)
        own = (
            learning_vectors.c.namespace == namespace,
            learning_vectors.c.event == number,
            learning_vectors.c.encoder == encoder,
        )
        if connection.execute(select(learning_events.c.number).where(*at, ~exists().where(*own))).first() is not None:
            row = {"namespace": namespace, "event": number, "encoder": encoder, "vector": vector.tobytes()}
            connection.execute(insert(learning_vectors), row)


def keep_vectors(connection: Connection, encoder: int) -> None:
    """Drop the vectors of all other encoders."""
    connection.execute(delete(learning_vectors).where(learning_vectors.c.encoder != encoder))


def set_evidence(connection: Connection, namespace: int, evidence: Mapping[int, bytes | None]) -> None:
    """What the experts say now, by event."""
    own = learning_events.c.namespace == namespace, learning_events.c.number == bindparam("event")
    values = [{"event": number, "said": said} for number, said in evidence.items()]
    if values:
        connection.execute(update(learning_events).where(*own).values(evidence=bindparam("said")), values)


def taught_namespaces(connection: Connection) -> list[int]:
    """The numbers of the namespaces that have learned anything, ascending."""
    query = select(learning_events.c.namespace).distinct().order_by(learning_events.c.namespace)
    return list(connection.execute(query).scalars())
