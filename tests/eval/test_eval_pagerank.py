"""The PageRank benchmark over eight passages: all programs agree, and copies hold together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from eval_data import corpus_records
from scipy.sparse.csgraph import connected_components
from typer.testing import CliRunner

from hippomem import Memory
from hippomem.hippocampus.push import Sparse, local_pagerank
from hippomem.testing import HashEncoder, capitals
from hippomem_eval.cli import app
from hippomem_eval.linked_copies import Mentions
from hippomem_eval.pagerank_bench import _adjacency, _igraph, _networkx, _scipy


@pytest.fixture
def db(tmp_path: Path) -> Path:
    with Memory.open(tmp_path / "m.db", encoder=HashEncoder(), pipeline=capitals()) as memory:
        memory.ingest(corpus_records())
    return tmp_path / "m.db"


def test_the_figures(db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippomem.memory.resolve_encoder", lambda *_: HashEncoder())
    args = ["pagerank", "--db", db, "--out", tmp_path / "out", "--copies", "1,3", "--queries", "4", "--json"]
    result = CliRunner().invoke(app, list(map(str, args)))
    assert result.exit_code == 0, result.output
    sizes = json.loads(result.stdout)["sizes"]
    assert [size["passages"] for size in sizes] == [8, 24]
    assert sizes[1]["edges"] == 3 * sizes[0]["edges"]
    for size in sizes:
        programs = size["programs"]
        assert {name.split(",")[0] for name in programs} == {
            "exact walk", "local walk", "scipy", "igraph prpack", "networkx"
        }  # fmt: skip
        assert programs["local walk, 1e-05"]["log_error"] < 0.05
        assert programs["exact walk"]["log_error"] == 0
        assert programs["exact walk"]["top_10"] == 1
    assert json.loads((tmp_path / "out" / "pagerank.json").read_text())["machine"]["cpus"] >= 1


def test_the_programs_compute_the_same(db: Path) -> None:
    with Memory.open(db, encoder=HashEncoder(), pipeline=capitals()) as memory:
        graph = Mentions.of(memory.graph()).copied(3, 0)
    seeds = Sparse.of({0: 0.25, 9: 0.25}), Sparse.of({2: 0.5})
    expected = local_pagerank(graph, *seeds, iterations=100, epsilon=0.0)[0]
    for make in (_igraph, _networkx):
        np.testing.assert_allclose(make(graph)(*seeds)[expected.nodes], expected.values, atol=1e-5)
    ten = local_pagerank(graph, *seeds, iterations=10, epsilon=0.0)[0]
    np.testing.assert_allclose(_scipy(graph)(*seeds)[ten.nodes], ten.values, atol=1e-6)


def test_copies_are_linked_and_common_entities_shared(db: Path) -> None:
    with Memory.open(db, encoder=HashEncoder(), pipeline=capitals()) as memory:
        mentions = Mentions.of(memory.graph())
    one, many = mentions.copied(1, 0), mentions.copied(40, 0)
    assert (many.rows, many.edge_count()) == (320, 40 * one.edge_count())
    assert one.nodes < many.nodes <= 40 * one.nodes
    np.testing.assert_allclose(np.tile(one.passage_weight, 40), many.passage_weight, rtol=1e-6)
    parts, label = connected_components(_adjacency(many), directed=False)
    assert np.bincount(label[:320], minlength=parts).max() > 10 * 8  # passages of one copy


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["--copies", "two"], 2, "are no whole numbers"),
        (["--copies", "0"], 2, "at least 1"),
        ([], 1, "there is no file"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, args: list[str], code: int, told: str) -> None:
    result = CliRunner().invoke(app, ["pagerank", "--db", "none.db", "--out", str(tmp_path), *args])
    assert result.exit_code == code
    assert told in result.stderr


def test_a_memory_without_passages(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "m.db", encoder=HashEncoder(), pipeline=capitals()):
        pass
    result = CliRunner().invoke(app, ["pagerank", "--db", str(tmp_path / "m.db"), "--out", str(tmp_path / "o")])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
