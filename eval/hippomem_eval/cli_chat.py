"""`hippomem eval qa` and `hippomem eval adds`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(qa)
    app.command()(adds)


def qa(
    questions: Annotated[Path, typer.Option("--questions", metavar="FILE", help="Questions with their answers.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Index and answers; run again to go on.")],
    corpus: Annotated[Path | None, typer.Option("--corpus", metavar="FILE", help="The passages.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first questions.")] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="How many passages to read.")] = 5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the bootstrap intervals.")] = 0,
    decompose: Annotated[bool, typer.Option("--decompose", help="As for ask.")] = False,
    iterative: Annotated[bool, typer.Option("--iterative", help="As for ask.")] = False,
    llm: Annotated[str | None, typer.Option(metavar="PROVIDER:MODEL", help="Otherwise HIPPOMEM_LLM.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Exact match and F1 of answers that a chat model reads in what is recalled."""
    from hippomem_eval.qa import QaOptions, as_text, run_qa

    options = QaOptions(
        questions=questions,
        corpus=corpus,
        out=out,
        limit=limit,
        k=k,
        seed=seed,
        decompose=decompose,
        iterative=iterative,
        llm=llm,
    )
    summary = run_qa(options, lambda message: typer.echo(" ".join(message.split()), file=sys.stderr))
    typer.echo(json.dumps(summary, indent=2)) if as_json else typer.echo(as_text(summary), nl=False)


def adds(
    corpus: Annotated[Path, typer.Option("--corpus", metavar="FILE", help="Passages to add.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where adds.json goes.")],
    number: Annotated[int, typer.Option("--adds", min=1, help="How many.")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the order and the intervals.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """What an add takes with a chat model set, next to one without: paired, the same texts."""
    from hippomem_eval.adds import as_text, measure_adds

    measured = measure_adds(corpus, out, adds=number, seed=seed)
    typer.echo(json.dumps(measured, indent=2)) if as_json else typer.echo(as_text(measured), nl=False)
