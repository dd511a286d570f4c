"""What all routes share: the memory of the namespace in the path, and that it is a route of a namespace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BeforeValidator

from hippomem import InvalidInputError, Memory
from hippomem_server.memories import Memories
from hippomem_server.paths import PREFIX, name_in
from hippomem_server.problems import documented

LINES = "application/x-ndjson"  # JSON documents, one a line
Namespace = Annotated[
    str, BeforeValidator(name_in), Path(max_length=255, description="whose memory; a slash in its name is sent as %2F")
]
Id = Annotated[str, Path(description="the id of a memory, also one that it had before an update")]


def router(tag: str) -> APIRouter:
    """A router for routes of one namespace; each names what it may answer beside what all may (`documented`)."""
    return APIRouter(
        prefix=f"/{PREFIX}/{{namespace}}",
        tags=[tag],
        dependencies=[Depends(_only_known)],
        responses=documented(404, 409, 501, 507),
    )


def _only_known(request: Request) -> None:
    """Refuses what is no query parameter of the route: a misspelt `session` would list those of all, without a word."""
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    if unknown := set(request.query_params) - set(known):
        told = f"this takes {', '.join(known)}" if known else "this takes none"
        raise InvalidInputError(f"there is no query parameter {', '.join(map(repr, sorted(unknown)))}: {told}")


def memories_of(request: Request) -> Memories:
    """The memories that the server has open."""
    memories = request.app.state.memories
    assert isinstance(memories, Memories)  # noqa: S101
    return memories


def _opened(namespace: Namespace, request: Request) -> Iterator[Memory]:
    with memories_of(request).use(namespace) as memory:
        yield memory


Opened = Annotated[Memory, Depends(_opened)]
