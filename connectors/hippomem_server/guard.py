"""What stands before the application: who may come in, by which name, with how much. It decides before a body is read.

What a request asks for is told by its method and path alone: `/v1/NAMESPACE/…`. To read are GET and the questions that
are POSTed; all else is to write, also what may be added later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hippomem_server.paths import PREFIX, name_in, own_path, with_name_kept
from hippomem_server.problems import refusal
from hippomem_server.tokens import Grant, Tokens

QUESTIONS = frozenset({"recall", "ask"})
UPLOADS = "ingest"  # below it bodies may be large
STALLED_SECONDS = 2.0
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)


@dataclass(frozen=True, slots=True)
class Guard:
    """An application behind it answers only requests that may be made.

    `hosts` are the names that it may be `known_as`, None for any: a page of a stranger whose name leads to this machine
    sends its own. `body_bytes` and `upload_bytes` are what a body may have. Where the server `is_stopping`, bodies of
    which nothing comes any more are not waited for.
    """

    app: ASGIApp
    tokens: Tokens
    hosts: Collection[str] | None
    body_bytes: int
    upload_bytes: int
    is_stopping: Callable[[], bool]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # answered as GET; what sends the answer leaves out the body
            scope = {**scope, "method": "GET"}
        scope = with_name_kept(scope)
        headers = dict(scope["headers"])
        parts = [part for part in own_path(scope).split("/") if part]
        is_upload = len(parts) > 2 and parts[2] == UPLOADS
        limit = self.upload_bytes if is_upload else self.body_bytes
        refused = self._refused(scope, headers, parts) or _too_large(headers.get(b"content-length"), limit)
        app = refused or self.app
        await app(scope, _limited(receive, limit, self.is_stopping), _with_headers(send))

    def _refused(self, scope: Scope, headers: dict[bytes, bytes], parts: list[str]) -> ASGIApp | None:
        if self.hosts is not None and known_as(headers.get(b"host", b"").decode("latin-1")) not in self.hosts:
            return refusal(421, "this server is not known by that name: call it by its own, or name it by --allow-host")
        if not parts or parts[0] != PREFIX:
            return None
        grant = self._grant(headers.get(b"authorization", b""))
        if grant is None:
            # As long as the token is wrong, nothing is told but that.
            asked = {"www-authenticate": 'Bearer realm="hippomem"'}
            return refusal(401, "a token of this server is needed: Authorization: Bearer TOKEN", asked)
        scope.setdefault("state", {})["grant"] = grant
        if len(parts) < 2:
            return None
        if not grant.covers(name_in(parts[1])):
            return refusal(403, "this token is not for that namespace")
        is_question = len(parts) == 3 and scope["method"] == "POST" and parts[2] in QUESTIONS
        if not (is_question or grant.may_write or scope["method"] in ("GET", "OPTIONS")):
            return refusal(403, "this token is to read, not to write")
        return None

    def _grant(self, authorization: bytes) -> Grant | None:
        scheme, _, token = authorization.decode("latin-1").partition(" ")
        return self.tokens.grant(token.strip()) if scheme.lower() == "bearer" else None


def known_as(host: str) -> str:
    """A host by which a server is called, without its port; an IPv6 address in its brackets."""
    name = host.lower()
    if name.startswith("["):
        return name[: name.find("]") + 1]
    return f"[{name}]" if name.count(":") > 1 else name.partition(":")[0]


def _too_large(length: bytes | None, limit: int) -> ASGIApp | None:
    if length is not None and length.isdigit() and int(length[:20]) > limit:
        return refusal(413, _over(limit))
    return None


def _over(limit: int) -> str:
    return f"a body here may have {limit:,} bytes at most: send less at a time"


def _limited(receive: Receive, limit: int, is_stopping: Callable[[], bool]) -> Receive:
    """What is received, which may not say beforehand how much it is."""
    left, is_whole = limit, False

    async def received() -> Message:
        nonlocal left, is_whole
        message = await (receive() if is_whole else _arriving(receive, is_stopping))
        is_whole = not message.get("more_body", False)
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, _over(limit))
        return message

    return received


async def _arriving(receive: Receive, is_stopping: Callable[[], bool]) -> Message:
    """The next of a body. A client that fell asleep amid an upload would keep a server from stopping for ever."""
    coming = asyncio.ensure_future(receive())
    try:
        while not (await asyncio.wait([coming], timeout=STALLED_SECONDS))[0]:
            if is_stopping():
                raise HTTPException(503, "the server is stopping: send it again")
        return coming.result()
    finally:
        coming.cancel()


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message.get("headers", ())}
            rest = [pair for pair in HEADERS if pair[0] not in own]
            message = {**message, "headers": [*message.get("headers", ()), *rest]}
        await send(message)

    return sent
