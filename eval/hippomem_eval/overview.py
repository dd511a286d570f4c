"""Several runs in one table and one picture, and what they rest on: of every question the ranks of its gold.

A run is a folder of results, or one file that this has made of such a folder, small enough to be published: its first
line says what was measured, each further one has a question's id and, by system, the ranks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hippomem import InvalidInputError, MissingDependencyError, NotFoundError, SourceError
from hippomem_eval import plots
from hippomem_eval.metrics import Ranks, bootstrap, paired_bootstrap, recall_at, reciprocal_rank
from hippomem_eval.results import RunFile, load_rows, make_folder, write_text

CUTOFFS = (1, 2, 5, 10)
COMPARED = 5  # the cutoff of the differences and of the picture
_ASKED = ("k", "limit", "seed", "encoder", "plain", "one_index", "misspell", "decompositions", "recognition")


@dataclass(frozen=True, slots=True)
class Run:
    """What systems found of the same questions: `ranks` by system and question, both in the order of the run."""

    name: str
    head: Mapping[str, Any]
    ranks: Mapping[str, Mapping[str, Ranks]]

    @property
    def questions(self) -> list[str]:
        """The ids of the questions."""
        return list(next(iter(self.ranks.values())))


def load_run(path: Path) -> Run:
    """Read a folder of results, or a file that `as_lines` made. Its name without the ending is the run's.

    Raises NotFoundError where there is none, SourceError where it is none or is not whole.
    """
    try:
        if path.is_dir():
            return _of_folder(path)
        return _of_file(path)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no {error.filename}: give folders of `hippomem eval`'s --out") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SourceError(f"{path} is no run of `hippomem eval multihop` or `conversation`") from None


def as_lines(run: Run) -> str:
    """The run as a file to publish, without a word of the questions or passages."""
    lines: list[Mapping[str, Any]] = [{**run.head, "systems": list(run.ranks)}]
    lines += [{"id": id_, **{system: asked[id_] for system, asked in run.ranks.items()}} for id_ in run.questions]
    return "".join(json.dumps(line) + "\n" for line in lines)


def overview(runs: Sequence[Run], *, seed: int = 0) -> dict[str, Any]:
    """Recalls as fractions from 0 to 1 with 95 % bootstrap intervals, and the first system minus each other at 5.

    Raises InvalidInputError where two runs have one name.
    """
    names = [run.name for run in runs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidInputError(f"two runs are called {', '.join(sorted(twice))}: rename a folder")
    return {"runs": [_figures(run, seed) for run in runs]}


def as_markdown(result: Mapping[str, Any]) -> str:
    """A row for each system of each run, in percent."""
    heads = [f"recall@{cutoff}" for cutoff in CUTOFFS]
    lines = [f"| questions / searched | system | {' | '.join(heads)} | mrr | first - this at {COMPARED} [95 %] |"]
    lines.append("|---|---|" + "---:|" * (len(heads) + 2))
    for run in result["runs"]:
        differences = {entry["b"]: entry for entry in run["differences"]}
        title = f"{run['name']} ({run['n_questions']:,}) / {run['searched']:,}"
        for place, (system, values) in enumerate(run["systems"].items()):
            cells = [f"{100 * values[name]['mean']:.1f}" for name in (*heads, "mrr")]
            apart = differences.get(system)
            cells.append("" if apart is None else interval(apart))
            lines.append(f"| {title if not place else ''} | {system} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_overview(out: Path, runs: Sequence[Run], result: Mapping[str, Any], tell: Callable[[str], None]) -> None:
    """OUT/overview.md, for each run OUT/NAME.jsonl, and OUT/overview-light.png and -dark.png if matplotlib is there."""
    make_folder(out)
    for run in runs:
        write_text(out / f"{run.name}.jsonl", as_lines(run))
    write_text(out / "overview.md", as_markdown(result))
    try:
        for name, dark in (("light", False), ("dark", True)):
            picture = plots.overview(result["runs"], f"recall@{COMPARED}", dark=dark)
            (out / f"overview-{name}.png").write_bytes(picture)
    except MissingDependencyError as error:
        tell(f"no pictures: {error}")


def interval(entry: Mapping[str, float]) -> str:
    """A difference in points with its interval."""
    return f"{100 * entry['mean']:+.1f} [{100 * entry['low']:.1f}, {100 * entry['high']:.1f}]"


def _figures(run: Run, seed: int) -> dict[str, Any]:
    first, *others = run.ranks
    values = {
        system: {
            **{f"recall@{cutoff}": [recall_at(ranks, cutoff) for ranks in asked.values()] for cutoff in CUTOFFS},
            "mrr": [reciprocal_rank(ranks) for ranks in asked.values()],
        }
        for system, asked in run.ranks.items()
    }
    name = f"recall@{COMPARED}"
    return {
        "name": run.name,
        "n_questions": len(run.questions),
        "searched": run.head["searched"],
        "systems": {
            system: {measure: asdict(bootstrap(column, seed=seed)) for measure, column in own.items()}
            for system, own in values.items()
        },
        "differences": [
            {"a": first, "b": other, "measure": name}
            | asdict(paired_bootstrap(values[first][name], values[other][name], seed=seed))
            for other in others
        ],
    }


def _of_folder(folder: Path) -> Run:
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    run = RunFile(folder / "run.json").read()
    ranks: dict[str, dict[str, Ranks]] = {}
    for system in summary["systems"]:
        rows, _ = load_rows(folder / f"{system}.jsonl")
        asked = list(rows.values())[: summary["n_questions"]]
        ranks[system] = {row["id"]: row["gold_ranks"] if "gold_ranks" in row else row["ranks"] for row in asked}
    ids = next(iter(ranks.values()))
    if len(ids) != summary["n_questions"] or any(asked.keys() != ids.keys() for asked in ranks.values()):
        raise SourceError(f"{folder} does not hold the same questions of every system: run that measurement again")
    if summary["k"] < CUTOFFS[-1]:
        raise SourceError(f"{folder} recalled {summary['k']}: an overview needs --k {CUTOFFS[-1]} or more")
    index, data = summary["index"], run["data"]
    hashes = data if "sha256" not in data else {"data": data}
    head = {
        "searched": index["turns"] if "turns" in index else index["passages"],
        **{name: summary[name] for name in _ASKED if summary.get(name)},
        "sha256": {name: told["sha256"] for name, told in hashes.items() if told},
        "versions": run["versions"],
    }
    # In the first system's order: what is paired is the same questions.
    return Run(folder.resolve().name, head, {name: {id_: asked[id_] for id_ in ids} for name, asked in ranks.items()})


def _of_file(path: Path) -> Run:
    head, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    systems = head.pop("systems")
    ranks = {system: {line["id"]: line[system] for line in lines} for system in systems}
    if not ranks or any(len(asked) != len(lines) or not lines for asked in ranks.values()):
        raise SourceError(f"{path} holds no questions, or one twice")
    if not isinstance(head["searched"], int) or not all(
        isinstance(found, list) and found for asked in ranks.values() for found in asked.values()
    ):
        raise ValueError
    return Run(path.stem, head, ranks)
