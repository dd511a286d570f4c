"""Listing on the command line: sources and passages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hippomem import Memory
from hippomem.cli import app
from hippomem.testing import HashEncoder, capitals


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hippomem.memory.resolve_encoder", lambda *_: HashEncoder())
    with Memory.open("hippomem.db", pipeline=capitals()) as memory:
        memory.add("Ada Thorne\x1b[31m keeps bees.", source="docs/a.md", session="monday")
        memory.add("Bea Lind keeps bees.", source="docs/deep/b.md")
        memory.add("Chiara Bassi keeps bees.", source="c.md")

    def run(*args: str) -> Result:
        return CliRunner().invoke(app, list(args))

    return run


def test_sources(run) -> None:  # type: ignore[no-untyped-def]
    assert run("sources").stdout.splitlines() == ["c.md", "docs/a.md", "docs/deep/b.md"]
    assert json.loads(run("sources", "docs/", "--json").stdout) == ["docs/a.md", "docs/deep/b.md"]
    assert run("sources", "--namespace", "other").stdout == ""
    wrong = run("sources", "docs")
    assert wrong.exit_code == 1
    assert wrong.stderr == "error: below must end with a slash: 'docs/'\n"
    unknown = run("sources", "nowhere/")
    told = "no memory came from the source 'nowhere/' (hippomem sources lists them)\n"
    assert (unknown.exit_code, unknown.stdout, unknown.stderr) == (0, "", told)


def test_sources_below_the_folder_that_was_ingested(run) -> None:  # type: ignore[no-untyped-def]
    note = Path("notes", "dora.md")
    note.parent.mkdir()
    note.write_text("Dora Falk keeps goats.", "utf-8")
    assert run("ingest", "notes").exit_code == 0
    assert run("sources", "notes/").stdout.splitlines() == [str(note.resolve())]


@pytest.mark.sqlite
def test_passages(run) -> None:  # type: ignore[no-untyped-def]
    told = [line[33:] for line in run("passages").stdout.splitlines()]
    assert told == [
        "Ada Thorne keeps bees.",
        "Bea Lind keeps bees.",
        "Chiara Bassi keeps bees.",
    ]
    listed = json.loads(run("passages", "docs/", "-n", "1", "--offset", "1", "--json").stdout)
    assert [p["source"] for p in listed] == ["docs/deep/b.md"]
    assert len(run("passages", "--session", "monday").stdout.splitlines()) == 1
    assert len(run("passages", "--session", "").stdout.splitlines()) == 2
    recalled = json.loads(run("recall", "bees", "--session", "", "--json").stdout)["passages"]
    assert [p["session"] for p in recalled] == [None, None]
    assert run("passages", "-n", "-1").exit_code == 2
    assert run("passages", "--db", "none.db").exit_code == 1
    assert len(run("passages", "-n", "9" * 20).stdout.splitlines()) == 3
    assert run("passages", "--offset", "9" * 20).stdout == ""
    unknown = run("undo", "9" * 20)
    assert (unknown.exit_code, unknown.stderr) == (
        1,
        f"error: there is no change {'9' * 20}: history gives the numbers\n",
    )


def test_a_folder_is_forgotten(run) -> None:  # type: ignore[no-untyped-def]
    assert run("forget", "docs/").exit_code == 0
    assert run("sources").stdout.splitlines() == ["c.md"]


def test_the_configuration_is_one_line_of_json(run, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    printed = run("mcp", "--json", "--namespace", "ada", "--folder", ".").stdout
    (server,) = json.loads(printed)["mcpServers"].values()
    assert printed.count("\n") == 1
    assert server["args"][-6:-4] == ["--db", str(Path("hippomem.db").absolute())]
    (server,) = json.loads(run("mcp", "--json", "--llm", "openai:test-model").stdout)["mcpServers"].values()
    assert server["args"][-2:] == ["--llm", "openai:test-model"]
    over_http = run("mcp", "--print-config", "--transport", "streamable-http", "--port", "9000").stdout
    assert json.loads(over_http)["mcpServers"]["hippomem"]["url"] == "http://127.0.0.1:9000/mcp"
    over_http = run("mcp", "--print-config", "--transport", "streamable-http", "--host", "::1").stdout
    assert json.loads(over_http)["mcpServers"]["hippomem"]["url"] == "http://[::1]:8000/mcp"
    over_stdio = run("mcp", "--print-config", "--port", "9000")
    assert (over_stdio.exit_code, over_stdio.stdout) == (2, "")
    assert "streamable-http" in over_stdio.stderr
    assert run("mcp", "--folder", "nowhere").exit_code == 1
    # A name that no file can have: the system refuses a look, as where a folder on the way is closed to the user.
    assert run("mcp", "--folder", "z" * 300).stderr == f"error: there is no folder '{'z' * 300}' that may be read\n"
    assert run("mcp", "--folder", "").stderr == "error: a path is empty: '.' stands for this folder\n"
    assert run("mcp", "--transport", "pigeon").exit_code == 2
    refused = run("mcp", "--transport", "streamable-http", "--host", "0.0.0.0")  # noqa: S104
    assert refused.exit_code == 1
    assert "HIPPOMEM_MCP_TOKEN" in refused.stderr


@pytest.mark.parametrize("command", [("passages",), ("recall", "bees", "--source"), ("recall", "bees", "--session")])
def test_a_source_or_a_session_that_nobody_used(run, command: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    found = run(*command, "nobody", "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout) == [] or json.loads(found.stdout)["passages"] == []
    assert found.stderr.startswith("no memory ")
    assert "'nobody'" in found.stderr


def test_a_relative_path_is_the_source_that_ingest_made_of_it(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "d.md").write_text("Dora Falk keeps bees.", "utf-8")
    with Memory.open("hippomem.db", pipeline=capitals()) as memory:
        memory.ingest("notes")
    for source in ("notes/d.md", "notes/"):
        assert len(run("passages", source).stdout.splitlines()) == 1
        found = run("recall", "bees", "--source", source, "--json")
        assert [p["text"] for p in json.loads(found.stdout)["passages"]] == ["Dora Falk keeps bees."]
        assert found.stderr == ""
    assert run("passages", "notes").stderr == "no memory came from the source 'notes': for all below it, 'notes/'\n"
