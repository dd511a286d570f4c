"""From the parts to the whole: learn which passage answers each sub-question, then ask the questions made of them.

Of every other question the sub-questions are learned, with the answers to earlier ones filled in and the passage that
answers each as the useful one. Then all are asked: those whose parts were learned, and those of which nothing was.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hippomem import InvalidInputError, Memory
from hippomem_eval.configured import configured_encoder
from hippomem_eval.corpus import Corpus
from hippomem_eval.datasets import Dataset, load_dataset
from hippomem_eval.environment import describe
from hippomem_eval.feedback_protocol import CUTOFF, copied, removed
from hippomem_eval.feedback_report import gain
from hippomem_eval.files import read_json, sha256
from hippomem_eval.formats import Gold
from hippomem_eval.index import NAMESPACE, Origin, corpus_file, ensure_index
from hippomem_eval.metrics import recall_at
from hippomem_eval.progress import progress_bar
from hippomem_eval.remembering import Remembering
from hippomem_eval.results import Row, RunFile, make_folder, write_json

QUESTIONS = "composed-questions.json"
_REFERENCE = re.compile(r"#(\d+)")


@dataclass(frozen=True, slots=True)
class Lesson:
    """A sub-question as it is asked, and the places of the passages that answer it."""

    question: str
    useful: frozenset[int]


def run_composed(
    questions: Path,
    corpus: Path | None,
    out: Path,
    *,
    limit: int | None,
    seed: int,
    tell: Callable[[str], None],
    pooled: Sequence[Path] = (),
) -> dict[str, Any]:
    """The summary: gains over the plain recall, as fractions, with 95 % intervals over questions. Those of earlier runs
    in the folders `pooled` are counted in.

    Raises InvalidInputError where the questions have no decomposition in MuSiQue's format, NotFoundError where a folder
    holds no earlier run.
    """
    before = [row for folder in pooled for row in read_json(folder / QUESTIONS)]
    dataset = load_dataset(questions, corpus, limit=limit)
    lessons = lessons_of(read_json(questions), dataset.corpus)
    known = [question for question in dataset.questions if question.text in lessons]
    if not known:
        raise InvalidInputError(f"{questions} has no question_decomposition with supporting paragraphs: give MuSiQue's")
    make_folder(out)
    path = corpus_file(corpus, dataset.corpus, out)
    environment = describe()
    origin = Origin(path.resolve(), sha256(path), environment["code"] + environment["settings"])
    run = RunFile(out / "run.json")
    index = ensure_index(out / "index.db", origin, dataset, run, progress=sys.stderr.isatty(), tell=tell)
    encoder = Remembering(configured_encoder())
    taught = copied(index.database, out / "taught.db")
    rows: list[Row] = []
    with (
        progress_bar("questions", 3 * len(known)) as advance,
        Memory.open(taught, namespace=NAMESPACE, encoder=encoder) as memory,
    ):
        places = {p.id: dataset.corpus.places_of(p.title, p.text) for p in memory.passages()}
        plain = {q.text: _recall(memory, dataset, q.text, q.gold, places, advance, learned=False) for q in known}
        for question in known[::2]:
            for lesson in lessons[question.text]:
                useful = [id_ for id_, own in places.items() if own & lesson.useful]
                if useful:
                    memory.feedback(lesson.question, useful=useful)
            advance()
        for place, question in enumerate(known):
            found = _recall(memory, dataset, question.text, question.gold, places, advance, learned=True)
            row = {"id": question.id, "conversation": question.id, "taught": place % 2 == 0}
            rows.append(row | {"hippomem": found, "plain": plain[question.text]})
    removed(taught)
    write_json(out / QUESTIONS, rows)
    rows = [*rows, *before]
    own = [row for row in rows if row["taught"]]
    others = [row for row in rows if not row["taught"]]
    summary = {
        f"gain@{CUTOFF}": gain(own, "hippomem", "plain", seed),
        f"unseen@{CUTOFF}": gain(others, "hippomem", "plain", seed),
        f"plain@{CUTOFF}": {name: _mean(some) for name, some in (("taught", own), ("unseen", others)) if some},
        "questions": {"taught": len(own), "unseen": len(others)},
        "lessons": sum(len(lessons[question.text]) for question in known[::2]),
        "seed": seed,
        "data": str(questions),
        "pooled": [str(folder) for folder in pooled],
    }
    write_json(out / "composed.json", summary)
    return summary


def as_markdown(summary: Mapping[str, Any]) -> str:
    """A table in points."""
    lines = [f"| questions | recall@{CUTOFF} without feedback, % | gain, points [95 %] |", "|---|---|---|"]
    for name, told, key in (("taught", "whose parts were learned", "gain"), ("unseen", "others", "unseen")):
        value = summary[f"{key}@{CUTOFF}"]
        bounds = f"{100 * value['mean']:+.1f} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"
        before = summary[f"plain@{CUTOFF}"].get(name, 0.0)
        lines.append(f"| {told} ({summary['questions'][name]:,}) | {100 * before:.1f} | {bounds} |")
    return "\n".join(lines) + f"\n\n{summary['lessons']:,} sub-questions learned here.\n"


def lessons_of(data: Any, corpus: Corpus) -> dict[str, list[Lesson]]:
    """Question -> its parts with their passages; records that do not have them are passed over."""
    found: dict[str, list[Lesson]] = {}
    for record in data if isinstance(data, list) else [data]:
        parts = record.get("question_decomposition") if isinstance(record, Mapping) else None
        paragraphs = record.get("paragraphs") if isinstance(record, Mapping) else None
        if not isinstance(parts, list) or not isinstance(paragraphs, list):
            continue
        own = _lessons(parts, paragraphs, corpus)
        if own:
            found[str(record["question"]).strip()] = own
    return found


def _lessons(parts: Sequence[Any], paragraphs: Sequence[Any], corpus: Corpus) -> list[Lesson]:
    answers = [str(part.get("answer", "")) for part in parts]
    by_place = {paragraph.get("idx", n): paragraph for n, paragraph in enumerate(paragraphs)}
    lessons = []
    for part in parts:
        paragraph = by_place.get(part.get("paragraph_support_idx"))
        if not paragraph:
            continue
        gold = Gold(str(paragraph["title"]), str(paragraph.get("paragraph_text", paragraph.get("text", ""))))

        def filled(match: re.Match[str]) -> str:
            number = int(match[1]) - 1
            return answers[number] if number < len(answers) else match[0]

        places = corpus.gold_places(gold)
        if places:
            lessons.append(Lesson(_REFERENCE.sub(filled, str(part["question"])), places))
    return lessons


def _recall(
    memory: Memory,
    dataset: Dataset,
    question: str,
    gold: frozenset[Gold],
    places: Mapping[str, frozenset[int]],
    advance: Callable[[], None],
    *,
    learned: bool,
) -> float:
    found = [places[p.id] for p in memory.recall(question, k=CUTOFF, learned=learned).passages]
    wanted = [dataset.corpus.gold_places(one) for one in gold]
    ranks = [next((n for n, own in enumerate(found, 1) if own & want), None) for want in wanted if want]
    advance()
    return recall_at(ranks, CUTOFF) if ranks else 0.0


def _mean(rows: Sequence[Row]) -> float:
    return sum(float(row["plain"]) for row in rows) / len(rows)
