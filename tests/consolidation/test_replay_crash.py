"""Two workers, killed at any instant of a replay: no event is lost, none is reviewed twice, the due table is whole."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerContext
from pathlib import Path

import child_tasks
import pytest
from child_tasks import PEOPLE, opened, records, said

from hippomem import Memory, Settings, SimulatedClock
from hippomem.testing import HashEncoder

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.sqlite
@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_workers_that_are_killed_leave_everything_whole(
    children: ForkServerContext, tmp_path: Path, kills: int
) -> None:
    db, log = tmp_path / "m.db", tmp_path / "log"
    with opened(db) as memory:
        memory.ingest(records(60))
        for name in PEOPLE:
            found = memory.recall(f"Whom did {name} meet?", 2)
            memory.feedback(found, [found.passages[0].id])
        memory.consolidate()  # enrols
    rng = random.Random(11)  # noqa: S311
    killed, moment = 0, NOW
    while killed < kills:
        moment += timedelta(days=1)
        pair = [children.Process(target=child_tasks.consolidate, args=(db, moment, log)) for _ in range(2)]
        before = len(said(log)) if log.exists() else 0
        for child in pair:
            child.start()
        while not log.exists() or len(said(log)) == before:  # until one has begun
            pair[0].join(0.01)
        for child in pair:
            child.join(rng.uniform(0, 0.25))
            child.kill()
            child.join()
            killed += child.exitcode != 0
        check(db)
    with Memory.open(
        settings=Settings(db=str(db), encoder=HashEncoder(), pipeline=child_tasks.PIPELINE),
        clock=SimulatedClock(moment + timedelta(days=6)),
    ) as memory:
        for _ in range(3):
            memory.consolidate()
        counts = memory.stats()["consolidation"]
        assert counts["scheduled"] > 60  # nobody was killed five times with the same one in hand
        assert counts["due"] == 0
        assert counts["reviews"] > 0
        assert memory.doctor().ok
        assert len(memory.recall("Whom did Ada Thorne meet?", 500, deep=True).passages) == 60
    check(db)


def check(db: Path) -> None:
    """What must hold at every instant, read past the library."""
    connection = sqlite3.connect(db)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM passages").fetchone() == (60,)
        assert connection.execute("SELECT count(*) FROM reviews WHERE channel = 'graph'").fetchone() == (60,)
        # One line in the log for each review that the due table counts, and no claim with two.
        logged = Counter(connection.execute("SELECT passage, channel FROM review_log"))
        for passage, channel, done, token, attempts in connection.execute(
            "SELECT passage, channel, reviews, token, attempts FROM reviews"
        ):
            assert logged[passage, channel] == done - 1, passage  # to learn it was the first
            assert logged[passage, channel] <= token
            assert attempts <= 5
        twice = "SELECT 1 FROM review_log GROUP BY passage, channel, token HAVING count(*) > 1"
        assert connection.execute(twice).fetchall() == []
        # Nothing is in the weights without its review, nor a review that says so without it.
        rehearsed = connection.execute("SELECT count(*) FROM review_log WHERE rehearsed").fetchone()
        assert rehearsed == connection.execute("SELECT count(*) FROM rehearsals").fetchone()
        # An edge's strength and the line that tells of it were written together.
        told = "SELECT DISTINCT passage FROM strengths WHERE strength != 1.0 EXCEPT SELECT passage FROM changes WHERE"
        assert connection.execute(told + " action = 'strengthen'").fetchall() == []
    finally:
        connection.close()
