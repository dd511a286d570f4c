"""The LangGraph store against InMemoryStore: whatever operations run, both give the same results.

Compared is what is defined. What is not, or what is a fault of InMemoryStore, is kept out here and listed in
connectors/README.md: the order of items without a query, namespaces without items, comparisons with what is no number,
vectors of texts that were overwritten, two equal texts in one batch.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, Op, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from hippomem import Memory
from hippomem.testing import HashEncoder, capitals
from langgraph_hippomem import HippomemStore

ALL = 1000
number = itertools.count()


class Hashes(Embeddings):
    """The vectors that the memory has, for InMemoryStore."""

    encoder = HashEncoder()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [float(x) for x in self.encoder.encode_query(text)]


labels = st.sampled_from(["a", "b", "memories", "x/y", "x", "%", "ö", "A"])
namespaces = st.lists(labels, min_size=1, max_size=3).map(tuple)
prefixes = st.lists(labels, max_size=2).map(tuple)
keys = st.sampled_from(["k", "l", "k/1", "", "%", "K", "langgraph:/a/k"])
words = st.sampled_from(["ada", "bea", "keeps", "bees", "ships", "in", "bergen", "oslo"])
texts = st.lists(words, min_size=1, max_size=5).map(" ".join)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(-2, 2), st.sampled_from(["1", "red", ""]))
values = st.fixed_dictionaries(
    {},
    optional={
        "text": texts,
        "n": scalars,
        "nested": st.dictionaries(st.sampled_from("pq"), scalars, max_size=2),
        "list": st.lists(scalars, max_size=2),
        "notes": st.lists(texts, max_size=2, unique=True),
    },
)
indexes: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.none(), st.just(False), st.sampled_from([["text"], ["missing"], ["notes[*]"], ["text", "notes[0]"]])
)
comparisons = st.dictionaries(
    st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), st.integers(-2, 2), min_size=1, max_size=2
)
filters = st.dictionaries(
    st.sampled_from(["n", "nested", "list", "text"]),
    st.one_of(scalars, comparisons, st.lists(scalars, max_size=2), st.dictionaries(st.just("p"), scalars, max_size=1)),
    max_size=2,
)
conditions = st.tuples(
    st.sampled_from(["prefix", "suffix"]),
    st.lists(st.one_of(labels, st.just("*")), min_size=1, max_size=2).map(tuple),
).map(lambda fields: MatchCondition(*fields))
puts = st.tuples(namespaces, keys, values, indexes).map(lambda fields: PutOp(*fields))
operations: st.SearchStrategy[Op] = st.one_of(
    puts,
    puts,
    st.tuples(namespaces, keys).map(lambda fields: PutOp(*fields, None)),
    st.tuples(namespaces, keys).map(lambda fields: GetOp(*fields)),
    st.tuples(
        prefixes,
        st.one_of(st.none(), filters),
        st.integers(0, 4),
        st.integers(0, 3),
        st.one_of(st.none(), st.just(""), texts),
    ).map(lambda fields: SearchOp(*fields)),
    st.tuples(
        st.one_of(st.none(), st.lists(conditions, max_size=2).map(tuple)),
        st.one_of(st.none(), st.integers(1, 3)),
        st.integers(0, 4),
        st.integers(0, 2),
    ).map(lambda fields: ListNamespacesOp(*fields)),
)
sequences = st.lists(st.lists(operations, min_size=1, max_size=4), min_size=1, max_size=7)


def shown(item: Any) -> tuple[tuple[str, ...], str, str]:
    return item.namespace, item.key, json.dumps(item.value, sort_keys=True)


def is_search(op: Op) -> bool:
    return isinstance(op, SearchOp)


class Pair:
    """Both stores, and when each item was written last."""

    def __init__(self, memory: Memory, method: Literal["graph", "dense"]) -> None:
        self.ours = HippomemStore(memory, fields=["text"], method=method)
        self.theirs = InMemoryStore(index={"dims": 64, "embed": Hashes(), "fields": ["text"]})
        self.method = method
        self.written: dict[tuple[tuple[str, ...], str], int] = {}

    def run(self, ops: Sequence[Op]) -> None:
        try:
            expected = [None if isinstance(op, PutOp) else self.read(op) for op in ops]
        except (TypeError, ValueError):  # it compares what is no number; ours does not
            kept = [op for op in ops if not isinstance(op, SearchOp)]
            for op in ops:
                if isinstance(op, SearchOp):
                    self.ours.batch([op])
            return self.run(kept) if kept else None
        whole = [self.ours.batch([op._replace(limit=ALL, offset=0)])[0] if is_search(op) else None for op in ops]
        found = self.ours.batch(ops)
        assert len(found) == len(ops)
        for op, mine, all_mine, other in zip(ops, found, whole, expected, strict=True):
            if isinstance(op, PutOp):
                assert mine is None
            elif isinstance(op, GetOp):
                assert mine == other or shown(mine) == shown(other)
            elif isinstance(op, ListNamespacesOp):
                assert mine == other
            else:
                self.compare(op, mine, all_mine)
        self.write({(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)})
        return None

    def read(self, op: Op) -> Any:
        for namespace in [n for n, items in self.theirs._data.items() if not items]:
            del self.theirs._data[namespace]  # a get is enough to make one
        return self.theirs.batch([op])[0]

    def compare(self, op: SearchOp, page: Any, mine: Any) -> None:
        """A page is a part of all results, and these are those of the other store."""
        (other,) = self.theirs.batch([op._replace(limit=ALL, offset=0)])
        assert [shown(i) for i in page] == [shown(i) for i in mine[op.offset : op.offset + op.limit]]
        assert [i.score for i in page] == [i.score for i in mine[op.offset : op.offset + op.limit]]
        assert sorted(map(shown, mine)) == sorted(map(shown, other))
        scored = {shown(i): i.score for i in other if i.score is not None}
        assert {shown(i) for i in mine if i.score is not None} == set(scored)
        ranked = [i for i in mine if i.score is not None]
        assert ranked == mine[: len(ranked)]
        assert [i.score for i in ranked] == sorted((i.score for i in ranked), reverse=True)
        if self.method == "dense":
            for item in ranked:
                assert item.score == pytest.approx(scored[shown(item)], abs=2e-3)
        rest = [self.written[i.namespace, i.key] for i in mine[len(ranked) :]]
        assert rest == sorted(rest, reverse=True)

    def write(self, puts: dict[tuple[tuple[str, ...], str], PutOp]) -> None:
        when = next(number)
        for place, op in puts.items():
            self.theirs.batch([PutOp(op.namespace, op.key, None)])
            if op.value is not None:
                self.theirs.batch([op])
            self.written[place] = when


@pytest.fixture(scope="module")
def memory() -> Iterator[Memory]:
    with Memory.open(":memory:", encoder=HashEncoder(), pipeline=capitals()) as memory:
        memory.add("Bea keeps bees in Bergen.")  # what is no item, and never is found as one
        yield memory


def check(memory: Memory, batches: list[list[Op]], method: Literal["graph", "dense"]) -> None:
    if memory.sources("langgraph:/"):
        memory.forget("langgraph:/")
    pair = Pair(memory, method)
    for ops in batches:
        pair.run(ops)
    pair.run([SearchOp((), None, ALL), SearchOp((), None, ALL, 0, "ada keeps bees"), ListNamespacesOp(limit=ALL)])


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@given(sequences, st.sampled_from(["graph", "dense"]))
@settings(max_examples=20, deadline=None, suppress_health_check=QUIET)
def test_a_few_sequences(memory: Memory, batches: list[list[Op]], method: Literal["graph", "dense"]) -> None:
    check(memory, batches, method)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@given(sequences, st.sampled_from(["graph", "dense"]))
@settings(max_examples=2000, deadline=None, suppress_health_check=QUIET)
def test_thousands_of_sequences(memory: Memory, batches: list[list[Op]], method: Literal["graph", "dense"]) -> None:
    check(memory, batches, method)
