"""What a memory costs, measured in a process of its own over eight passages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from eval_data import write_pair
from typer.testing import CliRunner

from hippomem_eval.cli import app
from hippomem_eval.latency_worker import parts, peak_rss


@pytest.mark.slow
def test_the_figures(tmp_path: Path) -> None:
    questions, corpus = write_pair(tmp_path)
    args = ["latency", "--questions", questions, "--corpus", corpus, "--out", tmp_path / "out"]
    result = CliRunner().invoke(app, [*map(str, args), "--json"])
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert (measured["n_questions"], measured["passages"], measured["failed_records"]) == (4, 8, 0)
    assert measured["cpu_seconds"]["total"] > 0
    assert {"total", "encode", "extract", "other"} <= set(measured["wall_seconds"])
    assert measured["wall_seconds"]["other"] < measured["wall_seconds"]["total"]
    assert measured["bytes"] > 0
    peak = measured["peak_rss_bytes"]
    assert peak["imported"] <= peak["ingested"] <= peak["total"] < 4e9
    for cost in ("ms", "cpu_ms", "encode_ms"):
        assert 0 < measured["recall"][cost]["p50"] <= measured["recall"][cost]["p95"]
    kept = json.loads((tmp_path / "out" / "latency.json").read_text())
    assert kept.items() >= measured.items()
    assert kept["machine"]["cpus"] >= 1
    # The store is gone.
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["latency.json"]


@pytest.mark.slow
def test_workers_that_are_set_take_nothing_out_of_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPOMEM_WORKERS", "1")
    monkeypatch.setenv("HIPPOMEM_BATCH", "3")
    questions, corpus = write_pair(tmp_path)
    args = ["latency", "--questions", questions, "--corpus", corpus, "--out", tmp_path / "out", "--json"]
    measured = json.loads(CliRunner().invoke(app, list(map(str, args))).stdout)
    assert measured["cpu_seconds"]["other"] >= 0  # encoder and spaCy ran in the process that was measured


def test_a_failure_in_the_process_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions, corpus = write_pair(tmp_path)
    monkeypatch.setenv("HIPPOMEM_ENCODER", " ")
    args = ["latency", "--questions", questions, "--corpus", corpus, "--out", tmp_path / "out"]
    result = CliRunner().invoke(app, list(map(str, args)))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the measuring process failed with exit code 1" in result.stderr


def test_the_rest_is_what_the_models_did_not_take() -> None:
    seconds = {"cpu_total": 9.0, "cpu_encode": 5.0, "cpu_extract": 3.0}
    assert parts(seconds, 10.0, "cpu_") == {"total": 10.0, "encode": 5.0, "extract": 3.0, "other": 2.0}
    assert parts({"cpu_total": 9.0}, 10.0, "cpu_") == {"total": 10.0}


@pytest.mark.slow
def test_the_peak_is_this_process_own() -> None:
    mine = peak_rss()
    assert mine is not None
    code = "from hippomem_eval.latency_worker import peak_rss; print(peak_rss())"
    ballast = bytearray(mine)  # what the child must not inherit
    ballast[:] = b"x" * len(ballast)
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(child.stdout) < peak_rss()  # type: ignore[operator]
