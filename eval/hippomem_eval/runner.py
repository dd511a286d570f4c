"""The multi-hop benchmark: index a corpus, ask its questions, see at which ranks the gold passages come."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hippomem_eval.corpus import Corpus
from hippomem_eval.datasets import Dataset, load_dataset, write_corpus
from hippomem_eval.environment import describe
from hippomem_eval.files import sha256
from hippomem_eval.formats import Question
from hippomem_eval.index import Index, Origin, ensure_index
from hippomem_eval.metrics import all_gold_at, recall_at, reciprocal_rank
from hippomem_eval.progress import progress_bar
from hippomem_eval.results import Results, Row, RunFile, make_folder
from hippomem_eval.systems import SYSTEMS, Ranking
from hippomem_eval.timing import timed_recall, warm_up

CUTOFFS = (1, 2, 5, 10, 20)
ALL_GOLD_CUTOFF = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure. Without `corpus` the questions bring their context along; `limit` keeps the first questions."""

    questions: Path
    corpus: Path | None
    out: Path
    systems: Sequence[str] = ("hippomem",)
    limit: int | None = None
    k: int = 10
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out: for each system one row a question, in the order of the data set."""

    dataset: Dataset
    index: Index
    rows: Mapping[str, Sequence[Row]]


def run_multihop(options: Options, tell: Callable[[str], None]) -> Measured:
    """Do what is not done yet in `options.out`. `tell` gets remarks for the user.

    An earlier run's answers count where data, settings, encoder and code are the same. Raises the errors of
    `load_dataset` and of the memory.
    """
    dataset = load_dataset(options.questions, options.corpus, limit=options.limit)
    make_folder(options.out)
    run = RunFile(options.out / "run.json")
    corpus = options.corpus or options.out / "corpus.json"
    if options.corpus is None:
        write_corpus(dataset.corpus, corpus)
    environment = describe()
    data = {
        "questions": {"path": str(options.questions), "sha256": sha256(options.questions)},
        "corpus": {"path": str(corpus), "sha256": sha256(corpus)},
    }
    origin = Origin(corpus.resolve(), data["corpus"]["sha256"], environment["code"] + environment["settings"])
    index = ensure_index(options.out / "index.db", origin, run, progress=sys.stderr.isatty(), tell=tell)
    same = {
        "questions": data["questions"]["sha256"],
        "corpus": origin.corpus_hash,
        "code": origin.code,
        "encoder": index.encoder,
        "k": options.k,
    }
    run.update(data=data, limit=options.limit, seed=options.seed, **environment)
    rows = {name: _ask_all(name, dataset, index, options, run, same, tell) for name in options.systems}
    return Measured(dataset, index, rows)


def _ask_all(
    name: str,
    dataset: Dataset,
    index: Index,
    options: Options,
    run: RunFile,
    same: Mapping[str, Any],
    tell: Callable[[str], None],
) -> list[Row]:
    earlier = run.read().get("systems", {})
    keep = earlier.get(name) == same
    path = options.out / f"{name}.jsonl"
    if name in earlier and not keep:
        tell(f"{path} came from other data, settings or code: starting over")
    with Results(path, keep=keep) as results:
        # After the file was emptied: in the other order, an interruption would pass off the old rows as new ones.
        run.update(systems=earlier | {name: same})
        todo = [question for question in dataset.questions if question.id not in results.rows]
        done = len(dataset.questions) - len(todo)
        if done:
            tell(f"{done} of {len(dataset.questions)} questions are in {path} already")
        if todo:
            # Each system opens its own: in a memory that another one has asked, the questions' vectors are cached.
            with index.open() as memory, progress_bar(name, len(dataset.questions), done) as advance:
                system = SYSTEMS[name](memory, dataset.corpus)
                warm_up(system, options.k)
                for question in todo:
                    ranking, costs = timed_recall(system, question.text, options.k)
                    results.append(row_of(question, ranking, costs, dataset.corpus, options.k))
                    advance()
        return [results.rows[question.id] for question in dataset.questions]


def row_of(question: Question, ranking: Ranking, costs: Mapping[str, float], corpus: Corpus, k: int) -> Row:
    """One question's line: what was wanted, what came, the measures. Cutoffs beyond `k` say nothing: left out."""
    found = [corpus.places_of(passage.title, passage.text) for passage in ranking.passages]
    ordered = sorted(question.gold, key=lambda gold: (gold.title, gold.text or ""))
    # A data set may name one passage twice, by variants of its text.
    wanted = {corpus.gold_places(gold): gold for gold in ordered}
    ranks = [next((rank for rank, at in enumerate(found, 1) if at & places), None) for places in wanted]
    return {
        "id": question.id,
        "question": question.text,
        "gold": [gold.title for gold in wanted.values()],
        "gold_ranks": ranks,
        "ranked": [{"id": p.id, "title": p.title, "score": p.score} for p in ranking.passages],
        "unmatched": sum(not places for places in found),
        **{f"recall@{cutoff}": recall_at(ranks, cutoff) for cutoff in CUTOFFS if cutoff <= k},
        **({f"all_gold@{ALL_GOLD_CUTOFF}": all_gold_at(ranks, ALL_GOLD_CUTOFF)} if k >= ALL_GOLD_CUTOFF else {}),
        "mrr": reciprocal_rank(ranks),
        **costs,
    }
