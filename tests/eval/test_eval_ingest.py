"""`hippomem eval ingest`: the same corpus with and without workers, each time in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eval_data import write_pair
from typer.testing import CliRunner

from hippomem_eval.cli import app


@pytest.mark.slow
def test_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPOMEM_BATCH", "3")
    _, corpus = write_pair(tmp_path)
    out = tmp_path / "out"
    args = ["ingest", "--corpus", str(corpus), "--out", str(out), "--workers", "1", "--rounds", "1", "--limit", "7"]
    result = CliRunner().invoke(app, [*args, "--json"])
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert (measured["n_passages"], measured["rounds"], list(measured["systems"])) == (7, 1, ["0", "1"])
    alone, with_worker = measured["systems"]["0"], measured["systems"]["1"]
    assert alone["times_as_fast"]["median"] == 1
    for name, found in measured["systems"].items():
        assert 0 < found["seconds"]["low"] <= found["seconds"]["median"] <= found["seconds"]["high"], name
        assert found["cpu_ms_per_passage"] > 0
        assert found["rss_bytes"] > 1e7
    assert alone["worker_rss_bytes"] is None
    assert with_worker["worker_rss_bytes"] > with_worker["rss_bytes"]  # it has the models
    assert sorted(entry.name for entry in out.iterdir()) == ["ingest.json", "ingest.md", "run.json"]
    assert (out / "ingest.md").read_text().count("\n| ") == 2


def test_so_few_passages_that_no_worker_starts_are_refused(tmp_path: Path) -> None:
    _, corpus = write_pair(tmp_path)
    result = CliRunner().invoke(app, ["ingest", "--corpus", str(corpus), "--out", str(tmp_path / "out")])
    assert (result.exit_code, "no workers start" in result.stderr) == (1, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", ["two", "-1", "1,"])
def test_what_is_no_number_of_workers(tmp_path: Path, workers: str) -> None:
    _, corpus = write_pair(tmp_path)
    args = ["ingest", "--corpus", str(corpus), "--out", str(tmp_path / "out"), "--workers", workers]
    assert CliRunner().invoke(app, args).exit_code == 2
    assert not (tmp_path / "out").exists()
