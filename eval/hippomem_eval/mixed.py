"""One memory for everything: what earlier runs indexed apart is put into one index and asked for there.

Nothing is encoded anew: the indexes are exported and loaded, with their vectors, into one namespace.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hippomem import InvalidInputError, Memory
from hippomem_eval.conversation_runner import row_of as conversation_row
from hippomem_eval.conversation_systems import TurnMemory
from hippomem_eval.conversations import haystacks_of, load_conversations
from hippomem_eval.datasets import load_dataset
from hippomem_eval.index import NAMESPACE
from hippomem_eval.metrics import bootstrap, paired_bootstrap
from hippomem_eval.progress import progress_bar
from hippomem_eval.results import Results, Row, RunFile, make_folder, write_json
from hippomem_eval.runner import row_of as passage_row
from hippomem_eval.systems import MemorySystem

RESULTS = "hippomem.jsonl"  # what each run must have


@dataclass(frozen=True, slots=True)
class Run:
    """An earlier run: its folder, the namespaces of its index, what it found, and how its questions are asked again."""

    folder: Path
    namespaces: tuple[str, ...]
    apart: Mapping[str, Row]
    ask: Callable[[Memory, int], Iterator[Row]]


def load_run(folder: Path) -> Run:
    """Raises InvalidInputError where `folder` holds no finished run of `hippomem` by `multihop` or `conversation`."""
    ran = RunFile(folder / "run.json").read() if folder.is_dir() else {}
    entry, data = ran.get("index"), ran.get("data")
    if not isinstance(entry, dict) or not isinstance(data, dict) or not (folder / RESULTS).exists():
        raise InvalidInputError(f"{folder} holds no run of hippomem by eval multihop or eval conversation")
    with Results(folder / RESULTS, keep=True) as results:
        apart = dict(results.rows)
    if "questions" in data:
        return Run(folder, (NAMESPACE,), apart, lambda memory, k: _passages(memory, k, data, apart))
    plain = "plain" in str(entry["sha256"]).split()
    return Run(folder, tuple(entry["namespaces"]), apart, lambda memory, k: _turns(memory, k, data, plain, apart))


def measure_mixed(
    folders: Sequence[Path], out: Path, *, k: int, seed: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Each run's measures `apart`, as it left them, and `mixed`, in one index of all; `differences` are mixed minus
    apart, question by question. Recalls are fractions from 0 to 1.
    """
    runs = [load_run(folder) for folder in folders]
    make_folder(out)
    database = out / "index.db"
    if database.exists():
        tell(f"{database} is used as it is: delete the folder to merge anew")
    else:
        _merge(runs, database)
    sets: dict[str, Any] = {}
    with Memory.open(database, namespace=NAMESPACE) as memory:
        passages = int(memory.stats()["passages"])
        with progress_bar("questions", sum(len(run.apart) for run in runs), 0) as advance:
            for run in runs:
                mixed = {}
                for row in run.ask(memory, k):
                    mixed[row["id"]] = row
                    advance()
                sets[str(run.folder)] = _compared(run.apart, mixed, seed)
    summary = {"passages": passages, "sets": sets}
    write_json(out / "summary.json", summary)
    (out / "summary.md").write_text(as_markdown(summary), encoding="utf-8")
    return summary


def as_markdown(summary: Mapping[str, Any]) -> str:
    """A table in percent."""
    names = list(next(iter(summary["sets"].values()))["mixed"])
    lines = [
        f"| {summary['passages']:,} passages in one index | {' | '.join(names)} |",
        "|---" * (len(names) + 1) + "|",
    ]
    for folder, values in summary["sets"].items():
        for side in ("apart", "mixed"):
            cells = " | ".join(f"{100 * values[side][name]['mean']:.1f}" for name in names)
            lines.append(f"| {folder} ({values['n_questions']:,}) {side} | {cells} |")
        cells = " | ".join(
            "{:+.1f} [{:.1f}, {:.1f}]".format(
                *(100 * values["differences"][name][end] for end in ("mean", "low", "high"))
            )
            for name in names
        )
        lines.append(f"| mixed - apart | {cells} |")
    return "\n".join(lines) + "\n"


def _merge(runs: Sequence[Run], database: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="mixed-", dir=database.parent) as work:
        for run in runs:
            for namespace in run.namespaces:
                dump = Path(work) / "dump.jsonl"
                with Memory.open(run.folder / "index.db", namespace=namespace) as memory:
                    memory.export(dump)
                Memory.load(dump, Path(work) / "merged.db", namespace=NAMESPACE).close()
        # Under its name only when it is whole; the views are made anew.
        (Path(work) / "merged.db").replace(database)


def _passages(memory: Memory, k: int, data: Mapping[str, Any], apart: Mapping[str, Row]) -> Iterator[Row]:
    corpus = Path(data["corpus"]["path"]) if "corpus" in data else None
    dataset = load_dataset(Path(data["questions"]["path"]), corpus, limit=None)
    system = MemorySystem(memory, "graph")
    for question in dataset.questions:
        if question.id in apart:
            yield passage_row(question, system.recall(question.text, k), {}, dataset.corpus, k)


def _turns(memory: Memory, k: int, data: Mapping[str, Any], plain: bool, apart: Mapping[str, Row]) -> Iterator[Row]:
    (haystack,) = haystacks_of(load_conversations(Path(data["path"])), plain=plain, one_index=True, adversarial=True)
    lines = {turn.id: turn.dated_line for turn in haystack.turns}
    system = TurnMemory(memory)
    for question in haystack.questions:
        if question.id in apart:
            ranking = system.recall(question.text, k)
            named = {p.id: f"{p.title}\n{p.text}" for p in ranking.passages}
            yield conversation_row(question, haystack.evidence[question.id], ranking, {}, named | lines, k)


def _compared(apart: Mapping[str, Row], mixed: Mapping[str, Row], seed: int) -> dict[str, Any]:
    both = [id_ for id_ in apart if id_ in mixed]
    if not both:
        raise InvalidInputError("a run's questions are not in its file any more: run it again")
    names = [
        n for n in mixed[both[0]] if (n.startswith(("recall@", "all_gold@")) or n == "mrr") and n in apart[both[0]]
    ]
    ours = {name: [float(mixed[id_][name]) for id_ in both] for name in names}
    theirs = {name: [float(apart[id_][name]) for id_ in both] for name in names}
    return {
        "n_questions": len(both),
        "apart": {name: asdict(bootstrap(theirs[name], seed=seed)) for name in names},
        "mixed": {name: asdict(bootstrap(ours[name], seed=seed)) for name in names},
        "differences": {name: asdict(paired_bootstrap(ours[name], theirs[name], seed=seed)) for name in names},
    }
