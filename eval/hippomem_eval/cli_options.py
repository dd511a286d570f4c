"""What the commands share: options, and what they print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

Questions = Annotated[Path, typer.Option("--questions", metavar="FILE", help="Questions with their gold passages.")]
Corpus = Annotated[
    Path | None,
    typer.Option("--corpus", metavar="FILE", help="The passages; without it, the contexts in the questions' file."),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first questions.")]
K = Annotated[int, typer.Option("--k", min=1, help="How many passages to recall.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    # ASCII: a terminal of any encoding can show it, and names in data sets are strangers' texts.
    typer.echo(json.dumps(value, indent=2))


def tell(message: str) -> None:
    """A remark for the user, on standard error."""
    typer.echo(" ".join(message.split()), file=sys.stderr)
