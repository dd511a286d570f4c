"""The demo: notes about an invented town, and questions that no single note answers.

Each question is asked twice, of the graph and of the sentence encoder alone (dense search), so that one sees what the
graph is for. The notes are packaged as `hippomem_demo`; in the repository they lie in examples/brackwater.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hippomem.cli_output import beginning, screen, styled, visible
from hippomem.errors import NotFoundError
from hippomem.types import IngestReport, Recall, RecalledPassage

if TYPE_CHECKING:
    from hippomem.memory import Memory

QUESTIONS = (
    "What profession did the child who rang the handbell in the Great Fog later follow?",
    "For what feat is the first librarian of Whitlock Library celebrated?",
    "How did the head of the firm that supplied the lens of Gannet Point Light meet his end?",
)
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its answer, the file names of the notes that hold it, and what both ways to search found."""

    question: str
    answer: str
    gold: tuple[str, ...]
    graph: Recall
    dense: Recall


@dataclass(frozen=True, slots=True)
class Demo:
    """All that the demo did. `seconds` is the whole of it, loading the models included."""

    report: IngestReport
    asked: tuple[Asked, ...]
    seconds: float


def demo_folder() -> Path:
    """The folder with `notes` and `questions.json`. Raises NotFoundError where the demo is not installed."""
    # Not importlib.resources: it refuses packages without __init__.py that are installed for editing.
    spec = importlib.util.find_spec("hippomem_demo")
    places = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    places.append(Path(__file__).resolve().parents[1] / "examples" / "brackwater")
    for place in places:
        if (place / "questions.json").is_file():
            return place
    raise NotFoundError("the demo notes are not installed: reinstall hippomem, or run it from the repository")


def run_demo(db: str | None = None, *, namespace: str | None = None, progress: bool = False) -> Demo:
    """Ingest the notes, into a temporary memory unless `db` is given, and ask QUESTIONS. Raises what Memory raises."""
    started = time.monotonic()
    folder = demo_folder()
    known = {item["question"]: item for item in json.loads((folder / "questions.json").read_text("utf-8"))}
    with _memory(db, namespace) as memory:
        report = memory.ingest(folder / "notes", progress=progress)
        memory.recall("Where is Brackwater?")  # the first one waits for the models
        asked = tuple(
            Asked(
                question=question,
                answer=known[question]["answer"],
                gold=tuple(known[question]["notes"]),
                graph=memory.recall(question, SHOWN),
                dense=memory.recall(question, SHOWN, method="dense"),
            )
            for question in QUESTIONS
        )
    return Demo(report, asked, time.monotonic() - started)


def demo_json(demo: Demo) -> dict[str, Any]:
    """The demo for programs: passages by title and note, best first, `gold` where they hold the answer."""
    return {
        "documents": demo.report.documents + demo.report.skipped,
        "passages": demo.report.passages,
        "entities": demo.report.entities,
        "facts": demo.report.facts,
        "seconds": demo.seconds,
        "questions": [
            {
                "question": asked.question,
                "answer": asked.answer,
                "gold": asked.gold,
                **{name: _found(asked, recall) for name, recall in (("graph", asked.graph), ("dense", asked.dense))},
            }
            for asked in demo.asked
        ],
    }


def print_demo(demo: Demo) -> None:
    """The demo for people: both rankings side by side, the notes that hold the answer marked, the path in words."""
    from rich.table import Table

    console = screen()
    report = demo.report
    counts = f"{report.documents + report.skipped} notes: {report.entities} entities, {report.facts} facts"
    console.print(styled(("Brackwater", "bold"), f", {counts}. A ● marks a note that holds a part of the answer."))
    for asked in demo.asked:
        console.print()
        console.print(styled((asked.question, "bold")))
        table = Table(expand=console.is_terminal, pad_edge=False)
        table.add_column("with the graph", ratio=1)
        table.add_column("dense search alone", ratio=1)
        for place in range(max(len(asked.graph.passages), len(asked.dense.passages))):
            table.add_row(*(_cell(asked, recall, place) for recall in (asked.graph, asked.dense)))
        console.print(table)
        _print_answer(asked)
    console.print()
    console.print(styled((f"Done in {demo.seconds:.0f} s. Next: hippomem ingest your-notes/", "dim")))


def _print_answer(asked: Asked) -> None:
    console = screen()
    paths = {path.passage_id: path for path in asked.graph.paths}
    last = next((p for p in asked.graph.passages if _note(p) == asked.gold[-1]), None)
    if last is not None:
        if last.id in paths:
            console.print(styled(("path    ", "dim"), visible(paths[last.id].text)))
        console.print(styled(("note    ", "dim"), beginning(last)))
    console.print(styled(("answer  ", "dim"), (visible(asked.answer), "green")))
    graph, dense = (recall.timings["total"] - recall.timings["encode"] for recall in (asked.graph, asked.dense))
    # The question is encoded once, for the first search; the second finds its vector in the memory's cache.
    encoding = asked.graph.timings["encode"]
    times = f"encoding the question {encoding:.0f} ms, then {graph:.0f} ms with the graph, {dense:.0f} ms dense"
    console.print(styled(("time    ", "dim"), times))


def _cell(asked: Asked, recall: Recall, place: int) -> Any:
    if place >= len(recall.passages):
        return ""
    passage = recall.passages[place]
    name = f"{place + 1}. {visible(passage.title)}"
    return styled((f"● {name}", "bold green") if _note(passage) in asked.gold else f"  {name}")


def _found(asked: Asked, recall: Recall) -> dict[str, Any]:
    return {
        "passages": [
            {"title": p.title, "note": _note(p), "gold": _note(p) in asked.gold, "score": p.score}
            for p in recall.passages
        ],
        "paths": recall.paths,
        "timings_ms": recall.timings,
    }


def _note(passage: RecalledPassage) -> str:
    return Path(passage.source).name


@contextmanager
def _memory(db: str | None, namespace: str | None) -> Iterator[Memory]:
    from hippomem.memory import Memory

    with (
        tempfile.TemporaryDirectory(prefix="hippomem-demo-") as folder,
        Memory.open(db or Path(folder, "demo.db"), namespace=namespace) as memory,
    ):
        yield memory
