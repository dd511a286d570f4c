"""The application: which memories, which tokens, which limits, and all routes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware

import hippomem
from hippomem import InvalidInputError, Memory
from hippomem_server import asking, console, ingesting, remembering, upkeep
from hippomem_server.aside import clear_left
from hippomem_server.guard import LOOPBACK, Guard, known_as
from hippomem_server.jobs import Jobs
from hippomem_server.memories import Memories
from hippomem_server.problems import Problem, documented, handle_in
from hippomem_server.shapes import Bearer, Health
from hippomem_server.tokens import Grant, Tokens

DESCRIPTION = """Long-term memory of agents. Each namespace is a memory of its own. Every request to `/v1` bears a \
token (`Authorization: Bearer …`), which is for some namespaces, to read or to write. What goes wrong is a problem as \
RFC 9457 has it."""

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*\s]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Limits of a server. `hosts` are the names that it may be called by (those of this machine's loopback), None for
    any; `origins` the sites whose pages may ask it from a browser, beside its own console.
    """

    hosts: Collection[str] | None = LOOPBACK
    origins: Collection[str] = ()
    body_bytes: int = 1 << 20
    upload_bytes: int = 64 << 20
    most_open: int = 16


def create_app(opened: str | Path | Callable[[str], Memory], tokens: Tokens, options: Options | None = None) -> FastAPI:
    """A server of memories: those of a database, by path or URL, or `opened(namespace)`. It closes them at its end.

    Whether there is a chat model, and with it `ask`, the environment says (HIPPOMEM_LLM), or a memory that `opened`
    gave before anything is asked. Raises InvalidInputError for a host or an origin that is none, and what opening the
    memory raises.
    """
    limits = options or Options()
    hosts = None if limits.hosts is None else frozenset(map(_host, limits.hosts))
    origins = list(map(_origin, limits.origins))
    db = None if callable(opened) else str(opened)
    open_one: Callable[[str], Memory] = opened if callable(opened) else lambda name: Memory.open(db, namespace=name)
    memories, jobs = Memories(open_one, limits.most_open), Jobs()
    with memories.use("default") as memory:  # what cannot be opened is told before anything is served
        can_ask = memory.settings.llm is not None

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(clear_left)
        yield
        jobs.stop()
        await jobs.ended()
        await run_in_threadpool(memories.close)

    app = FastAPI(
        title="hippomem",
        version=hippomem.__version__,
        description=DESCRIPTION,
        docs_url=None,  # which load scripts from elsewhere
        redoc_url=None,
        lifespan=living,
        redirect_slashes=False,
    )
    app.state.memories, app.state.jobs = memories, jobs
    handle_in(app)
    _add_own(app, can_ask)
    for part in (remembering.routes, asking.routes, ingesting.routes, upkeep.routes):
        app.include_router(part)
    if can_ask:
        app.include_router(asking.with_ask())
    console.serve_in(app)
    _describe(app)
    app.add_middleware(
        Guard,
        tokens=tokens,
        hosts=hosts,
        body_bytes=limits.body_bytes,
        upload_bytes=limits.upload_bytes,
        is_stopping=jobs.is_stopping,
    )
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["authorization", "content-type"],
        )
    return app


def _host(name: str) -> str:
    known = known_as(name)
    if not known or set(name) & set("/*?@ "):
        raise InvalidInputError(f"{name!r} is no name of a host: give one such as memory.example, without https://")
    return known


def _origin(site: str) -> str:
    """A site as browsers name it. Any other way of writing would never be theirs."""
    known = site.rstrip("/").lower()
    if known not in ("*", "null") and not _ORIGIN.fullmatch(known):
        raise InvalidInputError(f"{site!r} is no site: give its origin, such as https://notes.example, without a path")
    return known


def _add_own(app: FastAPI, can_ask: bool) -> None:
    @app.get("/healthz", operation_id="health", tags=["server"], summary="Whether the server is there")
    async def health() -> Health:
        """Needs no token."""
        return Health(status="ok")

    @app.get("/v1", operation_id="bearer", tags=["server"], summary="What a token is for", responses=documented())
    async def bearer(request: Request) -> Bearer:
        """What the token of this request is for."""
        grant: Grant = request.state.grant
        return Bearer(
            name=grant.name,
            namespaces=sorted(grant.namespaces),
            access="write" if grant.may_write else "read",
            can_ask=can_ask,
        )


def _describe(app: FastAPI) -> None:
    """What the schema says beyond the routes: the problems, and the tokens."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = made()
            parts = schema.setdefault("components", {})
            parts.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
            parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            for path, methods in schema["paths"].items():
                for operation in methods.values():
                    operation["security"] = [{"token": []}] if path.startswith("/v1") else []
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
