"""The local walk against the exact one, networkx and scipy, on graphs that grew, shrank and were reopened."""

from __future__ import annotations

import threading
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from exact_walk import masses
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from scipy import sparse

from hippomem.hippocampus.edges import EDGE_FIELDS, SUM_FIELDS, Edges, Sums, strengthened
from hippomem.hippocampus.grams import GramIndex
from hippomem.hippocampus.graph import KnowledgeGraph, edge_weight
from hippomem.hippocampus.names import KeyTable
from hippomem.hippocampus.pagerank import personalized_pagerank
from hippomem.hippocampus.push import Sparse, local_pagerank

KEYS = [f"key {letter}" for letter in "abcdefghijkl"]
MASKS = [1, 2, 3, 7, -(1 << 63) + 1]
extracted = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(MASKS), max_size=5)
grams = st.dictionaries(st.sampled_from(KEYS), st.sampled_from([2, 4, 6]), max_size=3)
passages = st.tuples(extracted, grams)


def _reopened(graph: KnowledgeGraph, folder: Path) -> KnowledgeGraph:
    """As a snapshot writes it and reads it."""
    live = np.nonzero(graph.alive)[0]
    parts = dict(graph.compact(live))
    _, blocks = graph.compact_grams(live)
    columns = (np.concatenate(column) for column in zip(*blocks, strict=True))
    parts["grams"] = dict(zip(("hashes", "rows", "lines"), columns, strict=True))

    def read(part: str, name: str) -> np.ndarray:
        np.save(folder / "array.npy", parts[part][name])
        array = np.asarray(np.load(folder / "array.npy", mmap_mode="c" if part == "sums" else "r"))
        (folder / "array.npy").unlink()
        return array

    return KnowledgeGraph(
        Edges(**{name: read("edges", name) for name in EDGE_FIELDS}),
        KeyTable(**{name: read("keys", name) for name in parts["keys"]}),  # type: ignore[arg-type]
        GramIndex(**{name: read("grams", name) for name in parts["grams"]}),  # type: ignore[arg-type]
        Sums(**{name: read("sums", name) for name in SUM_FIELDS}),
    )


def _dense(seeds: Sparse, size: int) -> np.ndarray:
    return np.bincount(seeds.nodes, seeds.values, size).astype(np.float32)


def _equal(graph: KnowledgeGraph, rows: Sparse, nodes: Sparse, iterations: int = 5, epsilon: float = 0.0) -> None:
    """At epsilon 0 the local walk is the exact one, on all that is there."""
    exact = masses(graph, _dense(rows, graph.rows), _dense(nodes, graph.nodes), iterations=iterations)
    local = local_pagerank(graph, rows, nodes, iterations=iterations, epsilon=epsilon)
    for expected, found, there in zip(exact, local, (graph.alive, graph.frequency > 0), strict=True):
        assert there[found.nodes].all()
        assert (np.diff(found.nodes) > 0).all()
        values = np.zeros(len(expected))
        values[found.nodes] = found.values
        np.testing.assert_allclose(values[there], expected[there], atol=2e-6)


def _seeds(graph: KnowledgeGraph, seed: int) -> tuple[Sparse, Sparse]:
    rng = np.random.default_rng(seed)
    found = []
    for there in (np.nonzero(graph.alive)[0], np.nonzero(graph.frequency)[0]):
        some = rng.permutation(there)[: rng.integers(0, 4)].astype(np.int32)
        found.append(Sparse(some, rng.random(len(some))))
    total = sum(seeds.values.sum() for seeds in found) or 1.0
    return Sparse(found[0].nodes, found[0].values / total), Sparse(found[1].nodes, found[1].values / total)


class Changes(RuleBasedStateMachine):
    """Passages come, go and are saved; after each the local walk equals the exact one, and the sums are right."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = KnowledgeGraph()
        self.turn = 0

    @rule(batch=st.lists(passages, min_size=1, max_size=6))
    def append(self, batch: list[tuple[dict[str, int], dict[str, int]]]) -> None:
        self.graph.append(batch)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.graph.rows:
            self.graph.remove(data.draw(st.sets(st.integers(0, self.graph.rows - 1), max_size=3)))

    @rule()
    def save_and_reopen(self) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            self.graph = _reopened(self.graph, Path(folder))

    @invariant()
    def walks_are_equal(self) -> None:
        self.turn += 1
        _equal(self.graph, *_seeds(self.graph, self.turn), iterations=self.turn % 7)

    @invariant()
    def sums_are_those_of_the_edges(self) -> None:
        weights = np.zeros(self.graph.nodes)
        for row in range(self.graph.rows):
            edges = self.graph.edges_of(row) if self.graph.alive[row] else []
            for node, mask in edges:
                weights[node] += edge_weight(mask)
            own = sum(edge_weight(mask) for _, mask in edges)
            assert self.graph.passage_weight[row] == pytest.approx(own, abs=1e-5)
        np.testing.assert_allclose(self.graph.entity_weight, weights, atol=1e-5)


Changes.TestCase.settings = settings(max_examples=15, stateful_step_count=10, deadline=None)
TestChanges = Changes.TestCase


def _hubs(seed: int, rows: int = 400, nodes: int = 300) -> KnowledgeGraph:
    """Entities of all sizes, the first in half of the passages; a passage without any; a fifth in the log."""
    rng = np.random.default_rng(seed)
    graph = KnowledgeGraph()
    made = []
    for _ in range(rows):
        own = {f"node {int(nodes * u**3)}": int(rng.choice(MASKS)) for u in rng.random(8)}
        if rng.random() < 0.5:
            own["node hub"] = 1
        made.append((own, {f"node {int(rng.integers(nodes))}": 2}))
    made[7] = ({}, {})
    graph.append(made[: rows * 4 // 5])
    graph.remove([1, 2, 3, 50])
    return graph if seed % 2 else _grown(graph, made[rows * 4 // 5 :])


def _grown(graph: KnowledgeGraph, made: list[tuple[dict[str, int], dict[str, int]]]) -> KnowledgeGraph:
    for passage in made:
        graph.append([passage])
    return graph


def _oracle(graph: KnowledgeGraph) -> nx.Graph:
    oracle = nx.Graph()
    for row in np.nonzero(graph.alive)[0]:
        for node, mask in graph.edges_of(int(row)):
            oracle.add_edge(("p", int(row)), ("e", node), weight=edge_weight(mask))
    return oracle


@pytest.mark.parametrize("seed", range(4))
def test_a_long_walk_equals_networkx(seed: int, tmp_path: Path) -> None:
    graph = _reopened(_hubs(seed), tmp_path) if seed > 1 else _hubs(seed)
    rows, nodes = Sparse.of({10: 0.5, 20: 0.25}), Sparse.of({3: 0.25})
    found_rows, found_nodes = local_pagerank(graph, rows, nodes, 0.7, 200, 0.0)
    wanted = {("p", 10): 0.5, ("p", 20): 0.25, ("e", 3): 0.25}
    expected = nx.pagerank(_oracle(graph), alpha=0.7, personalization=wanted, tol=1e-13, max_iter=1000)
    for kind, found in (("p", found_rows), ("e", found_nodes)):
        for node, value in zip(found.nodes.tolist(), found.values.tolist(), strict=True):
            assert value == pytest.approx(expected[kind, node], abs=1e-8)
        assert sum(found.values) == pytest.approx(sum(v for (k, _), v in expected.items() if k == kind), abs=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_every_step_equals_the_matrix_product_in_double_precision(seed: int) -> None:
    graph = _hubs(seed)
    size = graph.rows + graph.nodes
    edges = [
        (int(row), graph.rows + node, edge_weight(mask))
        for row in np.nonzero(graph.alive)[0]
        for node, mask in graph.edges_of(int(row))
    ]
    ends = np.array([(a, b) for a, b, _ in edges])
    upper = sparse.coo_matrix(([w for _, _, w in edges], (ends[:, 0], ends[:, 1])), (size, size)).tocsr()
    adjacency = upper + upper.T
    sums = np.asarray(adjacency.sum(axis=0)).ravel()
    transition = adjacency @ sparse.diags(np.divide(1, sums, out=np.zeros(size), where=sums > 0))
    rows, nodes = _seeds(graph, seed)
    start = np.concatenate([_dense(rows, graph.rows), _dense(nodes, graph.nodes)]).astype(np.float64)
    expected = start
    for iterations in range(6):
        found = local_pagerank(graph, rows, nodes, 0.7, iterations, 0.0)
        values = np.zeros(size)
        values[found[0].nodes] = found[0].values
        values[found[1].nodes + graph.rows] = found[1].values
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-9)  # weights of the graph are float32
        expected = 0.7 * (transition @ expected) + 0.3 * start


@pytest.mark.parametrize("epsilon", [1e-6, 1e-4, 1e-2])
def test_little_is_lost_and_nothing_invented(epsilon: float) -> None:
    graph = _hubs(0)
    rows, nodes = Sparse.of({10: 0.5, 20: 0.25}), Sparse.of({3: 0.25})
    exact = local_pagerank(graph, rows, nodes, epsilon=0.0)
    local = local_pagerank(graph, rows, nodes, epsilon=epsilon)
    for whole, part in zip(exact, local, strict=True):
        values = np.zeros(1 + whole.nodes.max())
        values[whole.nodes] = whole.values
        assert (part.values <= values[part.nodes] * (1 + 1e-12)).all()
        assert set(part.nodes) <= set(whole.nodes)
    # A passage loses at most epsilon over an edge of weight 1 for each step and edge that leads to it.
    weights = graph.passage_weight
    values = np.zeros(graph.rows)
    values[local[0].nodes] = local[0].values
    error = np.zeros(graph.rows)
    error[exact[0].nodes] = exact[0].values
    assert (np.abs(error - values) <= 5 * 5 * epsilon * np.maximum(weights, 1.0)).all()


def test_a_hub_costs_nothing_where_little_arrives_and_is_felt_all_the_same() -> None:
    graph = KnowledgeGraph()
    graph.append(({"hub": 1, f"own {n}": 1}, {}) for n in range(5000))
    hub = graph.find("hub")
    assert hub is not None
    rows, _ = local_pagerank(graph, Sparse.of({7: 1.0, 8: 0.0}), Sparse.of({}), epsilon=1e-4)
    exact = personalized_pagerank(graph, np.eye(1, 5000, 7, dtype=np.float32)[0], np.zeros(graph.nodes, np.float32))
    assert rows.nodes.tolist() == [7, 8]
    assert rows.values[0] == pytest.approx(exact[7], rel=1e-3)
    assert 0.5 * exact[8] < rows.values[1] <= exact[8]  # through the hub, which passed nothing on
    everywhere, _ = local_pagerank(graph, Sparse.of({}), Sparse.of({hub: 1.0}), epsilon=1e-4)
    assert len(everywhere.nodes) == 5000


def test_the_order_of_seeds_and_of_passages_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    made = [({f"node {int(40 * u**2)}": 1 for u in rng.random(5)}, {}) for _ in range(200)]
    order = rng.permutation(200)
    first, second = KnowledgeGraph(), KnowledgeGraph()
    first.append(made)
    second.append(made[i] for i in order)
    seeds = {int(row): float(value) for row, value in zip(rng.permutation(200)[:50], rng.random(50) / 50, strict=True)}
    place = {int(row): place for place, row in enumerate(order)}
    moved = {place[row]: value for row, value in reversed(seeds.items())}
    ours, _ = local_pagerank(first, Sparse.of(seeds), Sparse.of({}), epsilon=1e-5)
    theirs, _ = local_pagerank(second, Sparse.of(moved), Sparse.of({}), epsilon=1e-5)
    assert {place[int(row)] for row in ours.nodes} == set(theirs.nodes.tolist())
    expected = np.zeros(200)
    expected[theirs.nodes] = theirs.values
    np.testing.assert_allclose(ours.values, expected[[place[int(row)] for row in ours.nodes]], rtol=1e-12)


def test_seeds_given_twice_add_up_and_nothing_is_left_behind() -> None:
    graph = _hubs(1)
    once = local_pagerank(graph, Sparse.of({10: 0.6, 20: 0.0}), Sparse.of({3: 0.4}), epsilon=1e-5)
    for _ in range(3):
        twice = local_pagerank(
            graph,
            Sparse(np.array([10, 20, 10, 10], np.int32), np.array([0.2, 0.0, 0.3, 0.1])),
            Sparse(np.array([3, 3], np.int32), np.array([0.4, 0.0])),
            epsilon=1e-5,
        )
        for one, other in zip(once, twice, strict=True):
            assert one.nodes.tolist() == other.nodes.tolist()
            np.testing.assert_allclose(one.values, other.values, rtol=1e-12)
    (work,) = graph.idle
    for own in work:
        assert not any(array.any() for array in own[:3])


@given(st.lists(st.tuples(st.sampled_from(MASKS), st.booleans(), st.floats(1, 2)), max_size=6))
def test_what_use_gives_an_edge_the_others_of_the_extractor_s_lose(edges: list[tuple[int, bool, float]]) -> None:
    weights, primary = [edge_weight(mask) for mask, *_ in edges], [own for _, own, _ in edges]
    found = np.array(strengthened(weights, primary, [strength for *_, strength in edges]))
    own, before = np.array(primary, bool), np.array(weights)
    assert found[~own].tolist() == before[~own].tolist()
    assert found[own].sum() == pytest.approx(before[own].sum())
    share = found[own] / before[own] / [strength for _, is_own, strength in edges if is_own]
    assert share.tolist() == pytest.approx([share[:1].sum()] * len(share))
    assert strengthened(weights, primary, None) == weights


def test_nothing_in_nothing_out() -> None:
    rows, nodes = local_pagerank(KnowledgeGraph(), Sparse.of({}), Sparse.of({}))
    assert len(rows.nodes) == len(nodes.nodes) == 0


def test_walks_at_once_do_not_disturb_each_other() -> None:
    graphs = [_hubs(0), _hubs(1)]
    seeds = [Sparse.of({row: 1.0}) for row in (10, 20, 30, 40)]
    none = Sparse.of({})
    expected = [[local_pagerank(graph, seed, none)[0].values for seed in seeds] for graph in graphs]
    wrong: list[int] = []

    def walk(which: int) -> None:
        graph, seed = graphs[which % 2], seeds[which % 4]
        for _ in range(50):
            found = local_pagerank(graph, seed, none)[0].values
            if not np.array_equal(found, expected[which % 2][which % 4]):
                wrong.append(which)

    threads = [threading.Thread(target=walk, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@settings(max_examples=30, deadline=None)
@given(st.lists(passages, min_size=1, max_size=10), st.integers(0, 100))
def test_one_by_one_equals_at_once(made: list[tuple[dict[str, int], dict[str, int]]], seed: int) -> None:
    slow = _grown(KnowledgeGraph(), made)
    _equal(slow, *_seeds(slow, seed))
