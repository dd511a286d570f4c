"""What went wrong, as RFC 9457 has it (application/problem+json): which error is which status, and what is told."""

from __future__ import annotations

import errno
import inspect
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from hippomem import (
    EncoderMismatchError,
    HippomemError,
    InputTooLargeError,
    InvalidInputError,
    MissingDependencyError,
    ModelError,
    NotFoundError,
    SourceError,
    StoreError,
    StoreFullError,
)
from hippomem_tools import faults

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
_NOWHERE = "nothing is here: /openapi.json lists what is; a slash in the name of a namespace is sent as %2F"
log = logging.getLogger("hippomem")

# The first that fits.
STATUS: tuple[tuple[type[HippomemError], int], ...] = (
    (InputTooLargeError, 413),
    (InvalidInputError, 422),
    (NotFoundError, 404),
    (SourceError, 422),
    (StoreFullError, 507),
    (EncoderMismatchError, 409),
    (StoreError, 503),
    (ModelError, 503),
    (MissingDependencyError, 501),
    (HippomemError, 500),
)


class Problem(BaseModel):
    """What went wrong, as RFC 9457 says it."""

    type: str = Field(default="about:blank", description="what kind of problem: the status alone says so")
    title: str = Field(description="the status in words")
    status: int = Field(description="the status of the answer")
    detail: str = Field(description="what was wrong, and what to do about it")
    error: str | None = Field(default=None, description="which error of hippomem it was")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that may answer with these statuses, beside those that each may."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({400, 401, 403, 413, 422, 500, 503, *statuses})
    }


def problem_of(error: HippomemError) -> Problem:
    """What a client is told of an error. What the database says may be about other namespaces or this machine: of that
    only the kind is told, and the rest is logged.
    """
    status = next(status for kind, status in STATUS if isinstance(error, kind))
    detail = str(error)
    if isinstance(error, StoreError):
        log.error("%s: %s", type(error).__name__, error)
        detail = inspect.cleandoc(type(error).__doc__ or "The database failed.")
    return _problem(status, detail, type(error).__name__)


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer that says so."""
    more = {"retry-after": str(RETRY_SECONDS)} if problem.status == 503 else {}
    content = jsonable_encoder(problem, exclude_none=True)
    return JSONResponse(content, problem.status, {**more, **(headers or {})}, MEDIA_TYPE)


def refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An answer for what is no error of hippomem's."""
    return answer(_problem(status, detail), headers)


def unsaved(error: OSError, what: str = "what was sent") -> HTTPException:
    """What is answered where something could not be put aside."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return HTTPException(507 if full else 503, f"the server cannot keep {what}: its disk is full or not to write")


def handle_in(app: FastAPI) -> None:
    """Have an application answer errors so."""

    async def ours(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HippomemError)  # noqa: S101
        return answer(problem_of(error))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101
        if error.status_code == 400 and isinstance(error.__cause__, OSError):  # as the files of a form were put aside
            error = unsaved(error.__cause__)
        is_nowhere = error.status_code == 404 and error.detail == "Not Found"  # what is said where no route is found
        headers = {**(error.headers or {}), **(_allowed(request) if error.status_code == 405 else {})}
        return refusal(error.status_code, _NOWHERE if is_nowhere else str(error.detail), headers)

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        if any(one["type"] == "json_invalid" for one in error.errors()):
            return refusal(400, "the body is not JSON")
        if any(isinstance(one.get("input"), bytes) for one in error.errors()):  # curl -d says that it is a form
            return refusal(422, "the body is not said to be JSON: send it with Content-Type: application/json")
        return refusal(422, faults(error))

    async def unforeseen(_: Request, __: Exception) -> JSONResponse:  # the server logs it
        return refusal(500, "an error of the server; its log has more")

    app.add_exception_handler(HippomemError, ours)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unforeseen)


def _allowed(request: Request) -> dict[str, str]:
    """The header that says what a place can be asked, by all its routes: the framework tells of one."""
    path = getattr(request.scope.get("route"), "path", None)
    methods = request.app.openapi()["paths"].get(path, ())  # nothing where it is a file of the console
    return {"Allow": ", ".join(sorted(map(str.upper, methods)))} if methods else {}


def _problem(status: int, detail: str, error: str | None = None) -> Problem:
    # What it quotes must not keep it from being sent.
    told = detail.encode("utf-8", "replace").decode()
    return Problem(type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=told, error=error)
