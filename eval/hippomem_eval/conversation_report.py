"""A run on conversations in figures: for programs (JSON) and for people (Markdown tables)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hippomem_eval.conversation_runner import ConversationOptions, MeasuredConversations
from hippomem_eval.metrics import bootstrap, clustered_bootstrap, column, means, paired_bootstrap, spread
from hippomem_eval.results import Row, write_json
from hippomem_eval.timing import COSTS

_CONTRACT = ("n_questions", "systems", "index", "differences", "categories")
_TOKENS = "context_tokens@"


def summarise(measured: MeasuredConversations, options: ConversationOptions) -> dict[str, Any]:
    """All figures. Recalls are fractions from 0 to 1, times milliseconds, intervals 95 % bootstrap intervals.

    `differences` are the first system minus each other one, question by question; `low` and `high` are over
    questions, those in `clustered` over conversations, where there are several.
    """
    rows, index = measured.rows, measured.index
    first = next(iter(rows))
    names = [name for name in rows[first][0] if name.startswith(("recall@", "all_gold@", "window")) or name == "mrr"]
    tokens = [name for name in rows[first][0] if name.startswith(_TOKENS)]
    questions = [q for c in measured.conversations for q in c.questions]
    if len(rows[first]) == options.limit:  # nobody looked at what comes behind
        questions = questions[: [q.id for q in questions].index(rows[first][-1]["id"]) + 1]
    adversarial = sum(q.is_adversarial and not options.adversarial for q in questions)
    return {
        "n_questions": len(rows[first]),
        "systems": {
            system: means(asked, [*names, *tokens]) | {cost: dict(spread(column(asked, cost))) for cost in COSTS}
            for system, asked in rows.items()
        },
        "index": {
            "conversations": len(measured.haystacks) if not options.one_index else len(measured.conversations),
            "turns": sum(len(haystack.turns) for haystack in measured.haystacks),
            **({**index.counts, "seconds": dict(index.seconds), "bytes": index.bytes} if index else {}),
        },
        "intervals": {
            system: {name: asdict(bootstrap(column(asked, name), seed=options.seed)) for name in names}
            for system, asked in rows.items()
        },
        "differences": list(_differences(rows, names, options.seed)),
        "categories": {system: _by_category(asked, names) for system, asked in rows.items()},
        "malformed_evidence": sum(c.malformed_evidence for c in measured.conversations),
        "without_evidence": len(questions) - len(rows[first]) - adversarial,
        "adversarial_left_out": adversarial,
        "failed_records": index.failed if index else 0,
        "seconds_are_partial": bool(index and index.seconds_are_partial),
        "index_is_stale": bool(index and index.is_stale),
        "data": str(options.data),
        "limit": options.limit,
        "k": options.k,
        "seed": options.seed,
        "plain": options.plain,
        "one_index": options.one_index,
        "encoder": measured.encoder,
    }


def contract(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the summary that `--json` prints: a promise to programs."""
    return {name: summary[name] for name in _CONTRACT}


def as_markdown(summary: Mapping[str, Any]) -> str:
    """Tables in percent and milliseconds, and below them what to know about them."""
    systems: Mapping[str, Any] = summary["systems"]
    index = summary["index"]
    values = next(iter(systems.values()))
    measures = [name for name, value in values.items() if isinstance(value, float) and not name.startswith(_TOKENS)]
    tokens = [name for name in values if name.startswith(_TOKENS)]
    heads = [*measures, *(name.replace("context_", "") for name in tokens), "ms p50", "ms p95", "CPU ms", "encode ms"]
    lines = [f"| {Path(summary['data']).name} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for system, values in systems.items():
        cells = [f"{100 * values[name]:.1f}" for name in measures]
        cells += [f"{values[name]:,.0f}" for name in tokens]
        cells += [f"{values['ms']['p50']:.1f}", f"{values['ms']['p95']:.1f}"]
        cells += [f"{values[cost]['mean']:.1f}" for cost in ("cpu_ms", "encode_ms")]
        lines.append(f"| {system} | {' | '.join(cells)} |")
    lines += _difference_table(summary, measures) + _category_table(summary)
    searched = "one index" if summary["one_index"] else "each on its own"
    lines += [
        "",
        f"{summary['n_questions']:,} questions over {index['conversations']:,} conversations, {searched}; "
        f"{index['turns']:,} turns{', plain' if summary['plain'] else ''}.",
        *_remarks(summary),
    ]
    return "\n".join(lines) + "\n"


def write_report(summary: Mapping[str, Any], out: Path) -> None:
    """OUT/summary.json and OUT/summary.md."""
    write_json(out / "summary.json", summary)
    (out / "summary.md").write_text(as_markdown(summary), encoding="utf-8")


def _differences(rows: Mapping[str, Sequence[Row]], names: Sequence[str], seed: int) -> Iterator[dict[str, Any]]:
    first, *others = rows
    clusters = [str(row["conversation"]) for row in rows[first]]
    for other in others:
        for name in names:
            ours, theirs = column(rows[first], name), column(rows[other], name)
            entry: dict[str, Any] = {"a": first, "b": other, "measure": name}
            entry |= asdict(paired_bootstrap(ours, theirs, seed=seed))
            if len(set(clusters)) > 1:
                apart = [a - b for a, b in zip(ours, theirs, strict=True)]
                interval = clustered_bootstrap(apart, clusters, seed=seed)
                entry["clustered"] = {"low": interval.low, "high": interval.high}
            yield entry


def _by_category(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    members: dict[str, list[Row]] = {}
    for row in rows:
        members.setdefault(row["category"], []).append(row)
    return {category: {"n": len(members[category]), **means(members[category], names)} for category in sorted(members)}


def _difference_table(summary: Mapping[str, Any], measures: Sequence[str]) -> list[str]:
    """The differences, over questions and, behind a slash, over conversations."""
    cells: dict[str, dict[str, str]] = {}
    for entry in summary["differences"]:
        cell = f"{100 * entry['mean']:+.1f} [{100 * entry['low']:.1f}, {100 * entry['high']:.1f}]"
        if "clustered" in entry:
            cell += f" / [{100 * entry['clustered']['low']:.1f}, {100 * entry['clustered']['high']:.1f}]"
        cells.setdefault(f"{entry['a']} - {entry['b']}", {})[entry["measure"]] = cell
    if not cells:
        return []
    head = ["", f"| difference [over questions] / [over conversations] | {' | '.join(measures)} |"]
    rule = "|---" * (len(measures) + 1) + "|"
    return [*head, rule, *(f"| {pair} | {' | '.join(own[m] for m in measures)} |" for pair, own in cells.items())]


def _category_table(summary: Mapping[str, Any]) -> list[str]:
    categories: Mapping[str, Any] = summary["categories"]
    sizes = {category: values["n"] for category, values in next(iter(categories.values())).items()}
    # At 5, or what comes next to it where fewer were recalled.
    names = [name for name in next(iter(next(iter(categories.values())).values())) if name.startswith("recall@")]
    name = "recall@5" if "recall@5" in names else names[-1]
    lines = ["", f"| {name} | {' | '.join(f'{category} ({size:,})' for category, size in sizes.items())} |"]
    lines.append("|---" * (len(sizes) + 1) + "|")
    for system, values in categories.items():
        lines.append(f"| {system} | {' | '.join(f'{100 * values[category][name]:.1f}' for category in sizes)} |")
    return lines


def _remarks(summary: Mapping[str, Any]) -> list[str]:
    index = summary["index"]
    remarks = []
    if "seconds" in index:
        took = ", ".join(f"{part} {value:.1f} s" for part, value in index["seconds"].items())
        remarks += [
            f"{index['passages']:,} passages, {index['entities']:,} entities, {index['facts']:,} facts, "
            f"{index['edges']:,} edges; {index['bytes'] / 1e6:.1f} MB on disk.",
            f"Indexing: {took}{' (since an interruption)' if summary['seconds_are_partial'] else ''}.",
        ]
    counted = {
        "questions left out: without evidence": summary["without_evidence"],
        "questions left out: adversarial": summary["adversarial_left_out"],
        "references to evidence that is unreadable or not there": summary["malformed_evidence"],
        "turns not ingested": summary["failed_records"],
    }
    remarks += [f"{count:,} {what}." for what, count in counted.items() if count]
    if summary["index_is_stale"]:
        remarks.append("The index was built with other code or settings than what was measured.")
    return remarks
