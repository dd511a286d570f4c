"""What several commands take: the database, whose memory, what of it, whether to print JSON; and opening the memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hippomem.cli_input import existing_database
from hippomem.cli_output import print_note

if TYPE_CHECKING:
    from hippomem.memory import Memory

Db = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="FILE",
        help="The database, or its URL. Otherwise HIPPOMEM_DB, hippomem.toml, hippomem.db.",
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", metavar="NAME", help="Whose memory. Otherwise HIPPOMEM_NAMESPACE, …, default."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
OnlySession = Annotated[str | None, typer.Option("--session", help="Only what belongs to this session; '': to none.")]
OnlySource = Annotated[
    str | None, typer.Option("--source", help="Only what came from there; from all below it if it ends in /.")
]
AsOf = Annotated[str | None, typer.Option("--as-of", help="As the memory was then: 2024-05-01T12:00Z.")]
Deep = Annotated[bool, typer.Option("--deep", help="Also what is archived or superseded.")]
Llm = Annotated[str | None, typer.Option("--llm", metavar="PROVIDER:MODEL", help="Otherwise HIPPOMEM_LLM.")]


@contextmanager
def opened(db: str | None, namespace: str | None, *, new: bool = False, **options: Any) -> Iterator[Memory]:
    """The memory, closed at the end. Only what puts something in may make a `new` database: names get mistyped."""
    from hippomem.memory import Memory

    if not new:
        existing_database(db)
    with Memory.open(db, namespace=namespace, **options) as memory:
        yield memory


def known_source(memory: Memory, source: str | None, session: str | None) -> str | None:
    """The source as the memory knows it, which may be by its whole path. Says so where nothing came from there, or
    belongs to the session.
    """
    if session and not memory.passages(session=session, limit=1):
        print_note(f"no memory belongs to the session {session!r}")
    if not source or memory.passages(source=source, limit=1):
        return source
    path = os.path.realpath(source) + "/" * source.endswith("/")
    if memory.passages(source=path, limit=1):
        return path
    below = memory.passages(source=path + "/", limit=1) and f": for all below it, {source + '/'!r}"
    print_note(f"no memory came from the source {source!r}{below or ' (hippomem sources lists them)'}")
    return source
