"""The multi-hop benchmark: index a corpus, ask its questions, see at which ranks the gold passages come."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hippomem import InvalidInputError, SourceError
from hippomem.settings import load_settings
from hippomem_eval.ablation import WITHOUT
from hippomem_eval.corpus import Corpus
from hippomem_eval.datasets import Dataset, load_dataset
from hippomem_eval.environment import describe
from hippomem_eval.files import sha256
from hippomem_eval.formats import Question
from hippomem_eval.index import Index, Origin, corpus_file, ensure_index
from hippomem_eval.metrics import scores
from hippomem_eval.misspelling import misspelt
from hippomem_eval.openie import OpenIE, load_openie
from hippomem_eval.progress import progress_bar
from hippomem_eval.ranking import Ranking
from hippomem_eval.results import Row, RunFile, alone_in, open_results
from hippomem_eval.systems import ASKING, RECOGNISING, SYSTEMS, WITH_OPENIE, Bench
from hippomem_eval.timing import timed_recall, warm_up

MOST_UNMATCHED = 0.9  # of what is recalled: more, and it is not the corpus that was searched


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure. Without `corpus` the questions bring their context along; `limit` keeps the first questions.

    `decompositions` is a file of recorded ones, or "musique": those in the questions' file. Without it, what asks a
    chat model asks the configured one (HIPPOMEM_LLM); `recognition` is a recogniser that knows what is gold.
    """

    questions: Path
    corpus: Path | None
    out: Path
    systems: Sequence[str] = ("hippomem",)
    limit: int | None = None
    k: int = 20
    seed: int = 0
    decompositions: str | None = None
    recognition: str | None = None
    openie: Path | None = None
    misspell: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out: for each system one row a question, in the order of the data set.

    `index` is the one that the first system searched.
    """

    dataset: Dataset
    index: Index
    rows: Mapping[str, Sequence[Row]]
    openie: OpenIE | None = None


def run_multihop(options: Options, tell: Callable[[str], None]) -> Measured:
    """Do what is not done yet in `options.out`. `tell` gets remarks for the user.

    An earlier run's answers count where data, settings, encoder and code are the same. Raises the errors of
    `load_dataset` and of the memory, and SourceError where what is recalled is not of the corpus.
    """
    dataset = load_dataset(options.questions, options.corpus, limit=options.limit)
    if options.misspell:
        with_slips = tuple(replace(question, text=misspelt(question.text)) for question in dataset.questions)
        dataset = replace(dataset, questions=with_slips)
    models = {name: _chat_model(name, options, dataset) for name in options.systems if name in ASKING}
    with alone_in(options.out):
        return _measure(options, dataset, models, tell)


def _measure(
    options: Options, dataset: Dataset, models: Mapping[str, tuple[Any, str]], tell: Callable[[str], None]
) -> Measured:
    run = RunFile(options.out / "run.json")
    corpus = corpus_file(options.corpus, dataset.corpus, options.out)
    environment = describe()
    paths = {"questions": options.questions, "corpus": corpus} | ({"openie": options.openie} if options.openie else {})
    data = {name: {"path": str(path), "sha256": sha256(path)} for name, path in paths.items()}
    openie = load_openie(options.openie, dataset.corpus) if options.openie else None
    code = environment["code"] + environment["settings"]
    benches: dict[Path, Bench] = {}

    def bench_of(name: str) -> Bench:
        """Over the index that a system searches, built when first needed."""
        has_triples = name in WITH_OPENIE and name != "hipporag2" and openie is not None
        database = options.out / ("index-openie.db" if has_triples else "index.db")
        if database not in benches:
            made_of, llm = sha256(corpus), None
            if has_triples and options.openie is not None:
                from hippomem_eval.recorded_openie import recorded_extraction

                made_of, llm = f"{made_of} {sha256(options.openie)}", recorded_extraction(options.openie)
            origin = Origin(corpus.resolve(), made_of, code)
            index = ensure_index(database, origin, dataset, run, progress=sys.stderr.isatty(), tell=tell, llm=llm)
            benches[database] = Bench(dataset.corpus, index, openie)
        return benches[database]

    run.update(data=data, limit=options.limit, seed=options.seed, **environment)
    rows = {}
    for name in options.systems:
        bench = bench_of(name)
        same = {
            "questions": data["questions"]["sha256"],
            "corpus": data["corpus"]["sha256"],
            "openie": data["openie"]["sha256"] if openie and name in WITH_OPENIE else None,
            "code": code,
            "encoder": bench.index.encoder,
            "k": options.k,
        }
        if name in ASKING:
            same["model"] = models[name][1]
        if options.misspell:
            same["misspell"] = True
        asked = models[name][0] if name in ASKING else None
        rows[name] = _ask_all(name, dataset, bench, options, run, same, tell, asked)
        _check_matched(name, rows[name], bench.index.database)
    return Measured(dataset, bench_of(options.systems[0]).index, rows, openie)


def _chat_model(name: str, options: Options, dataset: Dataset) -> tuple[Any, str]:
    """What a system asks: a recorded chat model, None for the configured one; and what tells it from others."""
    if name == RECOGNISING and options.recognition is not None:
        from hippomem_eval.recognition import recogniser

        return recogniser(dataset, options.recognition), f"recognition {options.recognition}"
    if options.decompositions is None or name == RECOGNISING:
        llm = load_settings().llm
        if not llm:
            how = "--recognition" if name == RECOGNISING else "--decompositions"
            raise InvalidInputError(f"{name} asks a chat model: set HIPPOMEM_LLM, or give recorded answers with {how}")
        return None, str(llm)
    from hippomem_eval.recorded import RecordedChatModel, load_decompositions

    path = options.questions if options.decompositions == "musique" else Path(options.decompositions)
    return RecordedChatModel(recorded=load_decompositions(path)), f"recorded {sha256(path)}"


def _ask_all(
    name: str,
    dataset: Dataset,
    bench: Bench,
    options: Options,
    run: RunFile,
    same: Mapping[str, Any],
    tell: Callable[[str], None],
    model: Any,
) -> list[Row]:
    with open_results(run, name, same, tell) as results:
        results.drop({id_ for id_, row in results.rows.items() if _unanswered(row)})
        todo = [question for question in dataset.questions if question.id not in results.rows]
        done = len(dataset.questions) - len(todo)
        if done:
            tell(f"{done} of {len(dataset.questions)} questions are in {name}.jsonl already")
        if todo:
            # Each system opens its own: in a memory that another one has asked, the questions' vectors are cached.
            encoder = bench.remembering if name in WITHOUT else None
            with bench.index.open(llm=model, encoder=encoder) as memory:
                system = SYSTEMS[name](memory, bench)
                is_free = model is not None or name not in ASKING
                if is_free:
                    warm_up(system, options.k)
                with progress_bar(name, len(dataset.questions), done) as advance:
                    for question in todo:
                        ranking, costs = timed_recall(
                            system, question.text, options.k, twice=is_free and name not in WITHOUT
                        )
                        results.append(row_of(question, ranking, costs, dataset.corpus, options.k))
                        advance()
        return [results.rows[question.id] for question in dataset.questions]


def _unanswered(row: Row) -> bool:
    """Whether the chat model was out of reach, so that the row is a plain recall's."""
    return bool(row.get("warnings")) and not row["model"]["calls"]


def _check_matched(name: str, rows: Sequence[Row], database: Path) -> None:
    recalled, unmatched = sum(len(row["ranked"]) for row in rows), sum(row["unmatched"] for row in rows)
    if unmatched > MOST_UNMATCHED * recalled:
        raise SourceError(
            f"{unmatched:,} of the {recalled:,} passages that {name} recalled are not in the corpus, so {database} is "
            "not of it: delete the folder, or choose another one"
        )


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
        **scores(ranks, k),
        **(
            {"model": asdict(ranking.usage), "warnings": ranking.warnings}
            if ranking.usage.calls or ranking.warnings
            else {}
        ),
        **costs,
    }
