"""What a personalized PageRank costs on a real graph and on bigger ones made of it, by several programs.

All of them get the same seeds: for a passage of the memory, taken as a question, half of the mass on the passages most
like it, the other half on the rarest entities that it names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hippomem import InvalidInputError, Memory
from hippomem.hippocampus.graph import KnowledgeGraph
from hippomem.hippocampus.pagerank import DAMPING, personalized_pagerank
from hippomem.hippocampus.push import EPSILON, Sparse, local_pagerank
from hippomem_eval.environment import describe
from hippomem_eval.linked_copies import Mentions
from hippomem_eval.results import make_folder, write_json

Masses = NDArray[np.float64]
Walk = Callable[[Sparse, Sparse], Masses]  # from seeds to the mass of every passage

ENTITIES = 3  # seeds, the rarest of the passage
TOP = 10
# networkx keeps a dictionary for each edge: beyond this, tens of gigabytes.
MOST_EDGES: Mapping[str, int] = {"networkx": 500_000, "igraph prpack": 10_000_000}


@dataclass(frozen=True, slots=True)
class Options:
    """`passages` seeds on passages, thresholds `epsilons` of the local walk, for `queries` passages as questions."""

    db: Path
    out: Path
    copies: Sequence[int] = (1, 10, 50)
    queries: int = 20
    passages: int = 500
    epsilons: Sequence[float] = (EPSILON,)
    seed: int = 0


def measure_pagerank(options: Options) -> dict[str, Any]:
    """Measure, and write the figures to OUT/pagerank.json: CPU milliseconds a query, and how near the first passages
    are to those of the exact walk with the same seeds. Raises InvalidInputError for a memory without passages.
    """
    mentions, questions = _questions(options)
    make_folder(options.out)
    sizes = [_measure(mentions, questions, copies, options) for copies in options.copies]
    measured = {"db": str(options.db), "damping": DAMPING, "queries": len(questions), "sizes": sizes}
    write_json(options.out / "pagerank.json", {**measured, **describe()})
    return measured


def as_text(measured: Mapping[str, Any]) -> str:
    """A table: a line for each program and size."""
    lines = [f"{'passages':>10} {'edges':>12}  {'program':<24} {'CPU ms':>10} {'of top 10':>10} {'log error':>10}"]
    for size in measured["sizes"]:
        for name, found in size["programs"].items():
            figures = f"{found['cpu_ms']:>10.2f} {found['top_10']:>10.3f} {found['log_error']:>10.3f}"
            lines.append(f"{size['passages']:>10,} {size['edges']:>12,}  {name:<24} {figures}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Question:
    rows: NDArray[np.int64]
    values: NDArray[np.float64]
    own: int  # the row of the passage that is asked for


def _questions(options: Options) -> tuple[Mentions, list[_Question]]:
    rng = np.random.default_rng(options.seed)
    with Memory.open(options.db, namespace="default") as memory:
        mentions = Mentions.of(memory.graph())
        if not len(mentions.rows):
            raise InvalidInputError(f"{options.db} holds no passages that name anything: ingest a corpus first")
        row_of = {id_: row for row, id_ in enumerate(mentions.ids)}
        naming = np.unique(mentions.rows)
        questions = []
        for own in rng.permutation(naming)[: options.queries].tolist():
            passage = memory.get(mentions.ids[own])
            found = memory.recall(passage.text[:500], k=options.passages, method="dense").passages
            cosine = np.array([p.score for p in found])
            spread = float(np.ptp(cosine))
            closeness = ((cosine - cosine.min()) / spread) ** 2 if spread else np.ones(len(cosine))
            rows = np.array([row_of[p.id] for p in found])
            questions.append(_Question(rows, 0.5 * closeness / closeness.sum(), own))
    return mentions, questions


def _measure(mentions: Mentions, questions: Sequence[_Question], copies: int, options: Options) -> dict[str, Any]:
    graph = mentions.copied(copies, options.seed)
    rng = np.random.default_rng(options.seed)
    edges = graph.edge_count()
    walks: dict[str, Walk] = {"exact walk": lambda p, e: _exact(graph, p, e)}
    for epsilon in options.epsilons:
        walks[f"local walk, {epsilon:g}"] = lambda p, e, epsilon=epsilon: _local(graph, p, e, epsilon)  # type: ignore[misc]
    for name, make in (("scipy", _scipy), ("igraph prpack", _igraph), ("networkx", _networkx)):
        if edges <= MOST_EDGES.get(name, edges):
            walks[name] = make(graph)
    costs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in walks}
    for place, question in enumerate(questions):
        copy = int(rng.integers(copies))
        size = len(mentions.ids)
        # What is most like a question comes from all over a bigger corpus.
        rows = question.rows + rng.integers(copies, size=len(question.rows)) * size
        entities = [entity for entity, _ in graph.edges_of(question.own + copy * size)]
        entities.sort(key=lambda entity: (int(graph.frequency[entity]), entity))
        rarest = entities[:ENTITIES]
        seeds = (
            Sparse(rows.astype(np.int32), question.values),
            Sparse(np.array(rarest, np.int32), np.full(len(rarest), 0.5 / len(rarest))),
        )
        exact = walks["exact walk"](*seeds)
        first = _first(exact)
        for name, walk in walks.items():
            if place == 0:
                walk(*seeds)  # what is compiled or cached
            if name == "networkx" and place >= 3:  # it takes seconds
                continue
            began = time.process_time()
            mass = walk(*seeds)
            cost = 1e3 * (time.process_time() - began)
            same = len(set(_first(mass).tolist()) & set(first.tolist())) / len(first)
            error = np.abs(np.log(mass[first] + 1e-8) - np.log(exact[first] + 1e-8)).max()
            costs[name].append((cost, same, float(error)))
    names = ("cpu_ms", "top_10", "log_error")
    programs = {
        name: dict(zip(names, np.median(np.array(rows), axis=0).tolist(), strict=True)) for name, rows in costs.items()
    }
    return {
        "copies": copies,
        "passages": graph.rows,
        "entities": graph.nodes,
        "edges": edges,
        "largest_frequency": int(graph.frequency.max()),
        "programs": programs,
    }


def _first(mass: Masses) -> NDArray[np.int64]:
    size = min(TOP, len(mass))
    return np.argpartition(-mass, size - 1)[:size]


def _dense(seeds: Sparse, size: int) -> NDArray[np.float32]:
    return np.bincount(seeds.nodes, seeds.values, size).astype(np.float32)


def _exact(graph: KnowledgeGraph, passages: Sparse, entities: Sparse) -> Masses:
    mass = personalized_pagerank(graph, _dense(passages, graph.rows), _dense(entities, graph.nodes))
    return mass.astype(np.float64)


def _local(graph: KnowledgeGraph, passages: Sparse, entities: Sparse, epsilon: float) -> Masses:
    found, _ = local_pagerank(graph, passages, entities, epsilon=epsilon)
    mass = np.zeros(graph.rows)  # for the comparison; pages that are not written to cost nothing
    mass[found.nodes] = found.values
    return mass


def _scipy(graph: KnowledgeGraph) -> Walk:
    """Ten power iterations with one CSR matrix over all nodes, float32."""
    from scipy import sparse

    adjacency = _adjacency(graph)
    sums = np.asarray(adjacency.sum(axis=0)).ravel()
    inverse = np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)
    transition = (adjacency @ sparse.diags(inverse)).tocsr().astype(np.float32)

    def walk(passages: Sparse, entities: Sparse) -> Masses:
        start = np.concatenate([_dense(passages, graph.rows), _dense(entities, graph.nodes)])
        x = start
        for _ in range(10):
            x = np.float32(DAMPING) * (transition @ x) + np.float32(1 - DAMPING) * start
        return x[: graph.rows].astype(np.float64)

    return walk


def _igraph(graph: KnowledgeGraph) -> Walk:
    """To the limit, as HippoRAG calls it."""
    import igraph

    ends = np.column_stack([graph.base.row_of_edge(), graph.base.entities + graph.rows])
    network = igraph.Graph(n=graph.rows + graph.nodes, edges=ends, directed=False)
    network.es["weight"] = graph.base.weights.tolist()  # igraph takes numpy's float32 for whole numbers

    def walk(passages: Sparse, entities: Sparse) -> Masses:
        start = np.concatenate([_dense(passages, graph.rows), _dense(entities, graph.nodes)])
        mass = network.personalized_pagerank(
            damping=DAMPING, directed=False, weights="weight", reset=start.tolist(), implementation="prpack"
        )
        return np.array(mass[: graph.rows])

    return walk


def _networkx(graph: KnowledgeGraph) -> Walk:
    import networkx

    network = networkx.from_scipy_sparse_array(_adjacency(graph))

    def walk(passages: Sparse, entities: Sparse) -> Masses:
        start: dict[int, float] = {}
        for seeds, first in ((passages, 0), (entities, graph.rows)):
            for node, value in zip(seeds.nodes.tolist(), seeds.values.tolist(), strict=True):
                start[node + first] = start.get(node + first, 0.0) + value
        mass = networkx.pagerank(network, alpha=DAMPING, personalization=start)
        return np.array([mass[row] for row in range(graph.rows)])

    return walk


def _adjacency(graph: KnowledgeGraph) -> Any:
    from scipy import sparse

    rows, nodes = graph.base.row_of_edge(), graph.base.entities + graph.rows
    size = graph.rows + graph.nodes
    upper = sparse.coo_array((graph.base.weights, (rows, nodes)), (size, size)).tocsr()
    return (upper + upper.T).tocsr()
