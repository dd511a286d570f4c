"""`hippomem consolidate` and `hippomem worker`: rounds of what is due, once or until stopped."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from hippomem import cli_output as out
from hippomem.cli_input import moment_of
from hippomem.cli_options import Db, Json, Llm, Namespace, opened
from hippomem.cli_plot import draw_retention, retention_lines
from hippomem.errors import HippomemError
from hippomem.types import Budget, Report, Usage


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(consolidate)
    app.command()(worker)
    app.command()(undo)


def consolidate(
    now: Annotated[str | None, typer.Option(help="The moment it is about: 2024-05-01T12:00Z.")] = None,
    units: Annotated[int | None, typer.Option(min=0, help="Passages to read or replay at most.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Begin nothing after so many.")] = None,
    tokens: Annotated[int | None, typer.Option(min=0, help="Tokens of the chat model at most.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw how well memories are found, by age: a PNG.")
    ] = None,
    llm: Llm = None,
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Do what is due: replay memories at spaced intervals, merge duplicates, end contradicted facts; with a chat model,
    extract from what it has not read yet. Exit code 1 where a step failed.
    """
    moment = moment_of(now, "--now")
    with opened(db, namespace, llm=llm) as memory:
        report = memory.consolidate(moment, Budget(units, seconds, tokens), dry_run=dry_run)
        graded = memory._graded() if plot is not None else []
    if plot is not None:
        draw_retention(graded, plot)
    out.print_json(report) if as_json else print_report(report)
    if graded and not as_json:
        for line in retention_lines(graded):
            typer.echo(line)
    _end(report)


def undo(
    sequence: Annotated[int, typer.Argument(min=1, help="The number of a change, as history prints it.")],
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Undo one deed of consolidation: an archiving, a merge, a contradiction, a promotion. Prints the passage's id."""
    with opened(db, namespace) as memory:
        passage = memory.undo(sequence)
    out.print_json(passage) if as_json else typer.echo(passage.id)


def worker(
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End where nothing is left to do.")] = False,
    llm: Llm = None,
    db: Db = None,
    namespace: Namespace = None,
    as_json: Json = False,
) -> None:
    """Do what is due until stopped (Ctrl-C), as any number of processes at once may. Prints what each round did.

    With --json, one document at the end: all rounds together.
    """
    rounds: list[Report] = []

    def told(report: Report) -> None:
        rounds.append(report)
        if not as_json:
            print_report(report)

    with opened(db, namespace, llm=llm) as memory:
        if not memory._steps:
            from hippomem.neocortex.chat import none_set

            raise none_set("the worker has no work without")
        running = memory._new_worker(told)

        def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            running.ask_to_stop()

        before = [(name, signal.signal(name, stop)) for name in (signal.SIGINT, signal.SIGTERM)]
        try:
            running.run(until_idle)
        finally:
            for name, handler in before:
                signal.signal(name, handler)
    if as_json:
        out.print_json(together(rounds, running.error))
    if running.error:
        raise HippomemError(running.error)


def together(rounds: list[Report], error: str | None) -> dict[str, Any]:
    """All rounds as one: counts added up by step."""
    counts: dict[str, dict[str, int]] = {}
    for part in (part for report in rounds for part in report.steps):
        own = counts.setdefault(part.name, {})
        for name, count in part.counts.items():
            own[name] = own.get(name, 0) + count
    usage = sum((report.usage for report in rounds), Usage())
    return {"rounds": len(rounds), "steps": counts, "usage": usage, "error": error}


def print_report(report: Report) -> None:
    """A line for each step, below it what there is to say about single things."""
    console = out.screen()
    for part in report.steps:
        counts = ", ".join(f"{count:,} {name}" for name, count in part.counts.items() if count) or "nothing to do"
        usage = f"; {part.usage}" if part.usage.calls else ""
        rest = "" if part.is_done or part.error else "; more is left"
        console.print(out.styled((f"{part.name}: ", "bold"), f"{counts} in {part.seconds:.1f} s{usage}{rest}"))
        for note in part.notes:
            console.print(out.styled(("   " + out.visible(note), "dim")))


def _end(report: Report) -> None:
    for part in report.steps:
        if part.error:
            raise HippomemError(f"{part.name}: {part.error}")
