"""`ask`, `jobs`, `consolidate`, `worker`, `ingest --dry-run`, `doctor`, `stats` with a real server on 127.0.0.1."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from openai_server import Server, openai_server
from typer.testing import CliRunner, Result

from hippomem import Memory, Triple, extracting
from hippomem.cli import app
from hippomem.consolidation import worker
from hippomem.neocortex.extraction import LocalExtractor
from hippomem.storage import outages
from hippomem.testing import HashEncoder, capitals

Cli = Callable[..., Result]
FOUND = json.dumps({"entities": ["Ada Thorne"], "triples": [["Ada Thorne", "leads", "Northlight Labs"]]})


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("HIPPOMEM_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("hippomem.memory.resolve_encoder", lambda *_: HashEncoder())
    pipeline = capitals()
    monkeypatch.setattr("hippomem.memory.LocalExtractor", lambda _: LocalExtractor(pipeline))
    monkeypatch.setattr(extracting, "FIRST_PAUSE", 0.01)
    return lambda *args: CliRunner().invoke(app, args)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[Server], None]:
    def set_(server: Server) -> None:
        monkeypatch.setenv("HIPPOMEM_LLM", "openai:test-model")
        monkeypatch.setenv("HIPPOMEM_LLM_API_KEY", "none")
        monkeypatch.setenv("HIPPOMEM_LLM_BASE_URL", server.url)
        monkeypatch.setenv("HIPPOMEM_LLM_PRICES", '{"test-model": [1000000, 0]}')

    return set_


def shown(result: Result, code: int = 0) -> Any:
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_from_an_add_to_an_answer(cli: Cli, at: Callable[[Server], None], monkeypatch: pytest.MonkeyPatch) -> None:
    cli("add", "Ada Thorne runs Northlight Labs.", "--title", "Ada \x1b[31mThorne")
    with openai_server(FOUND, "She leads \x1b[31mNorthlight Labs [1].", "Northlight Labs [7]", "ready") as server:
        at(server)
        assert "0 waiting" in cli("jobs").stdout  # added before a model was set: it is found when there is one
        report = shown(cli("consolidate", "--json"))
        assert report["steps"][0]["counts"]["triples"] == 1
        assert shown(cli("jobs", "--json", "--state", "done"))["counts"]["done"] == 1
        result = cli("ask", "What does Ada Thorne run?")
        assert result.exit_code == 0, result.output
        assert "Northlight Labs [1]." in result.stdout
        assert "[1] Ada Thorne" in result.stdout
        assert "\x1b" not in result.output
        answer = shown(cli("ask", "What does Ada Thorne run?", "--json", "--style", "phrase"))
        assert (answer["text"], len(answer["flags"]), answer["citations"]) == ("Northlight Labs [7]", 2, [])
        assert "chat model: openai:test-model answered" in cli("doctor").stdout
        stats = shown(cli("stats", "--json"))
        by = {entry["purpose"]: entry for entry in stats["chat_models"]}
        assert by["extract"]["cost"] == 11
        assert by.keys() == {"extract", "answer", "answer-phrase", "hello"}
        assert "chat_models.openai:test-model extract.input_tokens: 11" in cli("stats").stdout
        monkeypatch.delenv("HIPPOMEM_LLM_PRICES")
        cli("add", "Ada Thorne runs Northlight Labs.", "--namespace", "other")
        cli("ask", "What does Ada Thorne run?", "--namespace", "other")
        told = cli("stats", "--namespace", "other").stdout
        assert "chat_models.openai:test-model answer.cost: unknown: set a price (HIPPOMEM_LLM_PRICES)" in told


def test_an_answer_from_a_part_of_the_memory(cli: Cli, at: Callable[[Server], None]) -> None:
    cli("add", "Ada likes tea.", "--session", "s1", "--source", "notes/a", "--occurred-at", "2020-01-01T00:00Z")
    cli("add", "Ada likes coffee.", "--session", "s2", "--source", "b", "--occurred-at", "2022-01-01T00:00Z")
    with Memory.open("hippomem.db", pipeline=capitals()) as memory:
        over = Triple("Ada", "likes", "milk", invalid_at=datetime(2022, 1, 1, tzinfo=UTC))
        memory.add("Ada likes milk.", source="b", triples=[over])

    def read(*options: str) -> set[str]:
        recall = shown(cli("ask", "What does Ada like?", *options, "--json"))["recall"]
        return {passage["text"].split()[-1] for passage in recall["passages"]}

    with openai_server("Something [1].") as server:
        at(server)
        assert read() == {"tea.", "coffee."}
        assert read("--session", "s1") == {"tea."}
        assert read("--source", "notes/") == {"tea."}
        assert read("--as-of", "2021-01-01T00:00Z") == {"tea."}
        assert read("--source", "b", "--deep") == {"coffee.", "milk."}


def test_a_worker_until_nothing_is_left(cli: Cli, at: Callable[[Server], None]) -> None:
    for number in range(3):
        cli("add", f"Ada Thorne runs Northlight Labs. It is day {number}. " + "So it was. " * 40)
    with openai_server(FOUND) as server:
        at(server)
        done = shown(cli("worker", "--until-idle", "--json"))
        assert done["steps"]["extract"]["passages"] == 3
        assert done["error"] is None
        assert len(server.asked) == 3
        assert cli("worker", "--until-idle").stdout == ""


def test_dead_jobs_are_seen_and_retried(cli: Cli, at: Callable[[Server], None]) -> None:
    id_ = cli("add", "Ada Thorne runs Northlight Labs.").stdout.strip()
    with openai_server(*["nonsense"] * 5, FOUND) as server:
        at(server)
        assert cli("consolidate").exit_code == 0
        listed = cli("jobs")
        assert "1 dead" in listed.stdout
        assert "5 attempts" in listed.stdout
        assert "no JSON" in listed.stdout
        assert shown(cli("jobs", "retry", id_, "--json")) == {"waiting_again": 1}
        assert "1 passages" in cli("consolidate").stdout
        assert shown(cli("jobs", "retry", "--json")) == {"waiting_again": 0}


def test_what_an_ingest_would_cost(cli: Cli, at: Callable[[Server], None], tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "ada.md").write_text("Ada Thorne runs Northlight Labs.\n" * 30)
    found = shown(cli("ingest", "notes", "--dry-run", "--json"))
    assert (found["model"], found["cost"], found["passages"]) == (None, None, 1)
    assert list(tmp_path.glob("*.db*")) == []
    with openai_server(FOUND) as server:
        at(server)
        text = cli("ingest", "notes", "--dry-run").stdout
        assert server.asked == []
    assert "chat model: openai:test-model" in text
    assert "cost: $" in text
    cli("ingest", "notes")
    assert shown(cli("ingest", "notes", "--dry-run", "--json"))["passages"] == 0


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (["ask", "What?"], 1, "HIPPOMEM_LLM"),
        (["jobs", "retry", "--renew"], 1, "HIPPOMEM_LLM"),
        (["ask", "What?", "--style", "poem"], 2, "--style"),
        (["jobs", "--state", "lost"], 2, "--state"),
        (["jobs", "--db", "other.db", "retry"], 2, "after retry"),
        (["consolidate", "--units", "-1"], 2, "--units"),
        (["consolidate", "--now", "yesterday"], 2, "--now"),
        (["ingest", "nowhere", "--dry-run"], 1, "nowhere"),
        (["ask", "What?", "--db", "none.db"], 1, "none.db"),
    ],
)
def test_wrong_use(cli: Cli, command: list[str], code: int, message: str) -> None:
    cli("add", "Ada met Bea.")
    result = cli(*command)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert message in result.stderr
    assert code == 2 or result.stderr.count("\n") == 1


def test_a_server_that_is_not_there(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("add", "Ada met Bea.")
    monkeypatch.setenv("HIPPOMEM_LLM", "openai:test-model")
    monkeypatch.setenv("HIPPOMEM_LLM_API_KEY", "none")
    monkeypatch.setenv("HIPPOMEM_LLM_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr(extracting, "OUTAGE_PATIENCE", 0.0)
    monkeypatch.setattr(worker, "IDLE_SECONDS", 1.0)
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.2)
    result = cli("consolidate")
    assert result.exit_code == 1
    assert "error: extract: the chat model 'openai:test-model' fails (" in result.stderr
    assert "check llm and llm_base_url" in result.stderr
    assert "); it is asked again in 1 s" in result.stderr
    told = cli("jobs").stdout
    assert re.search(r"the chat model 'openai:test-model' (fails|has failed for)", told)
    assert "asked again" in told
    assert "did not answer" in told
    listed = shown(cli("jobs", "--json"))
    assert (listed["jobs"][0]["attempts"], listed["jobs"][0]["faults"]) == (0, 1)
    assert listed["outages"]["openai:test-model"]["failures"] == 1
    assert "outages.openai:test-model.reason: " in cli("stats").stdout
    monkeypatch.setattr(outages, "FIRST", timedelta(seconds=0.1))
    monkeypatch.setattr(outages, "LONGEST", timedelta(seconds=0.5))
    for options in ([], ["--all-namespaces"]):
        result = cli("worker", "--until-idle", *options)  # it waits for a time, and says what for
        assert result.exit_code == 1
        assert "the chat model 'openai:test-model' has failed for " in result.stderr
        assert "; goes on at " in result.stdout
    assert shown(cli("jobs", "--json"))["jobs"][0]["attempts"] == 0


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    import logging

    logging.getLogger("hippomem").setLevel(logging.ERROR)
    yield
    logging.getLogger("hippomem").setLevel(logging.NOTSET)
