"""Search in vectors: exact where there are few, nearly so where lists help, over what was saved and what came since."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hippomem.hippocampus import lists
from hippomem.hippocampus import vectors as module
from hippomem.hippocampus.lists import InvertedLists, list_count
from hippomem.hippocampus.vectors import VectorIndex

D = 32


def _clustered(rows: int, seed: int = 0, clusters: int = 60) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((clusters, D))
    made = centres[rng.integers(clusters, size=rows)] + 0.6 * rng.standard_normal((rows, D))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def _expected(made: np.ndarray, query: np.ndarray, k: int, alive: np.ndarray) -> list[int]:
    score = np.where(alive, made @ query, -np.inf)
    return [int(row) for row in np.argsort(-score, kind="stable")[:k] if alive[row]]


def _reopened(index: VectorIndex, rows: np.ndarray, folder: Path) -> VectorIndex:
    folder.mkdir()
    index.save(folder / "vectors.npy", rows)
    return VectorIndex.load(folder / "vectors.npy")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists from 1,000 rows on."""
    monkeypatch.setattr(module, "MANY", 1000)


@pytest.mark.parametrize("saved", [0, 1, 300, 500])
def test_a_search_in_few_is_exact(saved: int, tmp_path: Path) -> None:
    made = _clustered(500)
    index = VectorIndex(D)
    index.add(made[:saved])
    index = _reopened(index, np.arange(saved), tmp_path / "v")
    assert not (tmp_path / "v" / "vectors.lists").exists()
    index.add(made[saved:])
    assert len(index) == 500
    np.testing.assert_allclose(index.similarities(made[3]), made @ made[3], atol=1e-6)
    rng = np.random.default_rng(1)
    for some in (np.ones(500, bool), rng.random(500) < 0.5, rng.random(500) < 0.02, np.zeros(500, bool)):
        for query in _clustered(5, 7):
            for k in (1, 10, 600):
                rows, scores = index.search(query, k, some)
                assert rows.tolist() == _expected(made, query, k, some)
                np.testing.assert_allclose(scores, made[rows] @ query, atol=1e-6)
    rows = rng.permutation(500)[:50]
    np.testing.assert_array_equal(index.take(rows), made[rows])


def _found(index: VectorIndex, made: np.ndarray, alive: np.ndarray, k: int = 20) -> float:
    hits = []
    for query in _clustered(40, 7):
        rows, scores = index.search(query, k, alive)
        expected = _expected(made, query, k, alive)
        assert len(rows) == len(expected)
        assert alive[rows].all()
        assert (np.diff(scores) <= 0).all()
        np.testing.assert_allclose(scores, made[rows] @ query, atol=1e-6)
        hits.append(len(set(rows.tolist()) & set(expected)) / len(expected))
    return float(np.mean(hits))


def test_a_search_in_many_finds_nearly_all(few: None, tmp_path: Path) -> None:
    made = _clustered(6000)
    index = VectorIndex(D)
    index.add(made[:5000])
    index = _reopened(index, np.arange(5000), tmp_path / "v")
    assert (tmp_path / "v" / "vectors.lists").exists()
    assert index._lists is not None
    assert index._lists.share < 0.9  # it does not read everything
    index.add(made[5000:])
    rng = np.random.default_rng(2)
    assert _found(index, made, np.ones(6000, bool)) > 0.98
    for share in (0.9, 0.3):
        assert _found(index, made, rng.random(6000) < share) > 0.98
    for share in (0.01, 0.001):  # so few that they are compared one by one
        assert _found(index, made, rng.random(6000) < share) == 1.0


def test_a_search_in_a_part_reads_more_lists(few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippomem.hippocampus.lists.PROBES", 1.5)
    made = _clustered(6000)
    index = VectorIndex(D)
    index.add(made)
    index = _reopened(index, np.arange(6000), tmp_path / "v")
    for share in (1.0, 0.1, 0.05):
        assert _found(index, made, np.random.default_rng(2).random(6000) < share) > 0.97


def test_rows_all_of_which_lie_in_far_lists_are_found(few: None, tmp_path: Path) -> None:
    made = _clustered(5000)
    index = VectorIndex(D)
    index.add(made)
    index = _reopened(index, np.arange(5000), tmp_path / "v")
    query = made[0]
    far = np.zeros(5000, bool)
    far[np.argsort(made @ query)[:1000]] = True
    rows, _ = index.search(query, 1000, far)
    assert set(rows.tolist()) == set(np.nonzero(far)[0].tolist())


def test_lists_are_kept_until_the_rows_have_doubled(few: None, tmp_path: Path) -> None:
    made = _clustered(9000)
    index = VectorIndex(D)
    index.add(made[:2000])
    index = _reopened(index, np.arange(2000), tmp_path / "a")
    trained = index._lists._index  # type: ignore[union-attr]
    centroids = trained.quantizer.reconstruct_n(0, trained.nlist)
    index.add(made[2000:3000])
    rng = np.random.default_rng(3)
    rows = rng.permutation(3000)[:2500]  # some are gone, all have new numbers
    index = _reopened(index, rows, tmp_path / "b")
    kept = index._lists._index  # type: ignore[union-attr]
    np.testing.assert_array_equal(kept.quantizer.reconstruct_n(0, kept.nlist), centroids)
    assert kept.ntotal == 2500
    assert _found(index, made[rows], np.ones(2500, bool)) > 0.98
    index.add(made[3000:])
    index = _reopened(index, np.arange(len(index)), tmp_path / "c")
    assert index._lists._index.nlist == list_count(len(index))  # type: ignore[union-attr]
    assert len(index._lists) == 8500  # type: ignore[arg-type]


def test_lists_do_not_depend_on_the_order(few: None) -> None:
    made = _clustered(3000)
    order = np.random.default_rng(4).permutation(3000)
    lists = [
        InvertedLists.build(lambda rows, x=x: x[rows], np.arange(3000), D)  # type: ignore[misc]
        for x in (made, made[order])
    ]
    alive, alike = np.ones(3000, bool), []
    for query in _clustered(20, 7):
        first, second = (each.search(query, 50, alive) for each in lists)
        alike.append(len(set(first.tolist()) & set(order[second].tolist())) / 50)
    assert np.mean(alike) > 0.98  # sums of floats


@pytest.mark.parametrize("dimension", [1, 7, pytest.param(31, marks=pytest.mark.slow)])
def test_lists_hold_vectors_of_any_dimension(dimension: int, few: None, tmp_path: Path) -> None:
    made = np.random.default_rng(5).standard_normal((2000, dimension)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    index = VectorIndex(dimension)
    index.add(made)
    index = _reopened(index, np.arange(2000), tmp_path / "v")
    rows, scores = index.search(made[0], 20, np.ones(2000, bool))
    assert len(rows) == 20
    np.testing.assert_allclose(scores, made[rows] @ made[0], atol=1e-6)
    np.testing.assert_allclose(scores, np.sort(made @ made[0])[::-1][:20], atol=0.05)


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.zeros(5))
    with pytest.raises(ValueError, match="holds no vectors"):
        VectorIndex.load(tmp_path / "vectors.npy")


@pytest.mark.usefixtures("few")
def test_what_is_saved_in_pieces_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = VectorIndex(D)
    index.add(_clustered(1500))
    rows = np.random.default_rng(2).permutation(1500)[:1200]
    for name in ("whole", "pieces"):
        (tmp_path / name).mkdir()
        index.save(tmp_path / name / "vectors.npy", rows)
        monkeypatch.setattr(module, "CHUNK", 100)
        monkeypatch.setattr(lists, "CHUNK", 100)
    whole, pieces = ({f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("whole", "pieces"))
    assert sorted(whole) == ["vectors.lists", "vectors.npy"]
    assert whole == pieces
