"""A feedback run in figures: for programs (JSON), for people (a Markdown table), and for the picture over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hippomem_eval.feedback_protocol import CUTOFF
from hippomem_eval.metrics import bootstrap, clustered_bootstrap
from hippomem_eval.results import Row

LEARNERS = ("knn-cache", "soft-vote")


def summarise(
    rows: Mapping[str, Sequence[Row]], noise: Sequence[float], adversarial: float, seed: int, data: str
) -> dict[str, Any]:
    """Gains over the plain recall, as fractions, with 95 % intervals over whole conversations."""
    right = rows["right"]
    plain = _mean(right, "plain")
    return {
        f"gain@{CUTOFF}": gain(right, "hippomem", "plain", seed),
        f"related@{CUTOFF}": gain([row for row in right if row["related"]], "hippomem", "plain", seed),
        f"unseen@{CUTOFF}": gain([row for row in right if not row["related"]], "hippomem", "plain", seed),
        "noise": {f"{share:g}": gain(rows[f"noise {share:g}"], "hippomem", "plain", seed) for share in noise},
        "adversarial": {
            f"{adversarial:g}": gain(rows["adversarial"], "hippomem", "plain", seed)
            for _ in range(1 if "adversarial" in rows else 0)
        },
        "baselines": {
            "plain": {f"recall@{CUTOFF}": plain},
            "strong": {
                f"recall@{CUTOFF}": _mean(right, "strong"),
                "ours_minus_it": gain(right, "hippomem", "strong", seed),
            },
            **{
                name: {
                    f"recall@{CUTOFF}": _mean(right, name),
                    f"gain@{CUTOFF}": gain(right, name, "plain", seed),
                    "ours_minus_it": gain(right, "hippomem", name, seed),
                    "noise": {f"{share:g}": gain(rows[f"noise {share:g}"], name, "plain", seed) for share in noise},
                }
                for name in LEARNERS
            },
        },
        f"recall@{CUTOFF}": _mean(right, "hippomem"),
        "questions": len(right),
        "related": sum(bool(row["related"]) for row in right),
        "conversations": {
            name: gain([row for row in right if row["conversation"] == name], "hippomem", "plain", seed)
            for name in dict.fromkeys(str(row["conversation"]) for row in right)
        },
        "seed": seed,
        "data": data,
    }


def gain(rows: Sequence[Row], ours: str, theirs: str, seed: int) -> dict[str, float]:
    """The mean difference and its interval, clustered by conversation where there are several; zeros without rows."""
    if not rows:
        return {"mean": 0.0, "low": 0.0, "high": 0.0}
    apart = [float(row[ours]) - float(row[theirs]) for row in rows]
    clusters = [str(row["conversation"]) for row in rows]
    several = len(set(clusters)) > 1
    return asdict(clustered_bootstrap(apart, clusters, seed=seed) if several else bootstrap(apart, seed=seed))


def gains_in_time(rows: Mapping[str, Sequence[Row]]) -> dict[str, list[list[float]]]:
    """For each kind of feedback the gains of each conversation's questions in the order they were asked."""
    gains: dict[str, dict[str, list[float]]] = {}
    for name, own in rows.items():
        for row in own:
            series = gains.setdefault(name, {}).setdefault(str(row["conversation"]), [])
            series.append(float(row["hippomem"]) - float(row["plain"]))
    return {name: list(series.values()) for name, series in gains.items()}


def as_markdown(summary: Mapping[str, Any]) -> str:
    """A table in points, and what to know about it."""
    at, base = f"@{CUTOFF}", summary["baselines"]
    lines = [f"| recall{at} | % | gain over plain recall, points [95 % over conversations] |", "|---|---|---|"]
    lines.append(f"| plain recall | {100 * base['plain'][f'recall{at}']:.1f} | |")
    lines.append(f"| strong baseline | {100 * base['strong'][f'recall{at}']:.1f} | |")
    lines += [
        f"| {name} | {100 * base[name][f'recall{at}']:.1f} | {points(base[name][f'gain{at}'])} |" for name in LEARNERS
    ]
    lines.append(f"| hippomem, learning | {100 * summary[f'recall{at}']:.1f} | {points(summary[f'gain{at}'])} |")
    known = summary["related"]
    lines.append(f"| – on turns learned before ({known:,}) | | {points(summary[f'related{at}'])} |")
    unseen = summary["questions"] - summary["related"]
    lines.append(f"| – other questions ({unseen:,}) | | {points(summary[f'unseen{at}'])} |")
    for share, value in summary["noise"].items():
        others = ", ".join(f"{name} {points(base[name]['noise'][share])}" for name in LEARNERS)
        lines.append(f"| – {100 * float(share):.0f} % wrong feedback | | {points(value)} ({others}) |")
    for share, value in summary["adversarial"].items():
        lines.append(f"| – {100 * float(share):.0f} % an attacker's | | {points(value)} |")
    each = ", ".join(f"{name} {100 * value['mean']:+.1f}" for name, value in summary["conversations"].items())
    count = f"{summary['questions']:,} questions in time order"
    lines += ["", f"{count}, each recalled before it is learned. By conversation: {each}."]
    return "\n".join(lines) + "\n"


def points(value: Mapping[str, float]) -> str:
    """A gain with its interval, for people to read."""
    return f"{100 * value['mean']:+.1f} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"


def _mean(rows: Sequence[Row], name: str) -> float:
    return sum(float(row[name]) for row in rows) / len(rows)
