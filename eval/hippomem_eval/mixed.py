"""One memory for everything: what earlier runs indexed apart is put into one index and asked for there.

Nothing is encoded anew: the indexes are exported and loaded, with their vectors, into one namespace.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hippomem import InvalidInputError, Memory
from hippomem_eval.conversation_runner import row_of as conversation_row
from hippomem_eval.conversation_systems import TurnMemory
from hippomem_eval.conversations import haystacks_of, load_conversations
from hippomem_eval.datasets import load_dataset
from hippomem_eval.environment import code_hash, settings_hash
from hippomem_eval.files import sha256
from hippomem_eval.index import NAMESPACE
from hippomem_eval.metrics import bootstrap, paired_bootstrap
from hippomem_eval.progress import progress_bar
from hippomem_eval.results import Row, RunFile, load_rows, make_folder, write_json
from hippomem_eval.runner import row_of as passage_row
from hippomem_eval.systems import MemorySystem

RESULTS = "hippomem.jsonl"  # what each run must have


@dataclass(frozen=True, slots=True)
class Run:
    """An earlier run: its folder, its index as run.json describes it and the namespaces there, what it found, with
    which code and settings and among how many, and how its questions are asked again.
    """

    folder: Path
    index: Mapping[str, Any]
    namespaces: tuple[str, ...]
    apart: Mapping[str, Row]
    code: str
    k: int | None
    ask: Callable[[Memory, int], Iterator[Row]]


def load_run(folder: Path) -> Run:
    """Raises InvalidInputError where `folder` holds no finished run of `hippomem` by `multihop` or `conversation`, or
    where its data are others by now.
    """
    ran = RunFile(folder / "run.json").read()
    entry, data, systems = (ran.get(name) or {} for name in ("index", "data", "systems"))
    asked = systems.get("hippomem") or {}
    is_whole = entry and asked and ("questions" in data) == ("questions" in asked)
    if not is_whole or not (folder / RESULTS).exists():
        raise InvalidInputError(f"{folder} holds no run of hippomem by eval multihop or eval conversation")
    if asked.get("openie"):
        raise InvalidInputError(f"{folder} was asked with --openie, whose triples are not in what would be merged")
    apart, _ = load_rows(folder / RESULTS)  # which may be growing
    code, k = str(asked.get("code")), asked.get("k")
    if "questions" in data:
        for name in ("questions", "corpus"):
            _check_same(Path(data[name]["path"]), asked[name], folder)
        return Run(folder, entry, (NAMESPACE,), apart, code, k, lambda memory, k: _passages(memory, k, data, apart))
    _check_same(Path(data["path"]), str(asked["data"]).split()[0], folder)
    plain = "plain" in str(entry["sha256"]).split()
    namespaces = tuple(entry["namespaces"])
    return Run(folder, entry, namespaces, apart, code, k, lambda memory, k: _turns(memory, k, data, plain, apart))


def measure_mixed(
    folders: Sequence[Path], out: Path, *, k: int, seed: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Each run's measures `apart`, as it left them, and `mixed`, in one index of all; `differences` are mixed minus
    apart, question by question. Recalls are fractions from 0 to 1. Reciprocal ranks among so many passages and among
    more are two measures: they are left out where a run was not asked for `k`.

    Raises the errors of `load_run`, and InvalidInputError where `out` holds an index of anything but these runs.
    """
    runs = [load_run(folder) for folder in folders]
    code = code_hash() + settings_hash()
    for run in runs:
        if run.code != code:
            tell(f"{run.folder} was asked with other code or settings, which may be what differs: run it again")
    make_folder(out)
    database = out / "index.db"
    ran = RunFile(out / "run.json")
    merged = [{"folder": str(run.folder.resolve()), "index": run.index} for run in runs]
    if not database.exists():
        ran.update(merged=merged)
        _merge(runs, database)
    elif ran.read().get("merged") == merged:
        tell(f"{database} is used as it is: delete the folder to merge anew")
    else:
        raise InvalidInputError(
            f"{database} was not merged of these runs as they are now: choose another folder, or delete this one"
        )
    sets: dict[str, Any] = {}
    with Memory.open(database, namespace=NAMESPACE) as memory:
        passages = int(memory.stats()["passages"])
        with progress_bar("questions", sum(len(run.apart) for run in runs), 0) as advance:
            for run in runs:
                mixed = {}
                for row in run.ask(memory, k):
                    mixed[row["id"]] = row
                    advance()
                sets[str(run.folder)] = _compared(run.apart, mixed, seed, has_ranks=run.k == k)
    summary = {"passages": passages, "sets": sets}
    write_json(out / "summary.json", summary)
    (out / "summary.md").write_text(as_markdown(summary), encoding="utf-8")
    return summary


def as_markdown(summary: Mapping[str, Any]) -> str:
    """A table in percent."""
    # Not all runs need have been asked for equally many passages.
    names: list[str] = max((list(values["mixed"]) for values in summary["sets"].values()), key=len)
    lines = [
        f"| {summary['passages']:,} passages in one index | {' | '.join(names)} |",
        "|---" * (len(names) + 1) + "|",
    ]
    for folder, values in summary["sets"].items():
        for side in ("apart", "mixed"):
            cells = (f"{100 * values[side][name]['mean']:.1f}" if name in values[side] else "" for name in names)
            lines.append(f"| {folder} ({values['n_questions']:,}) {side} | {' | '.join(cells)} |")
        found = values["differences"]
        cells = (_difference(found[name]) if name in found else "" for name in names)
        lines.append(f"| mixed - apart | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _difference(interval: Mapping[str, float]) -> str:
    return "{:+.1f} [{:.1f}, {:.1f}]".format(*(100 * interval[end] for end in ("mean", "low", "high")))


def _check_same(path: Path, asked: str, folder: Path) -> None:
    if sha256(path) != asked:
        raise InvalidInputError(f"{path} is not what {folder} was asked of, or has changed since: run it again")


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
            # As the run asked it, which may have been with slips.
            asked = replace(question, text=str(apart[question.id]["question"]))
            yield passage_row(asked, system.recall(asked.text, k), {}, dataset.corpus, k)


def _turns(memory: Memory, k: int, data: Mapping[str, Any], plain: bool, apart: Mapping[str, Row]) -> Iterator[Row]:
    (haystack,) = haystacks_of(load_conversations(Path(data["path"])), plain=plain, one_index=True, adversarial=True)
    lines = {turn.id: turn.dated_line for turn in haystack.turns}
    system = TurnMemory(memory)
    for question in haystack.questions:
        if question.id in apart:
            ranking = system.recall(question.text, k)
            named = {p.id: f"{p.title}\n{p.text}" for p in ranking.passages}
            yield conversation_row(question, haystack.evidence[question.id], ranking, {}, named | lines, k)


def _compared(apart: Mapping[str, Row], mixed: Mapping[str, Row], seed: int, *, has_ranks: bool) -> dict[str, Any]:
    both = [id_ for id_ in apart if id_ in mixed]
    if not both:
        raise InvalidInputError("a run's questions are not in its file any more: run it again")
    wanted = ("recall@", "all_gold@", *(["mrr"] if has_ranks else []))
    names = [n for n in mixed[both[0]] if n.startswith(wanted) and n in apart[both[0]]]
    ours = {name: [float(mixed[id_][name]) for id_ in both] for name in names}
    theirs = {name: [float(apart[id_][name]) for id_ in both] for name in names}
    return {
        "n_questions": len(both),
        "apart": {name: asdict(bootstrap(theirs[name], seed=seed)) for name in names},
        "mixed": {name: asdict(bootstrap(ours[name], seed=seed)) for name in names},
        "differences": {name: asdict(paired_bootstrap(ours[name], theirs[name], seed=seed)) for name in names},
    }
