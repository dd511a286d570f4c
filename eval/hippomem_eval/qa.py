"""Answers: how often `Memory.ask` with a chat model gives what a data set holds for right.

Exact match and F1 as in SQuAD (Rajpurkar et al., arXiv 1606.05250): lower case, without punctuation and articles, the
best over the answer and its aliases.
"""

from __future__ import annotations

import re
import string
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hippomem import HippomemError, InvalidInputError
from hippomem.neocortex.reader import without_citations
from hippomem.settings import load_settings
from hippomem_eval.datasets import Dataset, load_dataset
from hippomem_eval.environment import describe
from hippomem_eval.files import sha256
from hippomem_eval.index import Origin, corpus_file, ensure_index
from hippomem_eval.metrics import bootstrap
from hippomem_eval.progress import progress_bar
from hippomem_eval.results import Row, RunFile, alone_in, open_results, write_json

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
MEASURES = ("em", "f1", "in_memory", "cited", "cited_gold")


@dataclass(frozen=True, slots=True, kw_only=True)
class QaOptions:
    """What to ask, and how: `llm` as for `Memory.open`, None for the configured one."""

    questions: Path
    corpus: Path | None
    out: Path
    limit: int | None = None
    k: int = 5
    seed: int = 0
    decompose: bool = False
    iterative: bool = False
    llm: Any = None


def normalised(answer: str) -> str:
    """SQuAD's: lower case, no punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """1 where the answer is one of those accepted, normalised; no answer is none of them, which may be "A"."""
    return float(bool(answer) and any(normalised(answer) == normalised(one) for one in accepted))


def f1(answer: str, accepted: Sequence[str]) -> float:
    """The best harmonic mean of precision and recall of words over those accepted."""
    pairs = ((normalised(answer).split(), normalised(one).split()) for one in accepted if answer)
    return max((_f1(said, right) for said, right in pairs), default=0.0)


def _f1(said: list[str], right: list[str]) -> float:
    if not said or not right:
        return float(said == right)
    common = sum((Counter(said) & Counter(right)).values())
    return 2 * common / (len(said) + len(right))


def run_qa(options: QaOptions, tell: Callable[[str], None]) -> dict[str, Any]:
    """Ask what is not asked yet, and write OUT/qa.jsonl and OUT/qa.json. Returns the summary.

    Raises InvalidInputError where no chat model is set, no question says what is right, or the data are OUT/qa.json;
    and the errors of `load_dataset`, `open_results` and the memory. A question that the model does not answer counts as
    wrong, with its error in its line, and is asked again by the next run; one that says nothing of what is right is
    left out and counted.
    """
    figures = options.out / "qa.json"
    if figures.resolve() in [path.resolve() for path in (options.questions, options.corpus) if path]:
        raise InvalidInputError(f"{figures} is where the figures go: choose another folder for them than the data's")
    loaded = load_dataset(options.questions, options.corpus, limit=options.limit)
    dataset = replace(loaded, questions=tuple(question for question in loaded.questions if any(question.answers)))
    if not dataset.questions:
        raise InvalidInputError(f"the questions in {options.questions} say nothing of what the right answers are")
    llm = options.llm if options.llm is not None else load_settings().llm
    if not llm:
        raise InvalidInputError("qa asks a chat model, and none is set: give --llm or set HIPPOMEM_LLM")
    with alone_in(options.out):
        summary = _measure(options, dataset, llm if isinstance(llm, str) else type(llm).__name__, tell)
        summary["without_answer"] = len(loaded.questions) - len(dataset.questions)
        write_json(figures, summary)
        return summary


def _measure(options: QaOptions, dataset: Dataset, model: str, tell: Callable[[str], None]) -> dict[str, Any]:
    run = RunFile(options.out / "run.json")
    corpus = corpus_file(options.corpus, dataset.corpus, options.out)
    environment = describe()
    code = environment["code"] + environment["settings"]
    origin = Origin(corpus.resolve(), sha256(corpus), code)
    index = ensure_index(options.out / "index.db", origin, dataset, run, progress=sys.stderr.isatty(), tell=tell)
    same = {
        "questions": sha256(options.questions),
        "corpus": sha256(corpus),
        "code": code,
        "encoder": index.encoder,
        "model": model,
        "options": [options.k, options.decompose, options.iterative],
    }
    run.update(limit=options.limit, seed=options.seed, **environment)
    with open_results(run, "qa", same, tell) as results, index.open(llm=options.llm) as memory:
        results.drop({id_ for id_, row in results.rows.items() if "error" in row})
        todo = [question for question in dataset.questions if question.id not in results.rows]
        with progress_bar("qa", len(dataset.questions), len(dataset.questions) - len(todo)) as advance:
            for question in todo:
                gold = set().union(*(dataset.corpus.gold_places(gold) for gold in question.gold))
                row: dict[str, Any] = {"id": question.id, "question": question.text, "accepted": question.answers}
                try:
                    answer = memory.ask(
                        question.text,
                        options.k,
                        decompose=options.decompose,
                        iterative=options.iterative,
                        style="phrase",
                    )
                except HippomemError as error:
                    row |= {"answer": "", "error": str(error), **dict.fromkeys(MEASURES, 0.0)}
                else:
                    said = without_citations(answer.text) if answer.is_in_memory else ""
                    by_id = {p.id: p for p in answer.recall.passages}
                    cited = [by_id[citation.passage_id] for citation in answer.citations]
                    is_gold = [bool(dataset.corpus.places_of(p.title, p.text) & gold) for p in cited]
                    row |= {
                        "answer": said,
                        "em": exact_match(said, question.answers),
                        "f1": f1(said, question.answers),
                        "in_memory": float(answer.is_in_memory),
                        "cited": float(bool(cited)),
                        "cited_gold": sum(is_gold) / len(is_gold) if is_gold else 0.0,
                        "flags": answer.flags,
                        "warnings": answer.recall.warnings,
                        "usage": asdict(answer.usage),
                    }
                results.append(row)
                advance()
        rows = [results.rows[question.id] for question in dataset.questions]
    return summarise(rows, options, model)


def summarise(rows: Sequence[Row], options: QaOptions, model: str) -> dict[str, Any]:
    """Means with 95 % bootstrap intervals, and what it took."""
    measures = {
        name: asdict(bootstrap(np.array([float(row[name]) for row in rows]), seed=options.seed)) for name in MEASURES
    }
    used = [row.get("usage", {}) for row in rows]
    return {
        "n_questions": len(rows),
        "model": model,
        "k": options.k,
        **measures,
        "failed": sum("error" in row for row in rows),
        "usage": {name: sum(u.get(name, 0) for u in used) for name in ("calls", "input_tokens", "output_tokens")},
    }


def as_text(summary: Mapping[str, Any]) -> str:
    """For people: a line a measure, in percent."""
    lines = [f"{summary['n_questions']} questions, {summary['model']}, {summary['k']} passages each"]
    names = {"em": "exact match", "f1": "F1", "in_memory": "answered", "cited": "cited", "cited_gold": "cited is gold"}
    for name, shown in names.items():
        one = summary[name]
        lines.append(f"{shown:14} {100 * one['mean']:5.1f}  [{100 * one['low']:.1f}, {100 * one['high']:.1f}]")
    used = summary["usage"]
    lines.append(f"{used['calls']:,} calls, {used['input_tokens']:,} tokens in, {used['output_tokens']:,} out")
    counted = {"calls failed": summary["failed"], "questions left out: without an answer": summary["without_answer"]}
    lines += [f"{count} {what}" for what, count in counted.items() if count]
    return "\n".join(lines) + "\n"
