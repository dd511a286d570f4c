"""How costs grow with the number of passages: memories of several sizes over a made-up encyclopaedia."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hippomem
from hippomem import InvalidInputError
from hippomem_eval.environment import describe, settings_hash
from hippomem_eval.files import bytes_on_disk
from hippomem_eval.html_growth import write_growth_report
from hippomem_eval.own_process import measure_in_own_process
from hippomem_eval.results import RunFile, alone_in, make_folder, write_json
from hippomem_eval.scale_worker import ADDED
from hippomem_eval.synthetic import SyntheticCorpus

SMALLEST = 2 * ADDED


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleOptions:
    """What to measure. With `reuse_index`, also an index that other code built is asked; with `hipporag2`, that
    baseline too, of the triples that the memory found: dear to build above 20,000 passages.
    """

    sizes: Sequence[int]
    out: Path
    questions: int = 200
    k: int = 10
    seed: int = 0
    reuse_index: bool = False
    hipporag2: bool = False


def measure_scale(options: ScaleOptions, tell: Callable[[str], None]) -> dict[str, Any]:
    """Build what is not built yet, ask every size, and write OUT/scale.json and scale.md after each.

    `tell` gets remarks for the user. Raises InvalidInputError for a size that is too small, SourceError where a
    measuring process fails.
    """
    sizes = sorted(set(options.sizes))
    if not sizes or sizes[0] < SMALLEST:
        raise InvalidInputError(f"sizes begin at {SMALLEST} passages")
    with alone_in(options.out):
        return _measure_all(sizes, options, tell)


def _measure_all(sizes: Sequence[int], options: ScaleOptions, tell: Callable[[str], None]) -> dict[str, Any]:
    measured: dict[str, Any] = {}
    for size in sizes:
        measured[str(size)] = _figures(*_measure(size, options, tell))
        result = {"sizes": measured, "exponents": exponents(measured)}
        circumstances = {"seed": options.seed, "k": options.k, "questions": options.questions, **describe()}
        write_json(options.out / "scale.json", result | circumstances)
        (options.out / "scale.md").write_text(as_markdown(result), encoding="utf-8")
    points = {name: _points(measured, cost) for name, cost in _GROWING.items()}
    write_growth_report(options.out, result, as_markdown(result), points, circumstances, tell)
    return result


def _measure(size: int, options: ScaleOptions, tell: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, Any]]:
    folder = options.out / str(size)
    make_folder(folder)
    run, database = RunFile(folder / "run.json"), (folder / "index.db").resolve()
    code = _code(Path(str(hippomem.__file__)).parent.rglob("*.py")) + settings_hash()
    made_up = _code(Path(__file__).parent.glob("synthetic*.py"))
    corpus = hashlib.sha256(f"{size} {options.seed} {made_up}".encode()).hexdigest()
    asked = "\n".join(question.text for question in SyntheticCorpus(size, options.seed).questions(options.questions))
    built: dict[str, Any] = run.read().get("index") or {}
    if database.exists() and "corpus" not in built:
        raise InvalidInputError(f"{database} was not made by this command: choose another folder")
    job: dict[str, Any] = {"size": size, "seed": options.seed, "k": options.k, "questions": options.questions}
    job |= {"database": str(database), "hipporag2": options.hipporag2}
    usable = bool(built.get("finished")) and built["corpus"] == corpus and database.exists()
    if usable and built["code"] != code and options.reuse_index:
        tell(f"{database} was built with other code or settings: its figures of building are of that code")
    elif not usable or built["code"] != code:
        if database.exists():
            tell(f"{database} is unfinished, or of other code, settings or seed: building it anew")
        for entry in (database, *database.parent.glob(f"{database.name}?*")):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)
        run.update(index={"corpus": corpus, "code": code, "finished": False})
        measured = measure_in_own_process("scale_worker", job, folder, "build")
        built = {"corpus": corpus, "code": code, "finished": True, "measured": measured}
        run.update(index=built)
    data = {
        "questions": {"path": "synthetic", "sha256": hashlib.sha256(asked.encode()).hexdigest()},
        "corpus": {"path": "synthetic", "sha256": corpus},
    }
    run.update(data=data, seed=options.seed, **describe())
    found = measure_in_own_process("scale_worker", job, folder, "ask")
    found["bytes"] = bytes_on_disk(database)
    return built["measured"], found


def _figures(built: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """One size: seconds, milliseconds, megabytes of a million bytes."""
    ours, dense = asked["systems"]["hippomem"], asked["systems"]["dense"]
    per_passage = 1e3 / built["ingested"]
    return {
        **{name: built[name] for name in ("passages", "entities", "facts", "edges")},
        "n_questions": asked["n_questions"],
        **ours,
        "dense": dense,
        **{name: figures for name, figures in asked["systems"].items() if name == "hipporag2"},
        "open_seconds": asked["open_seconds"],
        "first_recall_ms": asked["first_recall_ms"],
        "recall_after_add_ms": built["recall_after_add_ms"]["p50"],
        "add_ms": built["add_ms"]["p50"],
        "update_ms": built.get("update_ms", {}).get("p50"),  # earlier code built without
        "rss_mb": _megabytes(asked["peak_rss_bytes"]),
        "anonymous_mb": _megabytes(asked["anonymous_bytes"]),
        "ingest_rss_mb": _megabytes(built["peak_rss_bytes"]),
        "ingest_seconds": built["wall_seconds"]["total"],
        "ingest": {"seconds": built["wall_seconds"], "cpu_seconds": built["cpu_seconds"]},
        "ingest_ms_per_passage": per_passage * built["cpu_seconds"]["other"],
        "disk_mb": asked["bytes"] / 1e6,
        "bytes_per_passage": asked["bytes"] / built["passages"],
    }


_GROWING: Mapping[str, Callable[[Mapping[str, Any]], float | None]] = {
    "recall_ms": lambda size: size.get("ms", {}).get("p50"),
    "recall_cpu_ms": lambda size: size.get("cpu_ms", {}).get("mean"),
    "dense_ms": lambda size: size["dense"].get("ms", {}).get("p50"),
    "recall_after_add_ms": lambda size: size["recall_after_add_ms"],
    "first_recall_ms": lambda size: size["first_recall_ms"],
    "add_ms": lambda size: size["add_ms"],
    "update_ms": lambda size: size["update_ms"],
    "ingest": lambda size: size["ingest"]["cpu_seconds"]["other"],
    "disk": lambda size: size["disk_mb"],
    "rss": lambda size: size["rss_mb"],
    "ingest_rss": lambda size: size["ingest_rss_mb"],
}


def exponents(measured: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """For each cost the slope of its logarithm on that of the size (least squares): 1 is linear, 0 constant.

    Nothing where fewer than two sizes are measured. `ingest` is CPU time without encoder and spaCy.
    """
    found = {}
    for name, cost in _GROWING.items():
        points = _points(measured, cost)
        if len(points) > 1:
            found[name] = _slope([(math.log(size), math.log(value)) for size, value in points])
    return found


def _points(
    measured: Mapping[str, Mapping[str, Any]], cost: Callable[[Mapping[str, Any]], float | None]
) -> list[tuple[int, float]]:
    return [(int(size), value) for size, figures in measured.items() if (value := cost(figures))]


def _slope(points: Sequence[tuple[float, float]]) -> float:
    x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return float(sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points))


def as_markdown(result: Mapping[str, Any]) -> str:
    """A table with a line a size, and the exponents below it."""
    heads = [
        "passages", "edges", "recall ms p50", "p95", "CPU ms", "dense ms", "recall@5", "dense @5", "open s",
        "first recall ms", "add ms", "recall after add ms", "update ms", "ingest s", "ingest CPU ms/passage*", "RSS MB",
        "ingest RSS MB", "disk MB", "kB/passage",
    ]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---:" * len(heads) + "|"]
    for size in result["sizes"].values():
        dense, recalls = size["dense"], "ms" in size
        values = [
            f"{size['passages']:,}",
            f"{size['edges']:,}",
            *([f"{size['ms']['p50']:.1f}", f"{size['ms']['p95']:.1f}"] if recalls else ["", ""]),
            *([f"{size['cpu_ms']['mean']:.1f}", f"{dense['ms']['p50']:.1f}"] if recalls else ["", ""]),
            *(f"{100 * each['recall@5']:.1f}" if "recall@5" in each else "" for each in (size, dense)),
            *(f"{size[name]:.2f}" for name in ("open_seconds", "first_recall_ms", "add_ms", "recall_after_add_ms")),
            "" if size["update_ms"] is None else f"{size['update_ms']:.2f}",
            f"{size['ingest_seconds']:.1f}",
            f"{size['ingest_ms_per_passage']:.2f}",
            *("" if size[name] is None else f"{size[name]:.0f}" for name in ("rss_mb", "ingest_rss_mb")),
            f"{size['disk_mb']:.1f}",
            f"{size['bytes_per_passage'] / 1e3:.1f}",
        ]
        lines.append(f"| {' | '.join(values)} |")
    lines += ["", "* without encoder and spaCy."]
    for size in result["sizes"].values():
        if "ms" in size.get("hipporag2", {}):
            ours, theirs = size["cpu_ms"]["p50"], size["hipporag2"]["cpu_ms"]["p50"]
            ratio = f"{theirs:.1f} ms of CPU time a recall, {theirs / ours:.0f} times hippomem's {ours:.1f}"
            lines.append(f"HippoRAG 2 at {size['passages']:,} passages: {ratio}.")
    if result["exponents"]:
        slopes = ", ".join(f"{name} {value:.2f}" for name, value in result["exponents"].items())
        lines.append(f"Growth, as the exponent of the size (1 is linear): {slopes}.")
    return "\n".join(lines) + "\n"


def _megabytes(size: int | None) -> float | None:
    return None if size is None else size / 1e6


def _code(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
