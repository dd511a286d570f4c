"""The figures of `hippomem eval retention` as Markdown, JSON and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from hippomem_eval.plots import _INK, _MARKS, _WIDTH, _colour, _figure, _plain, _png
from hippomem_eval.results import make_folder
from hippomem_eval.retention import GUARDED, MARGIN
from hippomem_eval.retention_protocols import as_rows

COLUMNS = {
    "auc": "AUC",
    "final": "last day",
    "min_acc": "min-ACC",
    "worst_cohort": "worst cohort",
    "wf_5": "WF, 5 days",
    "new_items": "new",
    "unused_items": "unused",
    "poison_survival": "poison survived",
}


def as_markdown(summary: Mapping[str, Any]) -> str:
    """Tables for people."""
    plan = summary["plan"]
    lines = [
        "# Retention",
        "",
        f"{plan['items']} arbitrary pairs over {plan['days']} days, {summary['seeds']} seeds; recall of a pair's "
        "value by its own key, first of all values.",
    ]
    for budget in map(str, summary["budgets"]):
        lines += ["", f"## {float(budget):g} replays per item", ""]
        lines += [
            "| replay | " + " | ".join(COLUMNS.values()) + " | AUC over uniform |",
            "|---" * (len(COLUMNS) + 2) + "|",
        ]
        for arm, budgets in summary["arms"].items():
            values = " | ".join(_three(budgets[budget][name]) for name in COLUMNS)
            gain = summary.get("gains", {}).get(arm, {}).get(budget)
            told = f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]" if gain else ""
            lines.append(f"| {arm} | {values} | {told} |")
    lines += _calibration(summary)
    lines += as_rows(summary.get("reports", {}))
    if "gain_over_uniform" in summary:
        lines += ["", "## Against uniform replay", ""]
        for budget in map(str, summary["budgets"]):
            gain = summary["gain_over_uniform"][budget]
            rest = ", ".join(
                f"{name.replace('_', ' ')} {summary[f'{name}_difference'][budget]:+.3f}" for name in GUARDED.values()
            )
            lines.append(
                f"- {float(budget):g}×: AUC {gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]; {rest} "
                f"(none may be below -{MARGIN})"
            )
    return "\n".join(lines) + "\n"


def _calibration(summary: Mapping[str, Any]) -> list[str]:
    lines = ["", "## Predictions, and contradictions found", ""]
    names = {
        "predicted": "predicted", "measured": "measured", "brier": "Brier", "brier_constant": "constant",
        "brier_moving": "moving average", "contradiction_precision": "precision", "contradiction_recall": "recall",
        "contradiction_decided_right": "right side kept", "false_contradictions": "false",
    }  # fmt: skip
    lines += ["| replay | budget | " + " | ".join(names.values()) + " |", "|---" * (len(names) + 2) + "|"]
    for arm, budgets in summary["arms"].items():
        for budget, values in budgets.items():
            lines.append(f"| {arm} | {float(budget):g} | " + " | ".join(_three(values[name]) for name in names) + " |")
    return lines


def write_retention(summary: Mapping[str, Any], out: Path) -> None:
    """retention.json, retention.md and a picture for each budget, in light and dark."""
    make_folder(out)
    (out / "retention.json").write_text(json.dumps(finite(summary), indent=2) + "\n", encoding="utf-8")
    (out / "retention.md").write_text(as_markdown(summary), encoding="utf-8")
    for budget in map(str, summary["budgets"]):
        for dark, ending in ((False, ""), (True, "-dark")):
            (out / f"retention-{float(budget):g}x{ending}.png").write_bytes(
                retention_curves(summary, budget, dark=dark)
            )


def retention_curves(summary: Mapping[str, Any], budget: str, *, dark: bool = False) -> bytes:
    """Recall of everything known so far, day by day, for every arm: a PNG. Raises MissingDependencyError."""
    figure, axes = _figure(_WIDTH, 3.8, dark)
    for place, (arm, budgets) in enumerate(summary["arms"].items()):
        curve = [100 * value for value in budgets[budget]["curve"]]
        is_proposed = arm == summary["proposed"]
        axes.plot(
            range(1, len(curve) + 1),
            curve,
            color=_colour(place, dark),
            marker=_MARKS[place % len(_MARKS)],
            markersize=3,
            markevery=5,
            linewidth=2.4 if is_proposed else 1.2,
            label=_plain(arm),
        )
    axes.set_xlabel(f"day, {float(budget):g} replays per item")
    axes.set_ylabel("recall of all that was learned, %")
    axes.set_ylim(0, 101.5)
    axes.legend(frameon=False, labelcolor=_INK[dark][0], fontsize=8, loc="lower left", ncols=2)
    return _png(figure)


def finite(value: Any) -> Any:
    """`value` for JSON, which knows no NaN: None in its place."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _three(value: float) -> str:
    return f"{value:.3f}" if isfinite(value) else "–"
