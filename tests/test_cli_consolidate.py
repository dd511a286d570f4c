"""consolidate, undo, deep recall and stats on the command line."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hippomem import Memory, Report, SimulatedClock, StoreAccessError
from hippomem.cli import app
from hippomem.cli_plot import retention_by_age
from hippomem.cli_worker import InTurn

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def db(fast: Callable[..., Memory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A memory with a merge, a contradiction and reviews behind it, which the commands open without a model."""
    from hippomem import memory as module
    from hippomem.testing import HashEncoder, capitals

    clock = SimulatedClock(NOW)
    opened = fast(clock=clock)
    people = "Ada Bea Cid Dov Eve Fay Gil Hal Ivy Jon".split()
    for place, name in enumerate(people):
        opened.add(f"{name} lives in Town{place}.", triples=[(name, "lives in", f"Town{place}")])
        if place > 5:
            opened.add(f"{name} still lives in Town{place}.", triples=[(name, "lives in", f"Town{place}")])
    opened.add("Zoe keeps a lighthouse.", source="a")
    opened.add("zoe keeps a lighthouse!", source="b")
    clock.advance(timedelta(days=2))
    opened.add("Ada lives in Oslo.", triples=[("Ada", "lives in", "Oslo")])
    opened.consolidate()
    clock.advance(timedelta(days=6))
    opened.consolidate()
    opened.close()
    real = module.Memory.open.__func__  # type: ignore[attr-defined]

    def without_model(cls: type[Memory], *args: object, **options: object) -> Memory:
        return real(cls, *args, **options | {"encoder": HashEncoder(), "pipeline": capitals(), "clock": clock})

    monkeypatch.setattr(module.Memory, "open", classmethod(without_model))
    return tmp_path / "m.db"


def ran(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_history_tells_why_and_undo_takes_it_back(db: Path) -> None:
    found = json.loads(ran("recall", "Where does Ada live?", "-k", "50", "--deep", "--db", db, "--json"))
    old = next(p for p in found["passages"] if p["text"] == "Ada lives in Town0.")
    assert old["invalid_at"] == "2026-01-03T00:00:00+00:00"
    shallow = json.loads(ran("recall", "Where does Ada live?", "-k", "50", "--db", db, "--json"))
    assert old["id"] not in {p["id"] for p in shallow["passages"]}
    told = ran("history", old["id"], "--db", db)
    assert "invalidate" in told
    assert "why: what" in told
    changes = json.loads(ran("history", old["id"], "--db", db, "--json"))
    number = next(c["sequence"] for c in changes if c["action"] == "invalidate")
    assert ran("undo", number, "--db", db).strip() == old["id"]
    assert "undone already" in ran("undo", number, "--db", db, code=1)
    assert "no change 99999" in ran("undo", "99999", "--db", db, code=1)
    ran("undo", "none", "--db", db, code=2)


def test_stats_and_a_dry_round(db: Path) -> None:
    told = ran("stats", "--db", db)
    assert "consolidation.archived: 1" in told
    assert "consolidation.contradicted: 1" in told
    assert "consolidation.due: " in told
    report = json.loads(ran("consolidate", "--dry-run", "--now", "2026-03-01T12:00Z", "--db", db, "--json"))
    (replay,) = [step for step in report["steps"] if step["name"] == "replay graph"]
    assert sum(count for name, count in replay["counts"].items() if name.startswith("would be")) > 0
    assert (
        json.loads(ran("stats", "--db", db, "--json"))["consolidation"]["reviews"]
        == json.loads(ran("stats", "--db", db, "--json"))["consolidation"]["reviews"]
    )


@pytest.mark.sqlite
def test_the_plot_is_a_picture_and_a_summary(db: Path, tmp_path: Path) -> None:
    file = tmp_path / "retention.png"
    told = ran("consolidate", "--plot", file, "--db", db)
    assert file.read_bytes().startswith(b"\x89PNG")
    assert "of 1" in told
    assert "predicted" in told
    assert "must end in .png" in ran("consolidate", "--plot", tmp_path / "x.txt", "--db", db, code=1)
    assert "cannot write" in ran("consolidate", "--plot", tmp_path / "no" / "x.png", "--db", db, code=1)
    (tmp_path / "link.png").symlink_to(db)
    assert "is a database" in ran("consolidate", "--plot", tmp_path / "link.png", "--db", db, code=1)
    empty = tmp_path / "empty.db"
    ran("add", "Ada met Bea.", "--db", empty)
    told = ran("consolidate", "--plot", file, "--db", empty, code=1)
    assert "nothing to plot" in told
    assert "tidy: " in told  # what was done


def test_reviews_are_binned_by_age() -> None:
    rows = [(NOW + timedelta(days=d), "graph", grade, 0.9, NOW) for d, grade in ((0.5, 3), (0.6, 1), (3, 2), (5, 4))]
    assert retention_by_age(rows) == {
        "graph": [(0.55, 0.5, 0.9, 2), (3.0, 1.0, 0.9, 1), (5.0, 1.0, 0.9, 1)],
    }


def test_one_worker_serves_several_namespaces(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippomem.consolidation.worker.POLL_SECONDS", 10**6)  # it does not wait where it found work
    for name in ("left", "right"):
        ran("add", f"{name.title()}: we use cookies. Accept all cookies.", "--db", db, "--namespace", name)
    done = json.loads(ran("worker", "--until-idle", "--namespace", "left", "--namespace", "none", "--db", db, "--json"))
    assert done["rounds"] == 1
    told = ran("worker", "--until-idle", "--all-namespaces", "--db", db)
    assert "namespace right" in told
    assert "namespace left" not in told
    again = json.loads(ran("worker", "--until-idle", "--all-namespaces", "--db", db, "--json"))
    assert again == {"rounds": 0, "steps": {}, "usage": again["usage"], "error": None}
    assert "takes no --namespace" in ran("worker", "--all-namespaces", "--namespace", "a", "--db", db, code=2)


def test_a_worker_in_turn_outlives_a_database_that_is_away_for_a_while(
    fast: Callable[..., Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hippomem.consolidation.worker.POLL_SECONDS", 0.01)
    turns: list[str] = []

    @contextmanager
    def opened(name: str) -> Iterator[Memory]:
        turns.append(name)
        if len(turns) < 3:
            raise StoreAccessError("the server is starting up")
        os.kill(os.getpid(), signal.SIGTERM)
        yield memory

    memory = fast(namespace="left")
    assert InTurn(memory, ["left", "right"], opened).run([], until_idle=False, is_silent=True) is None
    assert turns == ["left"] * 3
    turns.clear()
    assert InTurn(memory, ["left"], opened).run([], until_idle=True, is_silent=True) == "the server is starting up"


def test_a_worker_in_turn_opens_only_where_something_can_have_come_up(
    fast: Callable[..., Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hippomem.consolidation.worker.POLL_SECONDS", 0.01)
    memory, other = fast(namespace="left"), fast(namespace="right")
    memory.add("Ada was born in Lund.")
    other.add("Bea was born in Rome.")
    turns: list[str] = []
    running = InTurn(memory, (), lambda name: nullcontext(opened(name)))
    looking = running._last_changes

    def opened(name: str) -> Memory:
        turns.append(name)
        return memory if name == "left" else other

    def looked() -> dict[str, int]:
        """The moments before a turn: twenty without news, then something new, then the end."""
        passed.append(len(turns))
        if len(passed) == 20:
            other.add("Cid was born in Bonn.")
        if len(passed) == 40:
            os.kill(os.getpid(), signal.SIGTERM)
        return looking()

    passed: list[int] = []
    monkeypatch.setattr(running, "_last_changes", looked)
    rounds: list[Report] = []
    assert running.run(rounds, until_idle=False, is_silent=True) is None
    assert turns[: passed[10]].count("left") == turns[: passed[10]].count("right") > 0
    assert passed[10] == passed[19]  # rounds that replay write to the log too: so a few turns, and then none
    assert set(turns[passed[19] :]) == {"right"}
    assert other.stats()["consolidation"]["scheduled"] == 2
