"""Ingest over HTTP: files as a form, records as JSON lines. Both go on where they were when they are sent again."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Annotated, Any

from fastapi import File as Uploaded
from fastapi import Query, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from hippomem import Failure, File, IngestReport, InvalidInputError
from hippomem_server.aside import Folder
from hippomem_server.jobs import Jobs, Tell
from hippomem_server.memories import Memories
from hippomem_server.problems import unsaved
from hippomem_server.routes import LINES, Namespace, memories_of, router

EVENTS = "text/event-stream"
NAME_BYTES = 200  # of a file's name on the disk
ALL_BAD = 1000  # lines without a record, after which it is something else that was sent
_DEVICE = re.compile(r"(con|prn|aux|nul|con(in|out)\$|(com|lpt)[0-9¹²³])\s*(\.|$)", re.IGNORECASE)  # of Windows
_EVENT = {
    "type": "object",
    "description": "One event.",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["progress", "report", "problem"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_TOLD: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events, their data as JSON: `progress` with `read` and `total` bytes and the "
        "`passages` stored, which no crash takes away; at the end `report` (an IngestReport) or `problem` (a Problem).",
        "content": {EVENTS: {"schema": _EVENT}},
    }
}
routes = router("ingest")


@routes.post(
    "/ingest/files",
    operation_id="ingest_files",
    summary="Take in files",
    response_class=StreamingResponse,
    responses=_TOLD,
)
async def ingest_files(
    namespace: Namespace,
    request: Request,
    files: Annotated[list[UploadFile], Uploaded(description="text, Markdown, HTML, PDF, Word, JSON, CSV, …")],
    below: Annotated[str, Query(description="what their sources begin with, such as docs/")] = "",
) -> StreamingResponse:
    """Take in files. The source of each is its name; sent again, it is skipped where it is unchanged, and replaces what
    it was where not. The ingest goes on to its end also where the client goes away.
    """
    named = _by_source(files, below)
    try:
        folder = Folder()
    except OSError as error:
        raise unsaved(error) from error
    try:
        kept = await run_in_threadpool(_kept, named, Path(folder.name))
    except OSError as error:
        folder.cleanup()
        raise unsaved(error) from error
    work = partial(_ingest_files, memories_of(request), namespace, kept)
    return StreamingResponse(_jobs(request).start(work, folder.cleanup), media_type=EVENTS)


@routes.post(
    "/ingest/records",
    operation_id="ingest_records",
    summary="Take in records",
    response_class=StreamingResponse,
    responses=_TOLD,
    openapi_extra={"requestBody": {"required": True, "content": {LINES: {"schema": {"type": "string"}}}}},
)
async def ingest_records(namespace: Namespace, request: Request) -> StreamingResponse:
    """Take in records, a JSON object a line: `text`, and where wanted `title`, `source`, `session`, `occurred_at`,
    `triples`; all else is metadata. What is in already is not read again. What fails is in the report, as
    `records#INDEX`, and does not stop the rest; where the first 1,000 lines hold no record, that is the `problem`.
    """
    try:
        spool = tempfile.TemporaryFile()  # noqa: SIM115
    except OSError as error:
        raise unsaved(error) from error
    try:
        async for chunk in request.stream():
            spool.write(chunk)
        size = spool.tell()
        spool.seek(0)
    except OSError as error:
        spool.close()
        raise unsaved(error) from error
    except ClientDisconnect:
        spool.close()
        raise HTTPException(400, "what was sent ends before its end") from None
    except BaseException:
        spool.close()
        raise
    work = partial(_ingest_records, memories_of(request), namespace, spool, size)
    return StreamingResponse(_jobs(request).start(work, spool.close), media_type=EVENTS)


def _jobs(request: Request) -> Jobs:
    jobs = request.app.state.jobs
    assert isinstance(jobs, Jobs)  # noqa: S101
    return jobs


def _by_source(files: Sequence[UploadFile], below: str) -> dict[str, UploadFile]:
    named: dict[str, UploadFile] = {}
    for file in files:
        source = below + (file.filename or "")
        if not (file.filename or "").strip() or not source.isprintable():
            raise InvalidInputError(f"{source!r} is no name for a file: it is empty or holds control characters")
        if source in named:
            raise InvalidInputError(f"two files are called {source!r}: the second would replace the first")
        named[source] = file
    return named


def _kept(named: dict[str, UploadFile], folder: Path) -> list[File]:
    """The uploads as files, each in a folder of its own; no name leads out of that."""
    kept = []
    for number, (source, upload) in enumerate(named.items()):
        own = folder / str(number)
        own.mkdir()
        path = own / _name_on_disk(upload.filename or "")
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file)
        kept.append(File(path, source))
    return kept


def _name_on_disk(given: str) -> str:
    """The last part of a name, as a file can be called here. On Windows "C:notes.md" leads to another drive, "nul.md"
    nowhere, and a dot at the end away."""
    last = given.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    name = last.encode()[-NAME_BYTES:].decode(errors="ignore")
    if sys.platform == "win32":
        name = re.sub('[<>:"|?*]', "_", name).rstrip(". ")
        name = "_" * bool(_DEVICE.match(name)) + name
    return name if name not in ("", ".", "..") else "file"


def _ingest_files(memories: Memories, namespace: str, files: Sequence[File], tell: Tell) -> IngestReport:
    with memories.use(namespace) as memory:
        return memory.ingest(files, progress=tell)


def _ingest_records(memories: Memories, namespace: str, spool: IO[bytes], size: int, tell: Tell) -> IngestReport:
    bad: dict[str, str] = {}
    with memories.use(namespace) as memory:
        report = memory.ingest(
            _records(spool, bad), progress=lambda _, __, passages: tell(spool.tell(), size, passages)
        )
    failed = tuple(Failure(one.source, bad.get(one.source, one.reason)) for one in report.failed)
    return replace(report, failed=failed)


def _records(lines: IO[bytes], bad: dict[str, str]) -> Iterator[Any]:
    """What the lines hold. In the place of one that is not JSON, whose reason goes into `bad`, stands None, which fails
    too: so that records keep their number. Of a table or of JSON over several lines, each line would fail, and a report
    of millions might be more than there is memory for: InvalidInputError where the first ALL_BAD hold no record.
    """
    is_any = False
    for number, line in enumerate(filter(bytes.strip, iter(lines.readline, b""))):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            bad[f"records#{number}"] = f"is not JSON: {error}"
            record = None
        is_any = is_any or isinstance(record, dict | str)
        if number + 1 == ALL_BAD and not is_any:
            raise InvalidInputError(f"the first {ALL_BAD:,} lines hold no record: send a JSON object on each line")
        yield {"text": record} if isinstance(record, str) else record
