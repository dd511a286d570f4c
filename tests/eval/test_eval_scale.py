"""Growth over a few hundred passages, as a user measures it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hippomem import Memory
from hippomem.testing import capitals
from hippomem_eval.cli import app
from hippomem_eval.scale import exponents
from hippomem_eval.scale_worker import ask, build
from hippomem_eval.synthetic_encoder import SyntheticEncoder


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["scale", *map(str, args)])


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("scale") / "out"
    with pytest.MonkeyPatch.context() as patch:
        here(patch)
        result = run("--passages", "300,100", "--out", out, "--questions", 10, "--json")
    assert result.exit_code == 0, result.output
    return out, json.loads(result.stdout)


def here(patch: pytest.MonkeyPatch) -> None:
    """Measure in this process: starting others takes most of the time."""

    def measure(_program: str, job: Mapping[str, Any], folder: Path, what: str) -> dict[str, Any]:
        return build(job) if what == "build" else ask(job, folder)

    patch.setattr("hippomem_eval.scale.measure_in_own_process", measure)


@pytest.mark.slow
def test_processes_of_their_own(tmp_path: Path) -> None:
    result = run("--passages", "100", "--out", tmp_path / "out", "--questions", 10, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)["sizes"]["100"]
    assert figures["ms"]["p50"] > 0
    assert figures["rss_mb"] > 0


def test_the_figures(measured: tuple[Path, Any]) -> None:
    _, printed = measured
    assert set(printed) == {"sizes", "exponents"}
    assert list(printed["sizes"]) == ["100", "300"]
    for size, figures in printed["sizes"].items():
        assert (figures["passages"], figures["n_questions"]) == (int(size), 10)
        for cost in ("ms", "cpu_ms"):
            assert 0 < figures[cost]["p50"] <= figures[cost]["p95"]
            assert set(figures[cost]) == set(figures["dense"][cost]) == {"mean", "p50", "p95"}
        assert 0.5 < figures["recall@5"] <= 1
        for name in ("add_ms", "recall_after_add_ms", "update_ms", "open_seconds", "first_recall_ms", "ingest_seconds"):
            assert figures[name] > 0
        assert figures["rss_mb"] > 0
        assert figures["bytes_per_passage"] == pytest.approx(1e6 * figures["disk_mb"] / int(size))
        assert figures["bytes_per_passage"] < 35_000
        assert set(figures["ingest"]["cpu_seconds"]) == {"total", "encode", "extract", "other"}
    assert {"recall_ms", "recall_cpu_ms", "ingest", "disk", "rss", "add_ms"} <= set(printed["exponents"])
    assert 0.8 < printed["exponents"]["disk"] < 1.2


def test_what_is_left_in_the_folder(measured: tuple[Path, Any]) -> None:
    out, printed = measured
    kept = json.loads((out / "scale.json").read_text())
    assert kept.items() >= printed.items()
    assert kept["machine"]["cpus"] >= 1
    assert "| 300 |" in (out / "scale.md").read_text()
    assert (out / "growth.png").read_bytes().startswith(b"\x89PNG")
    assert "100, 300 made-up passages" in (out / "report.html").read_text()
    for size in ("100", "300"):
        assert {"index.db", "run.json", "hippomem.jsonl", "dense.jsonl"} <= {p.name for p in (out / size).iterdir()}
        assert not {"job.json", "result.json"} & {p.name for p in (out / size).iterdir()}
        rows = [json.loads(line) for line in (out / size / "hippomem.jsonl").read_text().splitlines()]
        assert len(rows) == 10
        recalls = [row["recall@5"] for row in rows]
        assert sum(recalls) / 10 == pytest.approx(printed["sizes"][size]["recall@5"])
        for row in rows:
            titles = [passage["title"] for passage in row["ranked"]]
            (rank,) = row["gold_ranks"]
            assert rank is None or titles[rank - 1] == row["gold"][0]


def test_the_memory_is_a_memory(measured: tuple[Path, Any]) -> None:
    out, _ = measured
    database = out / "100" / "index.db"
    with Memory.open(database, namespace="default", encoder=SyntheticEncoder(), pipeline=capitals()) as memory:
        assert memory.doctor().ok


def test_what_is_built_is_used_again_unless_seed_or_code_differ(
    measured: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    here(monkeypatch)
    out, printed = measured
    database = out / "100" / "index.db"
    before = database.stat().st_ino

    def again(*args: object) -> Any:
        result = run("--passages", "100", "--out", out, "--questions", 10, "--json", *args)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["sizes"]["100"], result.stderr

    figures, told = again()
    assert (database.stat().st_ino, told) == (before, "")
    assert figures["ingest"] == printed["sizes"]["100"]["ingest"]
    monkeypatch.setattr("hippomem_eval.scale.settings_hash", lambda: "others")
    figures, told = again("--reuse-index")
    assert "built with other code or settings" in told
    assert figures["ingest"] == printed["sizes"]["100"]["ingest"]
    figures, told = again("--seed", 1)
    assert "building it anew" in told
    assert figures["ingest"] != printed["sizes"]["100"]["ingest"]


def test_exponents_are_slopes_of_logarithms() -> None:
    def size(passages: int) -> dict[str, Any]:
        costs = {"recall_after_add_ms": 1.0, "first_recall_ms": 1.0, "add_ms": passages**0.5, "disk_mb": passages}
        costs |= {"update_ms": None, "rss_mb": None, "ingest_rss_mb": 0.0, "dense": {}}
        return {"ms": {"p50": 3.0 * passages**2}, "ingest": {"cpu_seconds": {"other": passages}}, **costs}

    found = exponents({str(n): size(n) for n in (10, 100, 1000)})
    assert found == pytest.approx(
        {"recall_ms": 2, "recall_after_add_ms": 0, "first_recall_ms": 0, "add_ms": 0.5, "ingest": 1, "disk": 1}
    )
    assert exponents({"10": size(10)}) == {}


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "100").mkdir()
    (tmp_path / "100" / "index.db").write_bytes(b"mine")
    result = run("--passages", "100", "--out", tmp_path)
    assert (result.exit_code, "was not made by this command" in result.stderr) == (1, True)
    assert (tmp_path / "100" / "index.db").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("sizes", "code", "message"),
    [("ten", 2, "is not a list such as"), ("", 2, "is not a list"), ("5", 1, "begin at 40"), ("-100", 1, "begin at")],
)
def test_wrong_sizes(sizes: str, code: int, message: str) -> None:
    result = run("--passages", sizes)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
