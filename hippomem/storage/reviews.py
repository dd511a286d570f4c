"""The due table: when each passage is replayed next, claimed with a lease and a fencing token.

A claim is one short transaction; the work is done outside of it; what it found is written in another one, which the
token guards: who was overtaken meanwhile writes nothing. A row whose holder was killed is free when its lease ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, case, exists, func, insert, or_, select, update

from hippomem.storage.chunks import rows_among
from hippomem.storage.schema import (
    learning_events,
    learning_targets,
    passages,
    review_log,
    reviews,
    schedules,
    statuses,
    usages,
)

LEASE = timedelta(minutes=5)
RESTED = timedelta(hours=12)  # since a replay, before the next one out of slack: once a night, however many rounds
ATTEMPTS = 5  # claims that came to nothing, after which a row is dead: visible, and left alone


@dataclass(frozen=True, slots=True)
class Review:
    """One row of the due table."""

    passage: int
    last_review: datetime
    due: datetime
    stability: float
    difficulty: float
    step: int
    reviews: int
    lapses: int
    failures: int
    uses: int
    attempts: int
    token: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Where the rounds of a namespace are: the clock at the last one, what it counted as, since when there is too much
    to do, and the change up to which it was tidied."""

    wall: datetime
    moment: datetime
    overloaded_since: datetime | None = None
    tidied: int = 0


def schedule(connection: Connection, namespace: int) -> Schedule | None:
    """None before the first round."""
    row = connection.execute(select(schedules).where(schedules.c.namespace == namespace)).first()
    return Schedule(row.wall, row.moment, row.overloaded_since, row.tidied) if row else None


def set_schedule(connection: Connection, namespace: int, **values: Any) -> None:
    """Change some of it; the first time all of it is given."""
    done = connection.execute(update(schedules).where(schedules.c.namespace == namespace).values(**values))
    if not done.rowcount:
        connection.execute(insert(schedules).values(namespace=namespace, **{"tidied": 0} | values))


def unenrolled(connection: Connection, namespace: int, channel: str, limit: int) -> list[tuple[int, datetime]]:
    """Passages that the channel does not know yet, with the moment of their recording, oldest first. The neural one
    knows only what feedback called useful, without what is flagged."""
    known = exists().where(
        reviews.c.namespace == namespace, reviews.c.channel == channel, reviews.c.passage == passages.c.number
    )
    query = select(passages.c.number, passages.c.recorded_at).where(passages.c.namespace == namespace, ~known)
    if channel == "neural":
        flagged = exists().where(
            statuses.c.namespace == namespace,
            statuses.c.passage == passages.c.number,
            statuses.c.flag != "",
        )
        taught = exists().where(
            learning_targets.c.namespace == namespace,
            learning_targets.c.passage == passages.c.number,
            learning_events.c.namespace == namespace,
            learning_events.c.number == learning_targets.c.event,
            learning_events.c.confidence > 0,
        )
        query = query.where(taught, ~flagged)
    rows = connection.execute(query.order_by(passages.c.number).limit(limit))
    return [(row.number, row.recorded_at) for row in rows]


def enrol(connection: Connection, namespace: int, channel: str, states: Mapping[int, Mapping[str, Any]]) -> None:
    """New rows, given as passage → state."""
    fresh = {"failures": 0, "uses": 0, "state": "live", "attempts": 0, "token": 0}
    rows = [
        {"namespace": namespace, "passage": passage, "channel": channel, **fresh, **state}
        for passage, state in states.items()
    ]
    if rows:
        connection.execute(insert(reviews), rows)


def candidates(
    connection: Connection, namespace: int, channel: str, now: datetime, wall: datetime, limit: int, slack: bool
) -> list[Review]:
    """Rows among which to choose: those due, the longest due first; with `slack` also those reviewed longest ago and
    those due next, `RESTED` since their last review. None that somebody holds, that is dead, or whose passage is
    archived."""
    free = _free(namespace, channel, wall)
    found: dict[int, Review] = {}
    queries = [select(reviews).where(*free, reviews.c.due <= now).order_by(reviews.c.due, reviews.c.passage)]
    if slack:
        # One review is the learning itself.
        rested = or_(reviews.c.reviews <= 1, reviews.c.last_review <= now - RESTED)
        queries += [
            select(reviews).where(*free, rested).order_by(reviews.c.last_review, reviews.c.passage),
            select(reviews).where(*free, rested).order_by(reviews.c.due, reviews.c.passage),
        ]
    for query in queries:
        found.update((row.passage, _review(row)) for row in connection.execute(query.limit(limit)))
    return [found[passage] for passage in sorted(found)]


def claim(
    connection: Connection, namespace: int, channel: str, chosen: Iterable[Review], wall: datetime
) -> dict[int, int]:
    """Hold these rows until the lease ends: those that are free, and as they were when they were chosen. Returns their
    tokens. A row that was claimed too often is dead from here on.
    """
    tokens: dict[int, int] = {}
    for review in chosen:
        where = and_(
            *_free(namespace, channel, wall), reviews.c.passage == review.passage, reviews.c.token == review.token
        )
        if review.attempts >= ATTEMPTS:
            connection.execute(update(reviews).where(where).values(state="dead", lease_until=None))
            continue
        values = {"token": review.token + 1, "attempts": review.attempts + 1, "lease_until": wall + LEASE}
        if connection.execute(update(reviews).where(where).values(**values)).rowcount:
            tokens[review.passage] = review.token + 1
    return tokens


def finish(
    connection: Connection, namespace: int, channel: str, passage: int, token: int, values: Mapping[str, Any]
) -> bool:
    """Write a review's outcome and let go of its row. False, with nothing written, where another claim came later or
    the passage is gone."""
    done = connection.execute(
        update(reviews)
        .where(
            reviews.c.namespace == namespace,
            reviews.c.channel == channel,
            reviews.c.passage == passage,
            reviews.c.token == token,
            reviews.c.lease_until.is_not(None),
        )
        .values(attempts=0, lease_until=None, **values)
    )
    return done.rowcount == 1


def release(connection: Connection, namespace: int, channel: str, tokens: Mapping[int, int]) -> None:
    """Let go of rows that were claimed and not worked on; the attempt does not count."""
    for passage, token in tokens.items():
        connection.execute(
            update(reviews)
            .where(
                reviews.c.namespace == namespace,
                reviews.c.channel == channel,
                reviews.c.passage == passage,
                reviews.c.token == token,
            )
            .values(lease_until=None, attempts=case((reviews.c.attempts > 0, reviews.c.attempts - 1), else_=0))
        )


def log_review(connection: Connection, namespace: int, passage: int, channel: str, token: int, **values: Any) -> None:
    """A line about a review. One claim has one at most: the database holds that."""
    connection.execute(
        insert(review_log).values(namespace=namespace, passage=passage, channel=channel, token=token, **values)
    )


def next_due(connection: Connection, namespace: int, channel: str) -> datetime | None:
    """When the next row falls due, None where there is none."""
    query = select(func.min(reviews.c.due)).where(
        reviews.c.namespace == namespace, reviews.c.channel == channel, reviews.c.state == "live", ~_archived()
    )
    return connection.execute(query).scalar()


def due_count(connection: Connection, namespace: int, channel: str, now: datetime) -> int:
    """How many are due."""
    query = (
        select(func.count())
        .select_from(reviews)
        .where(
            reviews.c.namespace == namespace,
            reviews.c.channel == channel,
            reviews.c.state == "live",
            reviews.c.due <= now,
            ~_archived(),
        )
    )
    return int(connection.execute(query).scalar_one())


def revive(connection: Connection, namespace: int) -> int:
    """Give rows that are dead another chance. Returns how many."""
    done = connection.execute(
        update(reviews)
        .where(reviews.c.namespace == namespace, reviews.c.state == "dead")
        .values(state="live", attempts=0, lease_until=None)
    )
    return int(done.rowcount)


def count_uses(connection: Connection, namespace: int, numbers: Iterable[int], at: datetime) -> None:
    """Count one use of each of these passages."""
    for number in sorted(set(numbers)):
        where = (usages.c.namespace == namespace, usages.c.passage == number)
        done = connection.execute(update(usages).where(*where).values(uses=usages.c.uses + 1, last_used_at=at))
        if not done.rowcount:
            connection.execute(insert(usages).values(namespace=namespace, passage=number, uses=1, last_used_at=at))


def uses_of(connection: Connection, namespace: int, numbers: Sequence[int]) -> dict[int, int]:
    """How often passages were of use, where they ever were."""
    query = select(usages.c.passage, usages.c.uses).where(usages.c.namespace == namespace)
    return {row.passage: row.uses for row in rows_among(connection, query, usages.c.passage, numbers)}


def graded(connection: Connection, namespace: int) -> list[tuple[datetime, str, int, float, datetime]]:
    """Every review, oldest first: when, channel, grade, predicted retrievability, when the passage was recorded."""
    query = (
        select(
            review_log.c.at, review_log.c.channel, review_log.c.grade, review_log.c.predicted, passages.c.recorded_at
        )
        .join(
            passages,
            and_(passages.c.namespace == review_log.c.namespace, passages.c.number == review_log.c.passage),
        )
        .where(review_log.c.namespace == namespace)
        .order_by(review_log.c.number)
    )
    return [tuple(row) for row in connection.execute(query)]


def review_counts(connection: Connection, namespace: int, now: datetime) -> dict[str, int]:
    """How many rows are scheduled, due, dead; how many reviews there were."""
    own = reviews.c.namespace == namespace
    rows = connection.execute(select(reviews.c.state, func.count()).where(own).group_by(reviews.c.state))
    states = {str(state): int(count) for state, count in rows}
    done = select(func.count()).select_from(review_log).where(review_log.c.namespace == namespace)
    return {
        "scheduled": states.get("live", 0),
        "due": sum(due_count(connection, namespace, channel, now) for channel in ("graph", "neural")),
        "dead": states.get("dead", 0),
        "reviews": int(connection.execute(done).scalar_one()),
    }


def _free(namespace: int, channel: str, wall: datetime) -> list[Any]:
    held = and_(
        reviews.c.lease_until.is_not(None),
        reviews.c.lease_until > wall,
        reviews.c.lease_until <= wall + 2 * LEASE,  # one further ahead is from a clock that has gone back since
    )
    return [
        reviews.c.namespace == namespace,
        reviews.c.channel == channel,
        reviews.c.state == "live",
        ~held,
        ~_archived(),
    ]


def _archived() -> Any:
    return exists().where(
        statuses.c.namespace == reviews.c.namespace,
        statuses.c.passage == reviews.c.passage,
        statuses.c.archived_at.is_not(None),
    )


def _review(row: Row[Any]) -> Review:
    return Review(**{name: getattr(row, name) for name in Review.__dataclass_fields__})
