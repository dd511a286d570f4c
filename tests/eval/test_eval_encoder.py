"""The encoder's cost over eight passages, and its statistics on made-up numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_data import write_pair
from typer.testing import CliRunner

from hippomem import SourceError
from hippomem_eval import encoder_bench
from hippomem_eval.cli import app
from hippomem_eval.encoder_bench import median_interval
from hippomem_eval.encoder_ways import WAYS
from hippomem_eval.encoder_worker import measure_costs
from hippomem_eval.own_process import measure_in_own_process

pytest.importorskip("onnxruntime", reason="the extra hippomem[fast] is not installed")


def measured_in(folder: Path, *options: object) -> dict[str, Any]:
    questions, corpus = write_pair(folder)
    args = ["encoder", "--questions", questions, "--corpus", corpus, "--out", folder / "out", *options, "--json"]
    result = CliRunner().invoke(app, list(map(str, args)))
    assert result.exit_code == 0, result.output
    measured: dict[str, Any] = json.loads(result.stdout)
    return measured


@pytest.mark.slow
def test_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_bench, "measure_in_own_process", lambda _, job, __, **___: measure_costs(job))
    measured = measured_in(tmp_path, "--system", "onnx,onnx-int8", "--rounds", 2, "--queries", 3, "--loads", 0)
    assert (measured["n_passages"], measured["n_queries"], measured["rounds"]) == (8, 3, 2)
    assert list(measured["systems"]) == ["sentence-transformers", "onnx", "onnx-int8"]  # the baseline is always there
    for name, way in measured["systems"].items():
        for item in ("passage", "query"):
            for cost in ("cpu_ms", "ms", "times_as_fast"):
                assert 0 < way[item][cost]["low"] <= way[item][cost]["median"] <= way[item][cost]["high"], (name, cost)
        assert way["load"] == {}
    least = {name: way["cosine"]["least"] for name, way in measured["systems"].items()}
    assert least["onnx"] > 0.999999
    assert 0.98 < least["onnx-int8"] < 0.9999
    assert measured["systems"]["sentence-transformers"]["query"]["times_as_fast"]["median"] == 1
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == ["encoder.json", "encoder.md", "run.json"]
    kept = json.loads((tmp_path / "out" / "encoder.json").read_text())
    assert kept.items() >= measured.items()
    assert "onnxruntime" in kept["versions"]
    assert (tmp_path / "out" / "encoder.md").read_text().count("\n| ") == 3


@pytest.mark.slow
def test_processes_of_their_own(tmp_path: Path) -> None:
    systems = measured_in(tmp_path, "--rounds", 1, "--queries", 1, "--loads", 1)["systems"]
    assert list(systems) == list(WAYS)
    onnx, public = systems["onnx"]["load"], systems["sentence-transformers"]["load"]
    assert 1e8 < onnx["peak_rss_bytes"] < public["peak_rss_bytes"]
    assert 0 < onnx["cpu_seconds"] < public["cpu_seconds"]


def test_a_process_of_its_own(tmp_path: Path) -> None:
    load = measure_in_own_process("encoder_worker", {"way": "onnx", "model": "all-MiniLM-L6-v2"}, tmp_path)
    assert load["peak_rss_bytes"] > 1e8
    assert load["cpu_seconds"] > 0
    with pytest.raises(SourceError, match="the measuring process failed with exit code 1"):
        measure_in_own_process("encoder_worker", {"way": "onnx", "model": "no/such-folder"}, tmp_path)


def test_what_cannot_be_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions, corpus = write_pair(tmp_path)
    args = ["encoder", "--questions", str(questions), "--corpus", str(corpus), "--out", str(tmp_path / "out")]
    wrong = CliRunner().invoke(app, [*args, "--system", "onnx,fast"])
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    missing = CliRunner().invoke(app, [*args[:2], "none.json", "--out", args[-1]])
    assert (missing.exit_code, missing.stdout, missing.stderr) == (1, "", "error: there is no file none.json\n")
    monkeypatch.setenv("HIPPOMEM_ENCODER", "no/such-folder")
    refused = CliRunner().invoke(app, args)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "no folder 'no/such-folder'" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_the_interval_of_a_median() -> None:
    values = np.random.default_rng(1).normal(10, 1, 200)
    found = median_interval(values, seed=3)
    assert found["median"] == pytest.approx(float(np.median(values)))
    assert found["low"] < found["median"] < found["high"]
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * 1.2533 / np.sqrt(200), rel=0.4)
    assert found == median_interval(values, seed=3)
    assert median_interval([5.0]) == {"median": 5.0, "low": 5.0, "high": 5.0}
