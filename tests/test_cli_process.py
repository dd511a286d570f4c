"""The command as a process: exit codes, pure standard output, signals, pipes that close."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hippomem import Memory
from hippomem.__main__ import main


def run(*args: object, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command as users start it."""
    return subprocess.run(
        [sys.executable, "-m", "hippomem.cli", *map(str, args)], cwd=cwd, capture_output=True, text=True, **options
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes it")
def test_a_standard_input_that_is_closed_is_told(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m hippomem.cli add - <&-'
    ran = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (1, "error: there is no standard input to read\n")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a memory, its export and a file to ingest."""
    with Memory.open(tmp_path / "hippomem.db") as memory:
        memory.add("Ada likes tea.")
        memory.export(tmp_path / "memory.jsonl")
    (tmp_path / "note.txt").write_text("Bob likes coffee.", "utf-8")
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes it")
@pytest.mark.sqlite  # the commands are processes, each with a file
@pytest.mark.parametrize(
    ("command", "closed"),
    [
        ("ingest note.txt", "2>&-"),
        ("consolidate", "2>&-"),
        ("doctor", "2>&-"),
        ("export memory.jsonl", "2>&-"),
        ("import memory.jsonl --db copy.db", ">&- 2>&-"),
        ("passages --json", ">&-"),
    ],
)
def test_output_that_is_closed_keeps_no_command_from_its_work(place: Path, command: str, closed: str) -> None:
    line = f'"{sys.executable}" -m hippomem.cli {command} {closed}'
    ran = subprocess.run(["/bin/sh", "-c", line], cwd=place, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_exit_codes_of_the_process(tmp_path: Path) -> None:
    wrong = run("recall", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    failed = run("stats", "--json", cwd=tmp_path)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("error: ")
    version = run("--version", cwd=tmp_path)
    assert version.stdout.startswith("hippomem ")
    done = run("add", "Zoë likes tea → milk.", "--json", cwd=tmp_path)
    event = json.loads(done.stdout)
    assert event["text"] == "Zoë likes tea → milk."
    assert done.stderr == ""
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    assert "Zo? likes tea ? milk." in run("get", event["id"], cwd=tmp_path, env=ascii_only).stdout
    shown = run("get", event["id"], "--json", cwd=tmp_path, env=ascii_only)
    assert json.loads(shown.stdout)["text"] == event["text"]


def test_the_package_is_the_command_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hippomem", "stats", "--json"]
    failed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("error: there is no database")


@pytest.mark.sqlite
def test_a_reader_that_went_away_is_no_error(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "hippomem.db") as memory:
        memory.add("Ada likes tea.")
    for options in ([], ["--json"]):
        reading, writing = os.pipe()
        os.close(reading)
        process = subprocess.run(
            [sys.executable, "-m", "hippomem.cli", "stats", *options],
            cwd=tmp_path,
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
        os.close(writing)
        assert process.stderr == b""


def test_an_interrupted_ingest_keeps_what_it_has_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(60):
        text = " ".join(f"Keeper {i} of lamp {j} wrote to Varrow Island about oil and bells." for j in range(4))
        (folder / f"{i:03}.txt").write_text(text, "utf-8")
    command = [sys.executable, "-m", "hippomem.cli", "ingest", "many", "--json"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=os.environ | {"HIPPOMEM_BATCH": "4"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Where the tests themselves run in the background, interrupts are ignored, by what they start too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while stored(tmp_path / "hippomem.db") == 0 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    # A shell tells both as 130. Where the interrupt comes while Python runs source in a string, as for a dataclass, it
    # ends itself by the signal, whatever was made of it.
    assert process.returncode in (130, -signal.SIGINT), err
    assert out == b""
    assert err == b"interrupted: what was ingested is kept, the same command goes on from there\n"
    kept = stored(tmp_path / "hippomem.db")
    assert 0 < kept < 60
    report = json.loads(run("ingest", "many", "--json", cwd=tmp_path, check=True).stdout)
    assert report["skipped"] > 0
    assert report["documents"] + report["skipped"] == 60


def stored(db: Path) -> int:
    """Passages in a database that another process is writing."""
    if not db.exists():
        return 0
    connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM passages").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def test_an_interrupt_while_the_command_line_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "hippomem.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "hippomem.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted, *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "interrupted\n")
