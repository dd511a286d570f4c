"""The report of `compare` that people look at: the differences, and every question that both sides have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hippomem_eval import plots
from hippomem_eval.compare import Side
from hippomem_eval.html_page import bullets, element, page, section
from hippomem_eval.html_report import NOT, circumstances, explorer, markdown, pictures
from hippomem_eval.results import RunFile


def write_compare_report(
    out: Path, result: Mapping[str, Any], table_of: str, sides: tuple[Side, Side], tell: Callable[[str], None]
) -> None:
    """OUT/compare.html and OUT/compare.png."""
    names = (result["a"]["name"], result["b"]["name"])
    description = "paired differences of every measure with their 95 % intervals"
    drawn = {"compare": ("Differences", description, lambda dark: plots.forest(result["differences"], dark=dark))}
    both = [id_ for id_ in sides[0].rows if id_ in sides[1].rows]
    rows = {name: [side.rows[id_] for id_ in both] for name, side in zip(names, sides, strict=True)}
    runs = [RunFile(side.folder / "run.json").read() for side in sides]
    shown = [
        section("Figures", *markdown(table_of)),
        *pictures(out, tell, drawn),
        section("What the figures are not", bullets(NOT)),
        section("Questions", explorer(rows)),
        *(
            section("Circumstances", element("p", name), circumstances(run, {}))
            for name, run in zip(names, runs, strict=True)
        ),
    ]
    lead = f"{result['n_questions']:,} questions, {names[0]} against {names[1]}"
    (out / "compare.html").write_text(page("Comparison", lead, shown), encoding="utf-8")
