"""Personalized PageRank against networkx and scipy."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from exact_walk import masses
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from hippomem.hippocampus.graph import KnowledgeGraph, edge_weight
from hippomem.hippocampus.pagerank import personalized_pagerank

Passages = list[dict[str, int]]

graphs = st.lists(
    st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from([1, 2, 3, 7, -(1 << 63) + 1]), min_size=1, max_size=5),
    min_size=2,
    max_size=12,
)


def _graph(passages: Passages) -> KnowledgeGraph:
    graph = KnowledgeGraph()
    graph.append((own, {}) for own in passages)
    return graph


def _oracle(passages: Passages) -> nx.Graph:
    graph = nx.Graph()
    for row, own in enumerate(passages):
        for key, mask in own.items():
            graph.add_edge(("p", row), ("e", key), weight=edge_weight(mask))
    return graph


@settings(max_examples=40, deadline=None)
@given(graphs, st.sampled_from([0.5, 0.7, 0.85]))
def test_long_walks_equal_networkx(passages: Passages, damping: float) -> None:
    graph, oracle = _graph(passages), _oracle(passages)
    seeds = np.zeros(graph.rows, np.float32)
    seeds[0] = 1.0
    rows, entities = masses(graph, seeds, np.zeros(graph.nodes, np.float32), damping, 200)
    expected = nx.pagerank(oracle, alpha=damping, personalization={("p", 0): 1.0}, tol=1e-12, max_iter=1000)
    for row in range(graph.rows):
        assert rows[row] == pytest.approx(expected[("p", row)], abs=1e-5)
    for node in range(graph.nodes):
        assert entities[node] == pytest.approx(expected[("e", graph.keys.key(node))], abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(graphs, st.integers(0, 6))
def test_every_iteration_equals_the_matrix_product(passages: Passages, iterations: int) -> None:
    graph = _graph(passages)
    size = graph.rows + graph.nodes
    adjacency = np.zeros((size, size))
    for row in range(graph.rows):
        for node, mask in graph.edges_of(row):
            adjacency[row, graph.rows + node] = adjacency[graph.rows + node, row] = edge_weight(mask)
    transition = sparse.csr_matrix(adjacency / adjacency.sum(axis=0))
    seed = np.random.default_rng(0).random(size)
    seed /= seed.sum()
    expected = seed.copy()
    for _ in range(iterations):
        expected = 0.7 * (transition @ expected) + 0.3 * seed
    rows, nodes = masses(
        graph, seed[: graph.rows].astype(np.float32), seed[graph.rows :].astype(np.float32), 0.7, iterations
    )
    np.testing.assert_allclose(np.concatenate([rows, nodes]), expected, atol=2e-6)


@settings(max_examples=40, deadline=None)
@given(graphs, st.data())
def test_what_is_removed_passes_nothing_on(passages: Passages, data: st.DataObject) -> None:
    gone = data.draw(st.sets(st.integers(0, len(passages) - 1), max_size=len(passages) - 1))
    kept = [row for row in range(len(passages)) if row not in gone]
    graph = _graph(passages)
    graph.remove(gone)
    fresh = _graph([passages[row] for row in kept])
    seeds = np.zeros(graph.rows, np.float32)
    seeds[kept[0]] = 1.0
    rows = personalized_pagerank(graph, seeds, np.zeros(graph.nodes, np.float32))
    few = np.zeros(fresh.rows, np.float32)
    few[0] = 1.0
    expected = personalized_pagerank(fresh, few, np.zeros(fresh.nodes, np.float32))
    np.testing.assert_allclose(rows[kept], expected, atol=1e-6)


def test_mass_is_kept() -> None:
    graph = _graph([{"a": 1, "b": 3}, {"b": 1, "c": 1}, {"a": 7}])
    rows, nodes = masses(graph, np.array([1, 0, 0], np.float32), np.zeros(graph.nodes, np.float32))
    assert rows.sum() + nodes.sum() == pytest.approx(1.0, abs=1e-6)
