"""The memory as a whole: counts, checks, a round of consolidation, an export."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

from hippomem import Budget, Check, Memory, Report, StoreAccessError
from hippomem_server.aside import Folder
from hippomem_server.problems import unsaved
from hippomem_server.routes import LINES, Namespace, Opened, memories_of, router
from hippomem_server.shapes import Counts, Diagnosed, Round

CHUNK = 1 << 16
# Of the database, which is that of all namespaces, and of this machine.
_NOT_TOLD = frozenset({"bytes", "db", "views", "outages"})
log = logging.getLogger("hippomem")
routes = router("upkeep")


@routes.get("/stats", operation_id="stats", summary="How much is remembered")
def stats(memory: Opened) -> Counts:
    """What is remembered, counted. What `hippomem stats` says of the whole database is left out."""
    return Counts.model_validate({name: count for name, count in memory.stats().items() if name not in _NOT_TOLD})


@routes.get("/doctor", operation_id="doctor", summary="Check everything")
def doctor(memory: Opened) -> Diagnosed:
    """Check that the database is sound and that every index equals its rebuild. It takes a while where much is
    remembered. What is wrong with the database is in the log of the server: it may be about other namespaces.
    """
    found = memory.doctor()
    return Diagnosed(ok=found.ok, checks=list(map(_told, found.checks)))


def _told(check: Check) -> Check:
    if check.ok or check.name != "database":
        return check
    log.error("the database is not sound: %s", check.detail)
    return Check(check.name, ok=False, detail="the log of the server says what is wrong")


@routes.post("/consolidate", operation_id="consolidate", summary="Do what is due")
def consolidate(memory: Opened, budget: Round) -> Report:
    """One round of what is due: memories are tested, helped where they are not found, merged, archived. Nothing is
    deleted. Call it again while a step is not `is_done`.
    """
    spent = Budget(units=budget.units, seconds=budget.seconds, tokens=budget.tokens)
    return memory.consolidate(budget=spent, dry_run=budget.dry_run)


@routes.get(
    "/export",
    operation_id="export",
    summary="All of it, as JSON lines",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "What `hippomem import` reads. It is whole where its last line is of the type `end`.",
            "content": {LINES: {"schema": {"type": "string"}}},
        }
    },
)
def export(namespace: Namespace, request: Request) -> StreamingResponse:
    """All that this namespace holds, vectors included, as it is at one moment."""
    try:
        folder = Folder()
    except OSError as error:
        raise unsaved(error, "an export") from error
    try:
        with memories_of(request).use(namespace) as memory:
            _write(memory, Path(folder.name, "export.jsonl"))
    except BaseException:
        folder.cleanup()
        raise
    attached: dict[str, Any] = {"content-disposition": 'attachment; filename="export.jsonl"'}
    return StreamingResponse(_read(folder), media_type=LINES, headers=attached)


def _write(memory: Memory, file: Path) -> None:
    try:
        memory.export(file)
    except StoreAccessError as error:
        if isinstance(error.__cause__, OSError):  # the file's, and not the database's
            raise unsaved(error.__cause__, "an export") from error
        raise


def _read(folder: Folder) -> Iterator[bytes]:
    with folder, Path(folder.name, "export.jsonl").open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
