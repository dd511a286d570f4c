"""The report of `scale` that people look at: a table, the growth of every cost, the circumstances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hippomem_eval import plots
from hippomem_eval.html_page import bullets, page, section
from hippomem_eval.html_report import circumstances, markdown, pictures

_NOT = (
    "Not real texts: degrees, words, lengths and cosines are fitted to encyclopaedic passages, meaning is not.",
    "Not quality on real questions: recall of the made-up ones shows whether it changes with size or with the code.",
    "Not the cost of models: encoder and pipeline are stand-ins, so that growth is that of hippomem's own parts.",
    "Not independent of the machine: wall times depend on what else ran.",
)


def write_growth_report(
    out: Path,
    result: Mapping[str, Any],
    table_of: str,
    costs: Mapping[str, list[tuple[int, float]]],
    environment: Mapping[str, Any],
    tell: Callable[[str], None],
) -> None:
    """OUT/report.html and OUT/growth.png; `costs` are the points of each cost, (passages, value)."""
    sizes = ", ".join(f"{int(size):,}" for size in result["sizes"])
    description = "each cost over the number of passages, both in logarithms, beside a dashed line for linear growth"
    drawn = {"growth": ("Growth", description, lambda dark: plots.growth(costs, dark=dark))}
    shown = [
        section("Figures", *markdown(table_of)),
        *pictures(out, tell, drawn),
        section("What the figures are not", bullets(_NOT)),
        section("Circumstances", circumstances(environment, {"encoder": "synthetic-384"})),
    ]
    (out / "report.html").write_text(page("Growth", f"{sizes} made-up passages", shown), encoding="utf-8")
