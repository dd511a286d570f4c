"""What every command takes: which database, whose memory, and whether to print JSON; and opening the memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hippomem.cli_input import existing_database

if TYPE_CHECKING:
    from hippomem.memory import Memory

Db = Annotated[
    str | None,
    typer.Option("--db", metavar="FILE", help="The database. Otherwise HIPPOMEM_DB, hippomem.toml, hippomem.db."),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", metavar="NAME", help="Whose memory. Otherwise HIPPOMEM_NAMESPACE, …, default."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Llm = Annotated[str | None, typer.Option("--llm", metavar="PROVIDER:MODEL", help="Otherwise HIPPOMEM_LLM.")]


@contextmanager
def opened(db: str | None, namespace: str | None, *, new: bool = False, **options: Any) -> Iterator[Memory]:
    """The memory, closed at the end. Only what puts something in may make a `new` database: names get mistyped."""
    from hippomem.memory import Memory

    if not new:
        existing_database(db)
    with Memory.open(db, namespace=namespace, **options) as memory:
        yield memory
