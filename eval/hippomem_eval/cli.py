"""`hippomem eval`: the benchmarks as commands. What is heavy is imported inside of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hippomem import HippomemError


class _Group(TyperGroup):
    """Turns what the library raises into a line and an exit code, also where this is not under `hippomem`."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except HippomemError as error:
            _tell(f"error: {error}")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            _tell("interrupted: what was measured is kept, the same command goes on from there")
            raise typer.Exit(130) from None


app = typer.Typer(cls=_Group, no_args_is_help=True, pretty_exceptions_enable=False)

Questions = Annotated[Path, typer.Option("--questions", metavar="FILE", help="Questions with their gold passages.")]
Corpus = Annotated[
    Path | None,
    typer.Option("--corpus", metavar="FILE", help="The passages; without it, the contexts in the questions' file."),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first questions.")]
K = Annotated[int, typer.Option("--k", min=1, help="How many passages to recall.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.callback()
def evaluate() -> None:
    """Measure retrieval and its cost on published data sets. The files are yours to bring: see eval/README.md."""


@app.command()
def multihop(
    questions: Questions,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Index and results; run again to go on.")],
    corpus: Corpus = None,
    limit: Limit = None,
    k: K = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the bootstrap intervals.")] = 0,
    system: Annotated[str, typer.Option("--system", metavar="NAMES", help="Separated by commas.")] = "hippomem",
    as_json: Json = False,
) -> None:
    """Recall of gold passages on multi-hop questions, and what a recall costs."""
    from hippomem_eval.report import as_markdown, contract, summarise, write_report
    from hippomem_eval.runner import Options, run_multihop
    from hippomem_eval.systems import SYSTEMS

    systems = list(dict.fromkeys(name.strip() for name in system.split(",")))
    unknown = [name for name in systems if name not in SYSTEMS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(SYSTEMS)}", param_hint="--system")
    options = Options(questions=questions, corpus=corpus, out=out, systems=systems, limit=limit, k=k, seed=seed)
    summary = summarise(run_multihop(options, _tell), options)
    write_report(summary, out)
    _print(contract(summary)) if as_json else typer.echo(as_markdown(summary), nl=False)


@app.command()
def latency(
    questions: Questions,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where latency.json goes.")],
    corpus: Corpus = None,
    limit: Limit = None,
    k: K = 5,
    as_json: Json = False,
) -> None:
    """Ingest into a fresh memory in a process of its own: CPU time by part, peak memory, disk, cost of a recall."""
    from hippomem_eval.latency import as_text, measure_latency

    measured = measure_latency(questions, corpus, out, limit=limit, k=k)
    _print(measured) if as_json else typer.echo(as_text(measured), nl=False)


def _print(value: object) -> None:
    # ASCII: a terminal of any encoding can show it, and names in data sets are strangers' texts.
    typer.echo(json.dumps(value, indent=2))


def _tell(message: str) -> None:
    typer.echo(" ".join(message.split()), file=sys.stderr)
