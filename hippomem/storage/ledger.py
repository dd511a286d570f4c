"""The ledger of chat models: a row for each call, written when it begins, and what they answered, to be used again.

A call's number is also the fencing token of the jobs that it is for. A call whose process died stays open until its
jobs are claimed again, and is lost from then on: whether the provider counted it, nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, case, cast, func, insert, select, update

from hippomem.storage.chunks import chunks, rows_among
from hippomem.storage.schema import answers, calls, passages

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a call before it is made; `expected_tokens` is an estimate of both directions."""

    purpose: str
    model: str
    ingest: str | None = None
    expected_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """How a call ended; `outcome` is answered, failed or cached; `cost` in dollars, None where it is not known."""

    outcome: str
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """How much of the limits a minute is left; None without one. `again_at`: when there will be more."""

    requests: int | None
    tokens: int | None
    again_at: datetime | None


def begin(connection: Connection, namespace: int, call: Call, now: datetime) -> int:
    """Enter a call that is about to be made. Returns its number."""
    return enter(connection, namespace, call, now, Spent("open"))


def enter(connection: Connection, namespace: int, call: Call, now: datetime, spent: Spent) -> int:
    """Enter a call that has ended already. Returns its number."""
    row = insert(calls).values(namespace=namespace, began_at=now, **asdict(call), **asdict(spent))
    return int(connection.execute(row.returning(calls.c.number)).scalar_one())


def end(connection: Connection, number: int, spent: Spent) -> None:
    """Enter how a call ended, also of one that was given up as lost."""
    connection.execute(
        update(calls).where(calls.c.number == number, calls.c.outcome.in_(("open", "lost"))).values(**asdict(spent))
    )


def lose(connection: Connection, numbers: Iterable[int]) -> None:
    """Give up calls of which nothing was heard."""
    for some in chunks(numbers):
        connection.execute(
            update(calls).where(calls.c.number.in_(some), calls.c.outcome == "open").values(outcome="lost")
        )


def room(connection: Connection, model: str, requests: int | None, tokens: int | None, now: datetime) -> Room:
    """What is left for the next call, over all namespaces and processes of this database."""
    if requests is None and tokens is None:
        return Room(None, None, None)
    told = calls.c.input_tokens + calls.c.output_tokens
    # Of a call that is not over, and of one whose server does not count, the estimate is all there is.
    used = case(
        ((calls.c.outcome == "answered") & (told > 0), told),
        (calls.c.outcome.in_(("answered", "open")), calls.c.expected_tokens),
        else_=0,
    )
    # A call that began in the future is one from before the clock went back: it cannot be told when it leaves.
    recent = (calls.c.model == model, calls.c.began_at > now - MINUTE, calls.c.began_at <= now + MINUTE)
    query = select(func.count(), func.sum(used), func.min(calls.c.began_at))
    made, spent, first = connection.execute(query.where(*recent, calls.c.outcome != "cached")).one()
    return Room(
        None if requests is None else max(0, requests - made),
        None if tokens is None else max(0, tokens - int(spent or 0)),
        None if first is None else first + MINUTE,
    )


def was_answered_after(connection: Connection, model: str, number: int) -> bool:
    """Whether this model has answered a call that began after the one with this number."""
    later = calls.c.number > number, calls.c.model == model, calls.c.outcome == "answered"
    return connection.execute(select(calls.c.number).where(*later).limit(1)).first() is not None


def newest(connection: Connection) -> int:
    """The number of the call that began last, 0 without one."""
    return connection.execute(select(func.max(calls.c.number))).scalar() or 0


def answered(
    connection: Connection, namespace: int, prompt: str, model: str, contents: Iterable[str], everywhere: bool
) -> dict[str, str]:
    """For contents that were asked about already, what was answered; `everywhere`: in other namespaces, too."""
    query = select(answers.c.content, answers.c.text).where(answers.c.prompt == prompt, answers.c.model == model)
    if not everywhere:
        query = query.where(answers.c.namespace == namespace)
    return {row.content: row.text for row in rows_among(connection, query, answers.c.content, contents)}


def keep_answers(connection: Connection, namespace: int, prompt: str, model: str, texts: Mapping[str, str]) -> None:
    """Keep what was answered about contents that are there still; what is known already stays."""
    known = answered(connection, namespace, prompt, model, texts, everywhere=False)
    query = select(passages.c.content).where(passages.c.namespace == namespace)
    there = {row.content for row in rows_among(connection, query, passages.c.content, texts)}
    rows = [
        {"namespace": namespace, "content": content, "prompt": prompt, "model": model, "text": text}
        for content, text in texts.items()
        if content in there and content not in known  # what was forgotten meanwhile leaves nothing
    ]
    if rows:
        connection.execute(insert(answers), rows)


def totals(connection: Connection, namespace: int, *by: str) -> list[dict[str, Any]]:
    """Sums over the calls of a namespace, one for each value of the columns `by`, the first seen first."""
    columns = [calls.c[name] for name in by]
    outcomes = {
        f"{outcome}_calls": func.sum(case((calls.c.outcome == outcome, 1), else_=0))
        for outcome in ("answered", "failed", "cached", "lost", "open")
    }
    silent = (calls.c.outcome == "answered") & (calls.c.input_tokens + calls.c.output_tokens == 0)
    unpriced = (calls.c.outcome == "answered") & calls.c.cost.is_(None)
    query = (
        select(
            *columns,
            *(value.label(name) for name, value in outcomes.items()),
            func.sum(case((silent, 1), else_=0)).label("calls_without_token_counts"),
            func.sum(case((unpriced, 1), else_=0)).label("calls_of_unknown_cost"),
            cast(func.sum(calls.c.input_tokens), BigInteger).label("input_tokens"),
            cast(func.sum(calls.c.output_tokens), BigInteger).label("output_tokens"),
            func.sum(calls.c.seconds).label("seconds"),
            func.sum(calls.c.cost).label("cost"),
        )
        .where(calls.c.namespace == namespace)
        .group_by(*columns)
        .order_by(func.min(calls.c.number))
    )
    return [dict(row) for row in connection.execute(query).mappings()]
