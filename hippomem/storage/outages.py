"""Outages: the server of a model fails, and until when nobody asks it.

A failure that is the server's is not one of the job that met with it. It holds up all jobs for that model, whichever
namespace or process they are in: for a second, after each further failure for twice as long, up to five minutes, or for
as long as the server asks. Then one job goes first, the probe. An answer to a call that began after the failure ends
the outage. Where others were answered meanwhile, it is one process that does not reach the server: that one pauses by
itself (extraction_calls.py).

none → paused → probing → none      it was answered
          ↑        ├→ paused        it failed: for longer
          ↑        └→ probing       its process died: the next one goes when its lease is over
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from hippomem.storage.schema import outages

FIRST, LONGEST = timedelta(seconds=1), timedelta(minutes=5)
AHEAD = timedelta(minutes=15)  # no pause ends later than that: what does was written before the clock went back
STALE = timedelta(days=1)  # what nobody has tried for so long is not known to fail


@dataclass(frozen=True, slots=True)
class Outage:
    """Since when the server of a model fails, until when nobody asks it, and how often that was found out. `reason`
    quotes neither the server nor a passage: all namespaces are told. `token` is the newest call that was begun before
    it failed last: an answer to that one proves nothing.
    """

    model: str
    since: datetime
    until: datetime
    failures: int
    token: int
    reason: str

    def told(self, now: datetime) -> str:
        """For people to read."""
        lasted = now - self.since
        lasting = f"has failed for {_span(lasted)}" if lasted >= timedelta(seconds=1) else "fails"
        again = f"in {_span(self.until - now)}" if self.until > now else "next"
        return f"the chat model {self.model!r} {lasting} ({self.reason}); it is asked again {again}"


def current(connection: Connection, now: datetime) -> dict[str, Outage]:
    """All outages, by model."""
    columns = (outages.c[name] for name in Outage.__slots__)
    found = (Outage(*row) for row in connection.execute(select(*columns).where(outages.c.until > now - STALE)))
    return {one.model: replace(one, until=now) if one.until > now + AHEAD else one for one in found}


def find(connection: Connection, model: str, now: datetime) -> Outage | None:
    """The outage of a model; None where it is not known to fail."""
    return current(connection, now).get(model)


def fail(
    connection: Connection, model: str, token: int, reason: str, now: datetime, wait: float = 0.0, *, is_probe: bool
) -> None:
    """A call has failed for the server's reasons, which asks for a `wait` of so many seconds. The pause grows where the
    call was a probe: what was under way before tells nothing new.
    """
    known = find(connection, model, now)
    until = now + timedelta(seconds=wait)
    if known is None or is_probe:
        failures = known.failures + 1 if known else 1
        until = max(until, now + pause_after(failures))
    else:
        failures, until = known.failures, max(until, known.until)
    values = {
        "since": min(known.since, now) if known else now,
        "until": until,
        "failures": failures,
        "token": max(known.token, token) if known else token,
        "reason": reason,
    }
    connection.execute(delete(outages).where(outages.c.model == model))
    connection.execute(insert(outages).values(model=model, **values))


def pause_after(failures: int) -> timedelta:
    """How long nobody asks after so many failures."""
    pause: timedelta = min(LONGEST, FIRST * 2 ** min(failures - 1, 20))
    return pause


def hold(connection: Connection, model: str, until: datetime, now: datetime) -> None:
    """Let nobody ask before `until`: a probe is under way, or (`now`) is no more."""
    connection.execute(update(outages).where(outages.c.model == model).values(until=min(until, now + AHEAD)))


def end(connection: Connection, model: str, token: int) -> bool:
    """A call was not failed by the server. Returns whether that ended an outage."""
    where = outages.c.model == model, outages.c.token < token
    return connection.execute(delete(outages).where(*where)).rowcount > 0


def lift(connection: Connection, now: datetime) -> None:
    """Let every server be asked now."""
    connection.execute(update(outages).where(outages.c.until > now).values(until=now))


def _span(length: timedelta) -> str:
    """In the largest unit of which there are two."""
    seconds = max(1, round(length.total_seconds()))
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}s"
    return f"{seconds} s"
