"""Two runs over the same questions: what differs, how surely, and for which questions most."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hippomem import InvalidInputError, NotFoundError, SourceError
from hippomem_eval.metrics import column, means, paired_bootstrap
from hippomem_eval.qa import MEASURES as ANSWERS
from hippomem_eval.results import Row, RunFile
from hippomem_eval.timing import COSTS

_MEASURES = ("recall@", "all_gold@", "mrr", "window", "context_tokens@", *ANSWERS)
LISTED = 10  # questions won, and as many lost
_KEYS = ("recall@5", "mrr", "f1", "em")  # by which questions count as won or lost: each where those before do not tell


@dataclass(frozen=True, slots=True)
class Side:
    """One system's answers in one folder of results."""

    folder: Path
    system: str
    rows: Mapping[str, Row]
    data: Mapping[str, str]  # SHA-256 of what was asked and searched
    k: int | None = None  # as far as is known, how many passages were recalled


def load_side(folder: Path, system: str | None) -> Side:
    """Read a folder that a run wrote; without a name, `hippomem` or the only system that is there.

    Raises NotFoundError without such a folder or system, SourceError where a file is not what a run writes.
    """
    run = RunFile(folder / "run.json")
    try:
        files = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"there is no folder {folder}") from None
    except OSError as error:
        raise NotFoundError(f"{folder} cannot be looked into: {error.strerror}") from None
    if run.path not in files:
        raise NotFoundError(f"{folder} holds no run.json: give the folder that `hippomem eval` was given as --out")
    present = [file.stem for file in files if file.suffix == ".jsonl"]
    if system is None:
        system = "hippomem" if "hippomem" in present or len(present) != 1 else present[0]
    if system not in present:
        raise NotFoundError(f"{folder} holds no results of {system!r}, only of: {', '.join(present) or 'nothing'}")
    return Side(folder, system, _rows(folder / f"{system}.jsonl"), *_asked(run, system))


def load_sides(a: Path, b: Path, systems: str = "") -> tuple[Side, Side]:
    """Both sides. `systems` is one name for both, or "A=NAME,B=NAME" or one of these; the rest as in `load_side`."""
    chosen: dict[str, str | None] = {"A": None, "B": None}
    for part in filter(None, (part.strip() for part in systems.split(","))):
        side, is_one, name = part.partition("=")
        if is_one and (side not in chosen or chosen[side] is not None or not name):
            raise InvalidInputError(f"{systems!r} is neither a system nor of the form A=NAME,B=NAME")
        if not is_one and "," in systems:
            raise InvalidInputError(f"{systems!r} is neither a system nor of the form A=NAME,B=NAME")
        chosen |= {side: name} if is_one else dict.fromkeys(chosen, part)
    return load_side(a, chosen["A"]), load_side(b, chosen["B"])


def compare(a: Side, b: Side, *, seed: int = 0) -> dict[str, Any]:
    """`a` minus `b`, question by question: means with 95 % bootstrap intervals of every measure that both have.

    Fractions, milliseconds and tokens. Reciprocal ranks among so many passages and among more are two measures. Raises
    InvalidInputError where the two are of different data or share no question.
    """
    differing = [name for name in sorted(a.data.keys() & b.data.keys()) if a.data[name] != b.data[name]]
    if differing or not a.data.keys() & b.data.keys():
        what = " and ".join(differing) or "data"
        raise InvalidInputError(
            f"{a.folder} and {b.folder} are of different data sets ({what}): only answers to the same questions over "
            "the same corpus can be compared"
        )
    both = [id_ for id_ in a.rows if id_ in b.rows]
    if not both:
        raise InvalidInputError(f"{a.folder} and {b.folder} have no question in common")
    ours, theirs = [a.rows[id_] for id_ in both], [b.rows[id_] for id_ in both]
    names = [name for name in ours[0] if name.startswith(_MEASURES) and name in theirs[0]]
    names = [name for name in names if name != "mrr" or a.k == b.k]
    costs = [name for name in COSTS if name in ours[0] and name in theirs[0]]
    first, second = labels(a, b)
    return {
        "a": {"name": first, "folder": str(a.folder), "system": a.system},
        "b": {"name": second, "folder": str(b.folder), "system": b.system},
        "n_questions": len(both),
        "only_a": len(a.rows) - len(both),
        "only_b": len(b.rows) - len(both),
        "asked_otherwise": sum(x.get("question") != y.get("question") for x, y in zip(ours, theirs, strict=True)),
        "means": {label: means(rows, (*names, *costs)) for label, rows in ((first, ours), (second, theirs))},
        "differences": [
            {"a": first, "b": second, "measure": name}
            | asdict(paired_bootstrap(column(ours, name), column(theirs, name), seed=seed))
            for name in (*names, *costs)
        ],
        **_changed(ours, theirs, names),
        "seed": seed,
    }


def labels(a: Side, b: Side) -> tuple[str, str]:
    """What the two are called: by system where that tells them apart, else with their folders."""
    if a.system != b.system:
        return a.system, b.system
    if a.folder.resolve().name != b.folder.resolve().name:
        return f"{a.folder.resolve().name}/{a.system}", f"{b.folder.resolve().name}/{b.system}"
    return f"A {a.folder}/{a.system}", f"B {b.folder}/{b.system}"


def as_markdown(result: Mapping[str, Any]) -> str:
    """Tables in percent and milliseconds, and the questions that changed most."""
    a, b = result["a"]["name"], result["b"]["name"]
    lines = [f"| | {_cell(a)} | {_cell(b)} | A - B [95 %] |", "|---|---:|---:|---:|"]
    for entry in result["differences"]:
        name = entry["measure"]
        scale = 1 if name in COSTS or name.startswith("context_tokens") else 100
        values = [f"{scale * result['means'][side][name]:.1f}" for side in (a, b)]
        mean, low, high = (scale * entry[bound] for bound in ("mean", "low", "high"))
        lines.append(f"| {name} | {' | '.join(values)} | {mean:+.1f} [{low:.1f}, {high:.1f}] |")
    only = {side: result[f"only_{side}"] for side in "ab" if result[f"only_{side}"]}
    lines += ["", f"{result['n_questions']:,} questions that both have."]
    lines += [f"{count:,} questions only in {result[side]['name']}, left out." for side, count in only.items()]
    if otherwise := result["asked_otherwise"]:
        lines.append(f"{otherwise:,} of them were asked in other words by one of the two, as with --misspell.")
    lines.append("Recalls in percent, costs in milliseconds; costs of runs at different times are loosely comparable.")
    for what, winner in (("won", a), ("lost", b)):
        if result[what]:
            total = result["counts"][what]
            lines += ["", f"{total:,} questions better in {winner}, the most changed first:", ""]
            lines += [f"- {_found(each)}: {_line(each['question'])} ({_line(each['id'])})" for each in result[what]]
    return "\n".join(lines) + "\n"


def _changed(ours: Sequence[Row], theirs: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    keys = [key for key in _KEYS if key in names] or list(names[:1])
    changed = []
    for a, b in zip(ours, theirs, strict=True):
        apart = tuple(float(a[key]) - float(b[key]) for key in keys)
        if any(apart):
            changed.append((apart, a, b))
    # By the first key that differs: a question found more completely is won, even if its first passage fell a rank.
    sign = {id(entry): next(value for value in entry[0] if value) for entry in changed}
    won = sorted((e for e in changed if sign[id(e)] > 0), key=lambda e: e[0], reverse=True)
    lost = sorted((e for e in changed if sign[id(e)] < 0), key=lambda e: e[0])
    listed = {"won": won[:LISTED], "lost": lost[:LISTED]}
    return {
        "counts": {"won": len(won), "lost": len(lost), "same": len(ours) - len(changed)},
        **{what: [_question(*entry, keys) for entry in entries] for what, entries in listed.items()},
    }


def _question(apart: Sequence[float], a: Row, b: Row, keys: Sequence[str]) -> dict[str, Any]:
    ranks = {side: row.get("gold_ranks", row.get("ranks", [])) for side, row in (("a", a), ("b", b))}
    difference = dict(zip(keys, apart, strict=True))
    found = {"answers": {"a": a["answer"], "b": b.get("answer", "")}} if "answer" in a else {"gold_ranks": ranks}
    return {"id": a["id"], "question": a.get("question", ""), "difference": difference, **found}


def _found(changed: Mapping[str, Any]) -> str:
    if "answers" in changed:
        return " against ".join(f'"{_line(changed["answers"][side])}"' for side in "ab")
    sides = (", ".join(str(rank or "-") for rank in changed["gold_ranks"][side]) for side in "ab")
    return " against ".join(f"ranks {ranks}" for ranks in sides)


def _rows(path: Path) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                rows[row["id"]] = row
            except (ValueError, KeyError, TypeError):
                raise SourceError(f"{path}: line {number} is no row of results") from None
    if not rows:
        raise SourceError(f"{path} holds no answers")
    return rows


def _asked(run: RunFile, system: str) -> tuple[dict[str, str], int | None]:
    """SHA-256 by name, of questions and corpus or of the one file that holds both; and how many were recalled."""
    told = run.read()
    asked = (told.get("systems") or {}).get(system)
    if isinstance(asked, dict):  # `data` is what the folder's last run read, which may have been of another system
        hashes = {name: str(asked[name]).split()[0] for name in ("questions", "corpus", "data") if asked.get(name)}
        return hashes, asked.get("k")
    data = told.get("data")
    if not isinstance(data, dict):
        raise SourceError(f"{run.path} does not say which data it is of: run the measurement again")
    if "sha256" in data:
        return {"data": str(data["sha256"])}, None
    entries = {name: entry for name, entry in data.items() if isinstance(entry, dict) and "sha256" in entry}
    return {name: str(entry["sha256"]) for name, entry in entries.items()}, None


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    """On one line, and without what a terminal would take for a command."""
    return "".join(char for char in " ".join(str(text).split()) if char.isprintable())
