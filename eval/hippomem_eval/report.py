"""A run in figures: for programs (JSON) and for people (a Markdown table)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hippomem_eval.metrics import bootstrap, column, means, paired_bootstrap, spread
from hippomem_eval.results import Row, write_json
from hippomem_eval.runner import Measured, Options
from hippomem_eval.systems import RECOGNISING
from hippomem_eval.timing import COSTS

RECORDED = "Recorded answers plan and read without a fault: an upper bound for what a chat model can make of it."
_USAGE = ("calls", "input_tokens", "output_tokens")
_CONTRACT = ("n_questions", "systems", "index", "differences")


def summarise(measured: Measured, options: Options) -> dict[str, Any]:
    """All figures. Recalls are fractions from 0 to 1, times milliseconds, intervals 95 % bootstrap intervals.

    `differences` are the first system minus each other one, question by question.
    """
    rows, index = measured.rows, measured.index
    first, *others = rows
    names = [name for name in rows[first][0] if name.startswith(("recall@", "all_gold@")) or name == "mrr"]
    return {
        "n_questions": len(rows[first]),
        "systems": {system: _means(rows[system], names) for system in rows},
        "index": {**index.counts, "seconds": dict(index.seconds), "bytes": index.bytes},
        "intervals": {
            system: {name: asdict(bootstrap(column(rows[system], name), seed=options.seed)) for name in names}
            for system in rows
        },
        "differences": [
            {"a": first, "b": other, "measure": name}
            | asdict(paired_bootstrap(column(rows[first], name), column(rows[other], name), seed=options.seed))
            for other in others
            for name in names
        ],
        "unanswerable": measured.dataset.unanswerable,
        "missing_gold": measured.dataset.missing_gold,
        "failed_records": index.failed,
        "openie": _openie(measured, options),
        "unmatched_passages": {system: int(sum(column(rows[system], "unmatched"))) for system in rows},
        "model": {system: _asked(rows[system]) for system in rows if any("model" in row for row in rows[system])},
        "seconds_are_partial": index.seconds_are_partial,
        "index_is_stale": index.is_stale,
        "questions": str(options.questions),
        "corpus": str(options.corpus or ""),
        "limit": options.limit,
        "k": options.k,
        "seed": options.seed,
        "decompositions": options.decompositions,
        "recognition": options.recognition,
        "misspell": options.misspell,
        "encoder": index.encoder,
    }


def contract(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the summary that `--json` prints: a promise to programs."""
    return {name: summary[name] for name in _CONTRACT}


def as_markdown(summary: Mapping[str, Any]) -> str:
    """A table in percent and milliseconds, and below it what to know about it."""
    systems: Mapping[str, Any] = summary["systems"]
    index = summary["index"]
    measures = [name for name, value in next(iter(systems.values())).items() if isinstance(value, float)]
    heads = [*measures, "ms p50", "ms p95", "CPU ms", "encode ms"]
    lines = [f"| {Path(summary['questions']).name} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for system, values in systems.items():
        cells = [f"{100 * values[name]:.1f}" for name in measures]
        cells += [f"{values['ms']['p50']:.1f}", f"{values['ms']['p95']:.1f}"]
        cells += [f"{values[cost]['mean']:.1f}" for cost in ("cpu_ms", "encode_ms")]
        lines.append(f"| {system} | {' | '.join(cells)} |")
    for (a, b), intervals in itertools.groupby(summary["differences"], key=lambda v: (v["a"], v["b"])):
        cells = [f"{100 * v['mean']:+.1f} [{100 * v['low']:.1f}, {100 * v['high']:.1f}]" for v in intervals]
        lines.append(f"| {a} - {b} | {' | '.join(cells)} | | | | |")
    took = ", ".join(f"{part} {value:.1f} s" for part, value in index["seconds"].items())
    lines += [
        "",
        f"{summary['n_questions']:,} questions over {index['passages']:,} passages; {index['entities']:,} entities, "
        f"{index['facts']:,} facts, {index['edges']:,} edges; {index['bytes'] / 1e6:.1f} MB on disk.",
        f"Indexing: {took}{' (since an interruption)' if summary['seconds_are_partial'] else ''}.",
        *_remarks(summary),
    ]
    return "\n".join(lines) + "\n"


def write_report(summary: Mapping[str, Any], out: Path) -> None:
    """OUT/summary.json and OUT/summary.md."""
    write_json(out / "summary.json", summary)
    (out / "summary.md").write_text(as_markdown(summary), encoding="utf-8")


def _remarks(summary: Mapping[str, Any]) -> list[str]:
    counted = {
        "questions left out as unanswerable: none of their gold is in the corpus": summary["unanswerable"],
        "gold passages of other questions not in the corpus": summary["missing_gold"],
        "records of the corpus not ingested": summary["failed_records"],
        "recalled passages that are not in the corpus": sum(summary["unmatched_passages"].values()),
    }
    if openie := summary["openie"]:
        counted |= {
            "triples of the LLM used": openie["triples"],
            "malformed triples of the LLM dropped": openie["dropped"],
            "passages of the OpenIE file not in the corpus": openie["elsewhere"],
            "passages without an entry in the OpenIE file": openie["missing"],
        }
    remarks = [f"{count:,} {what}." for what, count in counted.items() if count]
    for system, asked in summary["model"].items():
        remarks.append(
            f"{system} asked {_whom(system, summary)}: "
            f"{asked['calls']:,} calls, {asked['input_tokens']:,} tokens in, {asked['output_tokens']:,} out; something "
            f"went wrong with it for {asked['questions_with_warnings']:,} questions."
        )
    if summary["decompositions"]:
        remarks.append(RECORDED)
    if summary["recognition"]:
        remarks.append(f"Recognition was {summary['recognition']}, which knows what is gold: no model does.")
    if summary["misspell"]:
        remarks.append("The questions were asked with slips in their names (--misspell).")
    if summary["index_is_stale"]:
        remarks.append("The index was built with other code or settings than what was measured.")
    return remarks


def _whom(system: str, summary: Mapping[str, Any]) -> str:
    if system == RECOGNISING:
        return f"a recogniser ({summary['recognition']})" if summary["recognition"] else "a chat model"
    return "recorded answers" if summary["decompositions"] else "a chat model"


def _asked(rows: Sequence[Row]) -> dict[str, int]:
    counts = {name: sum(row["model"][name] for row in rows if "model" in row) for name in _USAGE}
    return counts | {"questions_with_warnings": sum(bool(row.get("warnings")) for row in rows)}


def _openie(measured: Measured, options: Options) -> dict[str, Any] | None:
    found = measured.openie
    if found is None:
        return None
    counts = {"triples": found.count, "dropped": found.dropped, "elsewhere": found.elsewhere, "missing": found.missing}
    return {"path": str(options.openie), **counts}


def _means(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    return means(rows, names) | {cost: dict(spread(column(rows, cost))) for cost in COSTS}
