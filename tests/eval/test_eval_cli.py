"""The commands where users find them, and how little it takes to show them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from eval_data import corpus_records, question_records, write, write_pair
from typer.testing import CliRunner

from hippomem.cli import app as main_app
from hippomem_eval.cli import app as eval_app

HEAVY = ("numpy", "pydantic", "rich.progress", "sqlalchemy", "torch")


@pytest.mark.parametrize(
    ("command", "option"), [("multihop", "--questions"), ("latency", "--questions"), ("conversation", "--data")]
)
def test_the_commands_are_under_hippomem_eval(command: str, option: str) -> None:
    result = CliRunner().invoke(main_app, ["eval", command, "--help"])
    assert result.exit_code == 0, result.output
    assert option in result.stdout


def test_errors_are_one_line_under_the_main_command_too() -> None:
    result = CliRunner().invoke(main_app, ["eval", "multihop", "--questions", "none.json", "--out", "out"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.strip() == "error: there is no file none.json"


# A name that no file can have: where a folder on the way is closed to the user, the system refuses a look likewise.
BARRED = "z" * 300


@pytest.mark.parametrize(
    "args",
    [
        ("multihop", "--questions", BARRED, "--out", "out"),
        ("multihop", "--questions", "q.json", "--corpus", BARRED, "--out", "out"),
        ("multihop", "--questions", "q.json", "--corpus", "c.json", "--out", BARRED),
        ("conversation", "--data", BARRED, "--out", "out"),
        ("compare", BARRED, "."),
        ("mixed", BARRED, "--out", "out"),
    ],
)
def test_paths_that_cannot_be_looked_at_are_told(
    args: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("q.json"), question_records())
    write(Path("c.json"), corpus_records())
    result = CliRunner().invoke(eval_app, args)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: {BARRED}")


def test_a_setting_that_cannot_be_is_told_as_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions, corpus = write_pair(tmp_path)
    monkeypatch.setenv("HIPPOMEM_BATCH", "many")
    args = ["multihop", "--questions", questions, "--corpus", corpus, "--out", tmp_path / "out"]
    result = CliRunner().invoke(eval_app, list(map(str, args)))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: settings: batch: ")


@pytest.mark.parametrize(("option", "value"), [("--decompositions", "musique"), ("--recognition", "oracle")])
def test_an_option_that_no_system_uses_is_wrong_usage(option: str, value: str) -> None:
    args = ["multihop", "--questions", "none.json", "--out", "out", option, value, "--system", "hippomem,dense"]
    result = CliRunner().invoke(eval_app, args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is for --system" in result.stderr


def test_what_is_recorded_is_not_of_misspelt_questions() -> None:
    args = ["multihop", "--questions", "none.json", "--out", "out", "--system", "hippomem+decompose", "--misspell"]
    result = CliRunner().invoke(eval_app, [*args, "--decompositions", "musique"])
    assert (result.exit_code, "without slips" in result.stderr) == (2, True)


def test_without_a_command_there_is_help() -> None:
    assert "multihop" in CliRunner().invoke(eval_app, []).output


def test_it_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "hippomem_eval", "--help"], capture_output=True, text=True)
    assert (done.returncode, "multihop" in done.stdout) == (0, True)


def test_the_command_line_loads_nothing_heavy() -> None:
    code = f"import sys, hippomem_eval.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
