"""`hippomem eval retention`."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ReportKind(StrEnum):
    """What else is told of the lives."""

    lifelong = "lifelong"
    recognition = "recognition"


def retention(
    arms: Annotated[str, typer.Option("--arms", metavar="NAMES", help="Separated by commas; otherwise all.")] = "",
    budgets: Annotated[str, typer.Option("--budgets", metavar="LIST", help="Replays per item.")] = "2,6",
    seeds: Annotated[int, typer.Option("--seeds", min=2, help="Lives of each arm and budget.")] = 5,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes.")] = 2,
    report: Annotated[list[ReportKind] | None, typer.Option("--report", help="Also these metrics; repeatable.")] = None,
    full: Annotated[bool, typer.Option("--full", help="20 seeds, budgets 1 to 10, all reports.")] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where figures and pictures go.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """How well a simulated memory keeps what it learns over 30 days, by the schedule of its replay."""
    from hippomem_eval.results import make_folder
    from hippomem_eval.retention import RetentionOptions, run_retention
    from hippomem_eval.retention_protocols import lifelong, recognition
    from hippomem_eval.retention_report import as_markdown, finite, write_retention
    from hippomem_eval.retention_run import ARMS

    def tell(message: str) -> None:
        typer.echo(message, file=sys.stderr)

    try:
        sizes = [1.0, 2.0, 4.0, 6.0, 10.0] if full else [float(size) for size in budgets.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{budgets!r} is not a list such as 2,6", param_hint="--budgets") from None
    names = _named(arms, ARMS) or list(ARMS)
    options = RetentionOptions(names, sizes, 20 if full else seeds, jobs)
    if out is not None:
        make_folder(out)  # before all lives, which could not be kept otherwise
    summary = run_retention(options, tell)
    kinds = set(ReportKind) if full else set(report or ())
    if kinds:
        own = summary["reports"] = {}
        few = range(min(options.seeds, 3))
        if ReportKind.lifelong in kinds:
            tell("lifelong-learning metrics")
            own["lifelong"] = {
                arm: {str(b): lifelong(arm, b, few) for b in sizes} for arm in names if ARMS[arm].curve is not None
            }
        if ReportKind.recognition in kinds:
            tell("recognition, recall, retention")
            own["recognition"] = recognition(few)
    if out is not None:
        write_retention(summary, out)
    typer.echo(json.dumps(finite(summary), indent=2) if as_json else as_markdown(summary), nl=as_json)


def _named(listed: str, known: Collection[str]) -> list[str]:
    """The names between commas; that of an arm may hold one."""
    names: list[str] = []
    for name in filter(None, map(str.strip, listed.split(","))):
        if names and f"{names[-1]}, {name}" in known:
            names[-1] += f", {name}"
        else:
            names.append(name)
    return names


def contradictions(
    people: Annotated[int, typer.Option("--people", min=10, help="Of a made-up town.")] = 150,
    changed: Annotated[float, typer.Option("--changed", help="Share of facts that change.")] = 0.15,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Towns of each kind.")] = 3,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Towns with relations that no constant was chosen on.")
    ] = False,
    retold: Annotated[
        float, typer.Option("--retold", min=0, max=100, help="How often each fact is told again, in the mean.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Whether facts that changed are found to have ended, and those left alone that did not."""
    from hippomem_eval.contradictions import as_text, measure_contradictions

    measured = measure_contradictions(people, changed, seeds, held_out, retold)
    typer.echo(json.dumps(measured, indent=2) if as_json else as_text(measured), nl=as_json)
