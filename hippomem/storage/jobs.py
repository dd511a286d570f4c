"""Jobs: what is to be done with a passage outside of the transaction that brought it.

A job is claimed with a lease and a fencing token, which is the number of the call that is made for it. Who is slower
than the lease loses the job to another, and finds out by the token when it comes back: what it brings is not applied.
An attempt is counted when it begins, so that a job which kills its process ends up dead as well. Where it fails for the
server's reasons it was none, and the server is not asked for a while (`outages.py`).

waiting → running → done
   ↑         ├→ waiting, later: the attempt failed; or its process died, and the lease ran out
   └ retry   └→ dead, after `MAX_ATTEMPTS`, or at once where it would fail again
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, literal, null, or_, select, update

from hippomem.storage.chunks import CHUNK, chunks, rows_among
from hippomem.storage.ledger import lose
from hippomem.storage.schema import facts, jobs, passages
from hippomem.types import Job

MAX_ATTEMPTS = 5
MOST_FAULTS = 300  # failures of the server that are no attempts of one job: a day of them, five minutes apart
AHEAD = timedelta(hours=2)  # nothing is put off for longer: what is, was written before the clock went back
OWN_EXTRACTORS = ("user", "rules")
STATES = ("waiting", "running", "done", "dead")


@dataclass(frozen=True, slots=True)
class Kind:
    """What is to be done, and by whom: `prompt` with its version ("extract/1"), and the model."""

    name: str
    prompt: str
    model: str


@dataclass(frozen=True, slots=True)
class Work:
    """A job with what it is about. `token` is that of its last claim, 0 where there was none."""

    number: int
    passage: int
    passage_id: str
    content: str
    title: str
    text: str
    ingest: str | None
    attempts: int
    token: int
    faults: int = 0


def enqueue(
    connection: Connection,
    namespace: int,
    kind: Kind,
    contents: Mapping[int, str],
    ingest: str | None,
    now: datetime,
) -> None:
    """Jobs for new passages, given as number → content."""
    rows = [
        {
            "namespace": namespace,
            "passage": passage,
            "kind": kind.name,
            "prompt": kind.prompt,
            "model": kind.model,
            "content": content,
            "ingest": ingest,
            "state": "waiting",
            "attempts": 0,
            "due_at": now,
            "token": 0,
        }
        for passage, content in contents.items()
    ]
    if rows:
        connection.execute(insert(jobs), rows)


def is_missing(connection: Connection, namespace: int, kind: Kind) -> bool:
    """Whether there is a passage that no model has read, and no job is for."""
    return connection.execute(select(passages.c.number).where(*_unread(namespace, kind)).limit(1)).first() is not None


def enqueue_missing(connection: Connection, namespace: int, kind: Kind, now: datetime) -> None:
    """Jobs for some of the passages that have none: those from before a model was set, or from an import."""
    _insert_for(connection, kind, _unread(namespace, kind), now)


def renew(
    connection: Connection, namespace: int, kind: Kind, now: datetime, passage_ids: Sequence[str] | None = None
) -> int:
    """Jobs for all of these passages, or of all, that only another model or prompt has read, in place of those that
    wait for another model to read them again. Returns how many."""
    own = passages.c.namespace == namespace
    own = own if passage_ids is None else own & passages.c.id.in_(passage_ids)
    others = (
        jobs.c.namespace == namespace,
        jobs.c.state == "waiting",
        jobs.c.passage.in_(select(passages.c.number).where(own)),
    )
    connection.execute(delete(jobs).where(*others, ~_is_open_to(kind)))
    ours = exists().where(*_of_passage(kind), jobs.c.prompt == kind.prompt, jobs.c.model == kind.model)
    waiting = exists().where(*_of_passage(kind), jobs.c.state.in_(("waiting", "running")))
    count = 0
    while done := _insert_for(connection, kind, (own, ~ours, ~waiting), now):
        count += done
    return count


def due(
    connection: Connection, namespace: int, kind: Kind, now: datetime, limit: int, *, is_untried: bool = False
) -> list[Work]:
    """Jobs that can be claimed, the longest due first: those waiting, and those whose lease is over. Not those about a
    content that another one is running about: its answer will do. `is_untried`: only those that no server has failed.
    """
    twins = jobs.alias()
    running = exists().where(
        twins.c.namespace == namespace,
        twins.c.state == "running",
        twins.c.due_at > now,
        twins.c.due_at <= now + AHEAD,
        twins.c.kind == jobs.c.kind,
        twins.c.content == jobs.c.content,
    )
    query = (
        select(
            jobs.c.number,
            jobs.c.passage,
            passages.c.id,
            jobs.c.content,
            passages.c.title,
            passages.c.text,
            jobs.c.ingest,
            jobs.c.attempts,
            jobs.c.token,
            jobs.c.faults,
        )
        .join(passages, and_(passages.c.namespace == jobs.c.namespace, passages.c.number == jobs.c.passage))
        .where(*_claimable(namespace, kind, now), ~running, *([jobs.c.faults == 0] if is_untried else []))
        .order_by(jobs.c.due_at, jobs.c.number)
        .limit(limit)
    )
    return [Work(*tuple(row)) for row in connection.execute(query)]


def claim(
    connection: Connection, namespace: int, kind: Kind, claimed: Sequence[Work], token: int, lease_ends: datetime
) -> None:
    """Take jobs that are due, in the transaction that found them so. The call of the one before is lost."""
    before = {work.token for work in claimed if work.token}
    lose(connection, before)
    # A reason may quote any passage of its call, and by the token it is known which these were.
    for some in chunks(before):
        connection.execute(update(jobs).where(jobs.c.token.in_(some)).values(reason=None))
    numbers = [work.number for work in claimed]
    # What this model has read with this prompt already is not read with it again.
    twins = jobs.alias()
    connection.execute(
        delete(jobs).where(
            jobs.c.number.in_(numbers),
            (jobs.c.prompt != kind.prompt) | (jobs.c.model != kind.model),
            exists().where(
                twins.c.namespace == jobs.c.namespace,
                twins.c.passage == jobs.c.passage,
                twins.c.kind == jobs.c.kind,
                twins.c.prompt == kind.prompt,
                twins.c.model == kind.model,
            ),
        )
    )
    connection.execute(
        update(jobs)
        .where(jobs.c.namespace == namespace, jobs.c.number.in_(numbers))
        .values(
            prompt=kind.prompt,
            model=kind.model,
            state="running",
            attempts=jobs.c.attempts + 1,
            due_at=lease_ends,
            token=token,
        )
    )


def held(connection: Connection, token: int) -> set[int]:
    """The numbers of the jobs that a claim still holds."""
    return set(
        connection.execute(select(jobs.c.number).where(jobs.c.token == token, jobs.c.state == "running")).scalars()
    )


def are_there(connection: Connection, namespace: int, works: Sequence[Work]) -> bool:
    """Whether all that a claim is about is there still."""
    numbers = {work.passage for work in works}
    query = select(func.count()).where(passages.c.namespace == namespace, passages.c.number.in_(numbers))
    return bool(connection.execute(query).scalar_one() == len(numbers))


def finish(connection: Connection, token: int, numbers: Iterable[int]) -> None:
    """These jobs of a claim are done."""
    for some in chunks(numbers):
        connection.execute(
            update(jobs)
            .where(jobs.c.number.in_(some), jobs.c.token == token, jobs.c.state == "running")
            .values(state="done", reason=None)
        )


def give_back(
    connection: Connection,
    token: int,
    due_at: datetime,
    reason: str,
    *,
    is_counted: bool = True,
    is_final: bool = False,
    is_fault: bool = False,
) -> tuple[int, int]:
    """What is left of a claim goes back, to be tried from `due_at` on; or is dead, where its attempts are used up or
    it `is_final`. An attempt that is not `is_counted` was none; `is_fault`: the server failed. Returns how many wait
    again, and how many are dead.
    """
    own = (jobs.c.token == token, jobs.c.state == "running")
    attempts = jobs.c.attempts - (0 if is_counted else 1)
    over = jobs.c.attempts >= (1 if is_final else MAX_ATTEMPTS)
    dead = 0
    if is_counted:
        dead = connection.execute(update(jobs).where(*own, over).values(state="dead", reason=reason)).rowcount
    back = connection.execute(
        update(jobs)
        .where(*own)
        .values(state="waiting", reason=reason, due_at=due_at, attempts=attempts, faults=jobs.c.faults + int(is_fault))
    )
    return back.rowcount, dead


def bury(connection: Connection, namespace: int, kind: Kind, now: datetime) -> int:
    """Declare dead what is due and has had all of its attempts: each of them ended with its process."""
    where = (*_claimable(namespace, kind, now), jobs.c.attempts >= MAX_ATTEMPTS)
    lose(connection, connection.execute(select(jobs.c.token).where(*where)).scalars().all())
    reason = f"its process ended during each of {MAX_ATTEMPTS} attempts"
    return connection.execute(update(jobs).where(*where).values(state="dead", reason=reason)).rowcount


def retry(connection: Connection, namespace: int, now: datetime, passage_ids: Sequence[str] | None = None) -> int:
    """Dead jobs are waiting again, with all attempts before them: those of these passages, or all. Returns how many.
    Those that wait because a server has failed them are due now."""
    where = [jobs.c.namespace == namespace]
    if passage_ids is not None:
        own = select(passages.c.number).where(passages.c.namespace == namespace, passages.c.id.in_(passage_ids))
        where.append(jobs.c.passage.in_(own))
    waiting = jobs.c.state == "waiting", jobs.c.faults > 0, jobs.c.due_at > now
    connection.execute(update(jobs).where(*where, *waiting).values(due_at=now))
    again = {"state": "waiting", "attempts": 0, "faults": 0, "due_at": now}
    return connection.execute(update(jobs).where(*where, jobs.c.state == "dead").values(**again)).rowcount


def next_due(connection: Connection, namespace: int, kind: Kind) -> datetime | None:
    """When the next job can be claimed, which may be past; None where there is none."""
    query = select(func.min(jobs.c.due_at)).where(
        jobs.c.namespace == namespace,
        jobs.c.kind == kind.name,
        jobs.c.state.in_(("waiting", "running")),
        _is_open_to(kind),
    )
    moment: datetime | None = connection.execute(query).scalar()
    return moment


def in_hand(connection: Connection, namespace: int, kind: Kind, now: datetime) -> tuple[int, datetime | None]:
    """How many jobs are claimed at this moment, and when the last of these leases ends."""
    query = select(func.count(), func.max(jobs.c.due_at)).where(
        jobs.c.namespace == namespace,
        jobs.c.kind == kind.name,
        jobs.c.state == "running",
        jobs.c.due_at > now,
        jobs.c.due_at <= now + AHEAD,
    )
    count, until = connection.execute(query).one()
    return count, until


def reserved(connection: Connection, namespace: int, kind: Kind) -> dict[str, int]:
    """How many jobs wait for each other model."""
    where = jobs.c.namespace == namespace, jobs.c.kind == kind.name, jobs.c.state == "waiting", ~_is_open_to(kind)
    query = select(jobs.c.model, func.count()).where(*where).group_by(jobs.c.model).order_by(jobs.c.model)
    return {row[0]: row[1] for row in connection.execute(query)}


def counts(connection: Connection, namespace: int) -> dict[str, int]:
    """How many jobs are in each state."""
    query = select(jobs.c.state, func.count()).where(jobs.c.namespace == namespace).group_by(jobs.c.state)
    found: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
    return {state: found.get(state, 0) for state in STATES}


def listed(connection: Connection, namespace: int, state: str | None, limit: int) -> list[Job]:
    """Jobs for people to look at, the latest first."""
    query = (
        select(
            passages.c.id, passages.c.title, jobs.c.kind, jobs.c.prompt, jobs.c.model, jobs.c.state, jobs.c.attempts,
            jobs.c.due_at, jobs.c.reason, jobs.c.ingest, jobs.c.faults,
        )
        .join(passages, and_(passages.c.namespace == jobs.c.namespace, passages.c.number == jobs.c.passage))
        .where(jobs.c.namespace == namespace)
        .order_by(jobs.c.number.desc())
        .limit(limit)
    )  # fmt: skip
    if state is not None:
        query = query.where(jobs.c.state == state)
    return [Job(*tuple(row)) for row in connection.execute(query)]


def read_by(connection: Connection, namespace: int, kind: str, numbers: Iterable[int]) -> dict[int, tuple[str, str]]:
    """For passages that a model has read, the prompt and model of the last time."""
    done = jobs.c.namespace == namespace, jobs.c.kind == kind, jobs.c.state == "done"
    query = select(jobs.c.passage, jobs.c.prompt, jobs.c.model).where(*done).order_by(jobs.c.token)
    return {row.passage: (row.prompt, row.model) for row in rows_among(connection, query, jobs.c.passage, numbers)}


def _claimable(namespace: int, kind: Kind, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        jobs.c.namespace == namespace,
        jobs.c.state.in_(("waiting", "running")),
        jobs.c.kind == kind.name,
        or_(jobs.c.due_at <= now, jobs.c.due_at > now + AHEAD),
        _is_open_to(kind),
    )


def _is_open_to(kind: Kind) -> ColumnElement[bool]:
    """Whether this model may do a job that was made for another one: unless the passage has other jobs, for then it is
    to be read again, by that very model."""
    twins = jobs.alias()
    is_again = exists().where(
        twins.c.namespace == jobs.c.namespace,
        twins.c.passage == jobs.c.passage,
        twins.c.kind == jobs.c.kind,
        twins.c.number != jobs.c.number,
    )
    return (jobs.c.model == kind.model) | ~is_again


def _of_passage(kind: Kind) -> tuple[ColumnElement[bool], ...]:
    return (
        jobs.c.namespace == passages.c.namespace,
        jobs.c.passage == passages.c.number,
        jobs.c.kind == kind.name,
    )


def _unread(namespace: int, kind: Kind) -> tuple[ColumnElement[bool], ...]:
    learned = exists().where(
        facts.c.namespace == passages.c.namespace,
        facts.c.passage == passages.c.number,
        facts.c.extractor.not_in(OWN_EXTRACTORS),
    )
    return passages.c.namespace == namespace, ~exists().where(*_of_passage(kind)), ~learned


def _insert_for(connection: Connection, kind: Kind, where: Sequence[ColumnElement[bool]], now: datetime) -> int:
    columns = {
        "namespace": passages.c.namespace,
        "passage": passages.c.number,
        "kind": literal(kind.name),
        "prompt": literal(kind.prompt),
        "model": literal(kind.model),
        "content": passages.c.content,
        "ingest": null(),
        "state": literal("waiting"),
        "attempts": literal(0),
        "due_at": literal(now, jobs.c.due_at.type),
        "token": literal(0),
    }
    query: Any = select(*columns.values()).where(*where).order_by(passages.c.number).limit(CHUNK * 20)
    # Not by `rowcount`, which databases do not all tell of an INSERT.
    return len(connection.execute(insert(jobs).from_select(list(columns), query).returning(jobs.c.number)).all())
