"""From rows to figures, without a memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from hippomem_eval.corpus import Corpus
from hippomem_eval.datasets import Dataset
from hippomem_eval.formats import Gold, Question, Record
from hippomem_eval.index import Index
from hippomem_eval.report import as_markdown, contract, summarise
from hippomem_eval.runner import Measured, Options, row_of
from hippomem_eval.systems import Found, Ranking

CORPUS = Corpus((Record("A", "Text of A."), Record("B", "Text of B."), Record("C", "Text of C.")))
QUESTION = Question("q", "Who?", (), frozenset({Gold("A"), Gold("B", "Text of B.")}))
COSTS = {"ms": 2.0, "cpu_ms": 1.0, "encode_ms": 5.0}


def ranking(*titles: str) -> Ranking:
    return Ranking(tuple(Found(f"id-{title}", title, f"Text of {title}.", 1.0) for title in titles))


def row(*titles: str, k: int = 20) -> dict[str, Any]:
    return dict(row_of(QUESTION, ranking(*titles), COSTS, CORPUS, k))


def summary(rows: dict[str, list[dict[str, Any]]], **changes: Any) -> dict[str, Any]:
    counts = {"passages": 3, "entities": 2, "facts": 1, "edges": 4}
    index = Index(Path("index.db"), counts, {"total": 1.5}, 1000, "encoder", 0, False, False)
    options = Options(questions=Path("q.json"), corpus=None, out=Path("out"), misspell=changes.pop("misspell", False))
    measured = Measured(Dataset((QUESTION,), CORPUS, **changes), index, rows)
    return summarise(measured, options)


def test_a_row_by_hand() -> None:
    line = row("C", "A", "X", "B")
    assert (line["gold"], line["gold_ranks"]) == (["A", "B"], [2, 4])
    assert [line[f"recall@{k}"] for k in (1, 2, 5, 10, 20)] == [0.0, 0.5, 1.0, 1.0, 1.0]
    assert (line["all_gold@5"], line["mrr"], line["unmatched"]) == (1.0, 0.5, 1)
    assert line["ranked"][1] == {"id": "id-A", "title": "A", "score": 1.0}
    assert {name: line[name] for name in COSTS} == COSTS


def test_nothing_recalled_is_nothing_found() -> None:
    line = row()
    assert (line["gold_ranks"], line["recall@20"], line["mrr"]) == ([None, None], 0.0, 0.0)


def test_cutoffs_beyond_k_are_left_out() -> None:
    assert [name for name in row("A", "B", k=4) if "@" in name] == ["recall@1", "recall@2"]


def test_gold_that_is_named_twice_counts_once() -> None:
    question = Question("q", "Who?", (), frozenset({Gold("A"), Gold("A", "Text of A."), Gold("B")}))
    assert row_of(question, ranking("A"), COSTS, CORPUS, 20)["recall@1"] == 0.5


def test_that_the_questions_had_slips_is_told() -> None:
    rows = {"hippomem": [row("A")]}
    assert "--misspell" in as_markdown(summary(rows, misspell=True))
    assert "--misspell" not in as_markdown(summary(rows))


def test_the_contract_of_json() -> None:
    printed = contract(summary({"hippomem": [row("A", "B"), row("C", "A")]}))
    spread = {"mean", "p50", "p95"}
    assert set(printed) == {"n_questions", "systems", "index", "differences"}
    assert printed["n_questions"] == 2
    values = printed["systems"]["hippomem"]
    assert {name: value for name, value in values.items() if isinstance(value, float)} == {
        "recall@1": 0.25,
        "recall@2": 0.75,
        "recall@5": 0.75,
        "recall@10": 0.75,
        "recall@20": 0.75,
        "all_gold@5": 0.5,
        "mrr": 0.75,
    }
    assert {name for name in values if not isinstance(values[name], float)} == set(COSTS)
    assert all(set(values[cost]) == spread for cost in COSTS)
    assert set(printed["index"]) == {"passages", "entities", "facts", "edges", "seconds", "bytes"}


def test_differences_are_paired_with_the_first_system() -> None:
    rows = {"hippomem": [row("A", "B"), row("B", "A")], "dense": [row("A", "C"), row("C", "B")]}
    rows["bm25"] = rows["hippomem"]
    told = contract(summary(rows))["differences"]
    assert [(v["a"], v["b"]) for v in told] == [("hippomem", "dense")] * 7 + [("hippomem", "bm25")] * 7
    (difference,) = [v for v in told if (v["b"], v["measure"]) == ("dense", "recall@2")]
    assert {name: difference[name] for name in ("mean", "low", "high")} == {"mean": 0.5, "low": 0.5, "high": 0.5}
    assert all(v["mean"] == 0 for v in told if v["b"] == "bm25")


def test_the_table_has_a_cell_for_each_head() -> None:
    text = as_markdown(summary({"hippomem": [row("A", "B")], "dense": [row("C")]}))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 5
    assert len({line.count("|") for line in table}) == 1
    assert "| hippomem | 50.0 | 100.0 |" in text


def test_what_was_left_out_is_told() -> None:
    text = as_markdown(summary({"hippomem": [row("A", "X")]}, unanswerable=3, missing_gold=2))
    assert "3 questions left out as unanswerable" in text
    assert "2 gold passages" in text
    assert "1 recalled passages that are not in the corpus" in text
    assert not math.isnan(summary({"hippomem": [row()]})["systems"]["hippomem"]["mrr"])
