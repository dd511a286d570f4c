"""The encoder's cost: ways in turn in a process of their own, over eight passages; the statistics on made-up numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from eval_data import write_pair
from typer.testing import CliRunner

from hippomem_eval.cli import app
from hippomem_eval.encoder_bench import median_interval

pytest.importorskip("onnxruntime", reason="the extra hippomem[fast] is not installed")


def test_the_figures(tmp_path: Path) -> None:
    questions, corpus = write_pair(tmp_path)
    args = [
        "encoder",
        "--questions",
        questions,
        "--corpus",
        corpus,
        "--out",
        tmp_path / "out",
        "--system",
        "onnx,onnx-int8",
    ]
    args += ["--rounds", 2, "--queries", 3, "--loads", 1]
    result = CliRunner().invoke(app, [*map(str, args), "--json"])
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert (measured["n_passages"], measured["n_queries"], measured["rounds"]) == (8, 3, 2)
    assert list(measured["systems"]) == ["sentence-transformers", "onnx", "onnx-int8"]  # the baseline is always there
    for name, way in measured["systems"].items():
        for item in ("passage", "query"):
            for cost in ("cpu_ms", "ms", "times_as_fast"):
                assert 0 < way[item][cost]["low"] <= way[item][cost]["median"] <= way[item][cost]["high"], (name, cost)
        assert way["load"]["peak_rss_bytes"] > 1e8
        assert 0 < way["load"]["cpu_seconds"]
    least = {name: way["cosine"]["least"] for name, way in measured["systems"].items()}
    assert least["onnx"] > 0.999999
    assert 0.98 < least["onnx-int8"] < 0.9999
    assert measured["systems"]["sentence-transformers"]["query"]["times_as_fast"]["median"] == 1
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == ["encoder.json", "encoder.md", "run.json"]
    kept = json.loads((tmp_path / "out" / "encoder.json").read_text())
    assert kept.items() >= measured.items()
    assert "onnxruntime" in kept["versions"]
    assert (tmp_path / "out" / "encoder.md").read_text().count("\n| ") == 3


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
    assert found["low"] < found["median"] == pytest.approx(float(np.median(values))) < found["high"]
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * 1.2533 / np.sqrt(200), rel=0.4)
    assert found == median_interval(values, seed=3)
    assert median_interval([5.0]) == {"median": 5.0, "low": 5.0, "high": 5.0}
