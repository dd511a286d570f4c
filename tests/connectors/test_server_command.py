"""`hippomem serve`: what it prints, what it refuses, and that the token it prints is one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest
from serving import client_of, process
from typer.testing import CliRunner

from hippomem.cli import app
from hippomem_server import Tokens


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def test_a_new_token_is_an_entry_to_append(tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["serve", "--new-token", "laptop", "--namespace", "ada", "--read-only"])
    assert made.exit_code == 0
    (entry,) = tomllib.loads(made.stdout)["token"]
    assert (entry["name"], entry["namespaces"], entry["access"]) == ("laptop", ["ada"], "read")
    (tmp_path / "tokens.toml").write_text(made.stdout)
    (tmp_path / "tokens.toml").chmod(0o600)
    grant = Tokens.read(tmp_path / "tokens.toml").grant(made.stderr.split()[-1])
    assert grant is not None
    assert not grant.may_write
    told = json.loads(CliRunner().invoke(app, ["serve", "--new-token", "b", "--json"]).stdout)
    assert tomllib.loads(told["entry"])["token"][0]["namespaces"] == ["default"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--host", "0.0.0.0"], "0.0.0.0 can be reached by others"),  # noqa: S104
        (["--tokens", "none.toml"], "there is no file of tokens"),
        (["--db", ":memory:"], "must lie in a file or in Postgres"),
    ],
)
def test_what_cannot_be_served_is_a_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    refused = CliRunner().invoke(app, ["serve", *arguments])
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: ")
    assert told in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--read-only"], ["--namespace", "ada"]])
def test_what_only_a_token_can_say_is_not_passed_over(tmp_path: Path, arguments: list[str]) -> None:
    refused = CliRunner().invoke(app, ["serve", *arguments, "--db", ":memory:"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"{arguments[0]}: only --new-token takes it" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_tells_no_password_of_its_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippomem_server.serve", lambda *_, told, **__: told("http://127.0.0.1:1/", "token"))
    served = CliRunner().invoke(app, ["serve", "--db", "postgresql://me:secret@127.0.0.1:1/none"])
    assert served.stdout == "hippomem serves postgresql://me:***@127.0.0.1:1/none: http://127.0.0.1:1/#token=token\n"


def test_it_serves_until_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hippomem", "serve", "--port", "0", "--db", "a.db"]
    server = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background, the signal is ignored, and so it would be in what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert server.stdout is not None
    try:
        address = server.stdout.readline().split()[-1]
        url, _, token = address.partition("#token=")
        with httpx.Client(headers={"authorization": f"Bearer {token}"}, timeout=60, trust_env=False) as client:
            assert client.get(f"{url}v1").json()["namespaces"] == ["*"]
            assert "<title>hippomem</title>" in client.get(url).text
            form = {"content-type": "multipart/form-data; boundary=x"}
            refused = client.post(f"{url}v1/default/ingest/files", content=b"{", headers=form)
            assert refused.status_code == 400  # whoever sent it is told, and not the log
        os.kill(server.pid, signal.SIGINT)
        rest, wrong = server.communicate(timeout=60)
    finally:
        server.kill()
        server.wait(30)
    assert server.returncode == 130
    assert rest == ""
    assert wrong == "interrupted\n"
    assert token not in wrong


@pytest.mark.sqlite
@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_it_takes_as_many_open_files_as_it_may(tmp_path: Path) -> None:
    """Each open namespace holds dozens: the limit that a process begins with is soon reached, and all else refused."""
    few = 'ulimit -S -n 40 && exec "$@"'
    with process(tmp_path / "m.db", before=["sh", "-c", few, "sh"]) as (_, url, token):
        for name in range(16):
            with client_of(url, token, f"n{name}") as client:
                assert client.post("memories", json={"text": "Ada lives in Oslo."}).status_code == 201
