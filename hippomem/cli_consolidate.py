"""`hippomem consolidate` and `hippomem worker`: rounds of what is due, once or until stopped."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from hippomem import cli_output as out
from hippomem.cli_input import moment_of
from hippomem.cli_options import Db, Json, Llm, Namespace, opened
from hippomem.cli_plot import check_picture, draw_retention, retention_lines
from hippomem.cli_worker import InTurn, OneNamespace
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
    if plot is not None:
        check_picture(plot)
    with opened(db, namespace, llm=llm) as memory:
        report = memory.consolidate(moment, Budget(units, seconds, tokens), dry_run=dry_run, progress=not as_json)
        graded = memory._graded() if plot is not None else []
    out.print_json(report) if as_json else out.print_round(report)
    if plot is not None:  # after it: what was done is told also where nothing can be drawn
        draw_retention(graded, plot)
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
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End where nothing is left to do, or a server fails for an hour.")
    ] = False,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", help="Those of the whole database in turn, new ones too.")
    ] = False,
    llm: Llm = None,
    db: Db = None,
    namespace: Annotated[
        list[str] | None, typer.Option("--namespace", metavar="NAME", help="Whose memory; may be given several times.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Do what is due until stopped (Ctrl-C), as any number of processes at once may. Prints what each round did.

    With --json, one document at the end: all rounds together.
    """
    if all_namespaces and namespace:
        raise typer.BadParameter("--all-namespaces takes no --namespace", param_hint="--all-namespaces")
    rounds: list[Report] = []
    names = list(dict.fromkeys(namespace or ()))
    with opened(db, names[0] if names else None, llm=llm) as memory:
        if len(names) < 2 and not all_namespaces:
            error = OneNamespace(memory).run(rounds, until_idle, is_silent=as_json)
        else:
            turn = InTurn(memory, names, partial(opened, db, llm=llm, encoder=memory._encoder.encoder))
            error = turn.run(rounds, until_idle, is_silent=as_json)
    if as_json:
        out.print_json(together(rounds, error))
    if error:
        raise HippomemError(error)


def together(rounds: list[Report], error: str | None) -> dict[str, Any]:
    """All rounds as one: counts added up by step."""
    counts: dict[str, dict[str, int]] = {}
    for part in (part for report in rounds for part in report.steps):
        own = counts.setdefault(part.name, {})
        for name, count in part.counts.items():
            own[name] = own.get(name, 0) + count
    usage = sum((report.usage for report in rounds), Usage())
    return {"rounds": len(rounds), "steps": counts, "usage": usage, "error": error}


def _end(report: Report) -> None:
    for part in report.steps:
        if part.error:
            raise HippomemError(f"{part.name}: {part.error}")
