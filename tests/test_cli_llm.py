"""`hippomem recall --decompose` and `--iterative`, with LangChain's real client against a server on 127.0.0.1."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from openai_server import openai_server
from typer.testing import CliRunner, Result

from hippomem.cli import app
from hippomem.neocortex.extraction import LocalExtractor
from hippomem.testing import HashEncoder, capitals

KEY = "sk-very-secret-0123456789"
QUESTION = "Where is the archive of the firm that Ada Thorne runs?"
PLAN = 'Of course:\n```json\n{"sub_questions": ["Which firm does Ada Thorne run?", "Where is the archive of #1?"]}\n```'
Cli = Callable[..., Result]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs a command where two notes are remembered."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("HIPPOMEM_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("hippomem.memory.resolve_encoder", lambda *_: HashEncoder())
    pipeline = capitals()
    monkeypatch.setattr("hippomem.memory.LocalExtractor", lambda _: LocalExtractor(pipeline))

    def run(*args: str) -> Result:
        return CliRunner().invoke(app, args)

    run("add", "Ada Thorne runs Northlight Labs.", "--title", "Ada Thorne")
    run("add", "Northlight Labs keeps its archive in Vardo.", "--title", "Northlight Labs")
    return run


def test_iterative_for_programs_and_people(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPOMEM_LLM", "openai:test-model")
    monkeypatch.setenv("HIPPOMEM_LLM_API_KEY", KEY)
    answers = (PLAN, '{"answer": "Northlight Labs"}', '{"answer": "Vardo \\u001b[31m"}')
    with openai_server(*answers, *answers) as server:
        monkeypatch.setenv("HIPPOMEM_LLM_BASE_URL", server.url)
        result = cli("recall", QUESTION, "--iterative", "--json")
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        found = json.loads(result.stdout)
        shown = cli("recall", QUESTION, "--iterative", "--explain").stdout
        assert {request["key"] for request in server.asked} == {f"Bearer {KEY}"}
    assert found["usage"] == {"calls": 3, "input_tokens": 33, "output_tokens": 21}
    assert found["warnings"] == []
    assert [(step["planned"], step["query"], step["filled"], step["answer"]) for step in found["steps"]] == [
        ("Which firm does Ada Thorne run?", "Which firm does Ada Thorne run?", {}, "Northlight Labs"),
        (
            "Where is the archive of #1?",
            "Where is the archive of Northlight Labs?",
            {"#1": "Northlight Labs"},
            "Vardo [31m",
        ),
    ]
    assert "sub-question 1: Which firm does Ada Thorne run? → Northlight Labs" in shown
    assert "chat model: 3 calls, 33 tokens in, 21 out" in shown
    assert "number 1 for sub-question 2" in shown
    assert "\x1b" not in shown
    assert KEY not in shown + result.stdout


def test_decompose_with_the_model_as_an_option(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)  # the provider's own variable does, too
    with openai_server(PLAN) as server:
        monkeypatch.setenv("HIPPOMEM_LLM_BASE_URL", server.url)
        found = json.loads(cli("recall", QUESTION, "--decompose", "--llm", "openai:test-model", "--json").stdout)
        assert len(server.asked) == 1
    assert [step["query"] for step in found["steps"]] == [
        "Which firm does Ada Thorne run?",
        "Where is the archive of ?",
    ]
    steps = cli("recall", QUESTION, "--json")
    assert json.loads(steps.stdout).keys() == {"query", "passages", "paths", "timings_ms"}


def test_a_server_that_fails_is_a_warning(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPOMEM_LLM_API_KEY", KEY)
    monkeypatch.setenv("HIPPOMEM_LLM_RETRIES", "0")
    with openai_server((500, f"no {KEY}\x1b[31m")) as server:
        monkeypatch.setenv("HIPPOMEM_LLM_BASE_URL", server.url)
        result = cli("recall", QUESTION, "--decompose", "--llm", "openai:test-model", "--json")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["passages"]) == 2
    assert json.loads(result.stdout)["warnings"]
    assert result.stderr.startswith("warning: plain recall: the chat model 'openai:test-model' did not answer")
    assert KEY not in result.output
    assert "\x1b" not in result.output


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--decompose"], 1, "HIPPOMEM_LLM"),
        (["--iterative", "--llm", "openai:test-model"], 1, "HIPPOMEM_LLM_API_KEY"),
        (["--iterative", "--llm", "nobody:model"], 1, "nobody:model"),
        (["--iterative", "--max-steps", "0"], 2, "--max-steps"),
    ],
)
def test_wrong_use(cli: Cli, options: list[str], code: int, message: str) -> None:
    result = cli("recall", QUESTION, *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert code == 2 or result.stderr.count("\n") == 1
