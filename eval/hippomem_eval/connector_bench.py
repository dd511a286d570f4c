"""What a connector adds to a recall: the CPU time of a call through it, less what `Memory.recall` took inside of it,
less what the framework takes for itself, as a retriever, tool, store or server of it shows that does nothing.

Each question is asked through every connector, in turn and in an order that changes, after it was asked once to warm
up; so all have the same question, the same memory, and its vector at hand. `overhead` is what was added, over what the
recall took, question by question; its median has a bootstrap interval.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hippomem import Memory
from hippomem.testing import capitals
from hippomem_eval.encoder_bench import median_interval
from hippomem_eval.environment import describe
from hippomem_eval.results import make_folder, write_json
from hippomem_eval.synthetic import SyntheticCorpus
from hippomem_eval.synthetic_encoder import SyntheticEncoder

Ask = Callable[[str], object]


@dataclass
class _Timed:
    """A memory whose recalls are timed."""

    memory: Memory
    seconds: float = 0.0

    def __post_init__(self) -> None:
        recall = self.memory.recall

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            try:
                return recall(*args, **kwargs)
            finally:
                self.seconds += time.process_time() - began

        self.memory.recall = timed  # type: ignore[method-assign]


def measure_connectors(out: Path | None, *, passages: int = 2000, questions: int = 200, k: int = 5) -> dict[str, Any]:
    """Ask questions of a made-up memory through each connector, and write OUT/connectors.json.

    Milliseconds of CPU. Raises MissingDependencyError where a connector's package is not installed.
    """
    from hippomem_eval.connector_nothing import empty_ways

    if out is not None:
        make_folder(out)
    corpus = SyntheticCorpus(passages)
    asked = [question.text for question in corpus.questions(questions)]
    records = list(corpus.records())
    with _opened() as plain, _opened() as items:
        plain.ingest(records)
        _fill(items, records)
        timed = {id(memory): _Timed(memory) for memory in (plain, items)}
        ways = _ways(plain, items, k)
        empty = empty_ways()
        spent: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
        rng = np.random.default_rng(0)
        for question in asked:
            for memory in (plain, items):
                memory.recall(question, k)
            for name in rng.permutation(list(ways)):
                memory, ask = ways[name]
                clock = timed[id(memory)]
                clock.seconds = 0.0
                total = _seconds(ask, question)
                spent[name].append((total, clock.seconds, _seconds(empty[name], question) if name in empty else 0.0))
    measured = {"passages": passages, "questions": len(asked), "k": k, "connectors": _figures(spent), **describe()}
    if out is not None:
        write_json(out / "connectors.json", measured)
    return measured


def _seconds(ask: Ask, question: str) -> float:
    began = time.process_time()
    ask(question)
    return time.process_time() - began


def _figures(spent: dict[str, list[tuple[float, float, float]]]) -> dict[str, Any]:
    figures = {}
    for name, taken in spent.items():
        total, inside, framework = np.array(taken).T
        figures[name] = {
            "recall_ms": 1e3 * float(np.median(inside)),
            "framework_ms": 1e3 * float(np.median(framework)),
            "added_ms": 1e3 * float(np.median(total - inside - framework)),
            "overhead": median_interval((total - inside - framework) / inside),
            "with_framework": median_interval((total - inside) / inside),
        }
    return figures


def _opened() -> Memory:
    return Memory.open(":memory:", encoder=SyntheticEncoder(), pipeline=capitals())


def _fill(memory: Memory, records: list[dict[str, str]]) -> None:
    """The same texts as items of a LangGraph store, and a quarter of them as mem0's memories."""
    from langgraph.store.base import PutOp

    from langgraph_hippomem import HippomemStore
    from mem0_hippomem import Memory as Mem0

    store, mem0 = HippomemStore(memory), Mem0(memory)
    numbered = iter(enumerate(records))
    while some := list(islice(numbered, 200)):
        store.batch([PutOp(("notes", f"user{i % 7}"), str(i), {"text": record["text"]}) for i, record in some])
    for record in records[::4]:
        mem0.add(record["text"], user_id="user")


def _ways(plain: Memory, items: Memory, k: int) -> dict[str, tuple[Memory, Ask]]:
    """The connectors, each as a memory and a function that asks it."""
    from llama_index.core.schema import QueryBundle

    from hippomem_eval.connector_nothing import over_mcp
    from hippomem_mcp import create_server
    from hippomem_tools import Toolbox
    from langchain_hippomem import HippomemRetriever as LangChain
    from langchain_hippomem import memory_tools
    from langgraph_hippomem import HippomemStore
    from llama_index_hippomem import HippomemRetriever as LlamaIndex
    from mem0_hippomem import Memory as Mem0

    box, retriever, nodes = Toolbox(plain, k=k), LangChain(memory=plain, k=k), LlamaIndex(plain, k=k)
    (tool,) = memory_tools(box, ["recall"])
    store, mem0, server = HippomemStore(items), Mem0(items), create_server(plain, k=k)
    return {
        "hippomem_tools": (plain, lambda q: box.call("recall", {"query": q})),
        "langchain_hippomem retriever": (plain, retriever.invoke),
        "langchain_hippomem tool": (plain, lambda q: tool.invoke({"query": q})),
        "langgraph_hippomem": (items, lambda q: store.search(("notes",), query=q, limit=k)),
        "llama_index_hippomem": (plain, lambda q: nodes.retrieve(QueryBundle(q))),
        "mem0_hippomem": (items, lambda q: mem0.search(q, user_id="user", top_k=k)),
        "hippomem_mcp, with a client": (plain, over_mcp(server)),
    }


def as_text(measured: dict[str, Any]) -> str:
    """A table with a line a connector."""
    lines = [
        f"{measured['questions']} questions, {measured['passages']:,} passages, k={measured['k']}; CPU, medians",
        "| | recall, ms | framework, ms | added, ms | added, share of the recall | and framework |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in measured["connectors"].items():
        shares = (
            f"{s['median']:.1%} [{s['low']:.1%}, {s['high']:.1%}]" for s in (one["overhead"], one["with_framework"])
        )
        times = (f"{one[name]:.2f}" for name in ("recall_ms", "framework_ms", "added_ms"))
        lines.append(f"| {' | '.join([name, *times, *shares])} |")
    return "\n".join(lines) + "\n"
