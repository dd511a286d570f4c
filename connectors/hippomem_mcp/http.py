"""The server over HTTP (streamable-http), on this machine, or with a token for others."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import ClientDisconnect

from hippomem import InvalidInputError
from hippomem_tools.addresses import is_loopback, listening, url_of

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


def serve_http(
    server: MCPServer[Any],
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve at http://HOST:PORT/mcp until interrupted: KeyboardInterrupt is raised then. With a `token`, requests must
    bear it. `told` is called with that address once the server listens.

    Raises InvalidInputError where others than this machine could ask without one, or the address is taken.
    """
    if not token and not is_loopback(host):
        raise InvalidInputError(
            f"{host} can be reached by others: set HIPPOMEM_MCP_TOKEN to what clients must bear, or use 127.0.0.1"
        )
    with listening(host, port) as bound:
        told(f"{url_of(host, bound.getsockname()[1])}/mcp")
        config = uvicorn.Config(_application(server, host, token), log_level="warning")
        uvicorn.Server(config).run(sockets=[bound])


def _application(server: MCPServer[Any], host: str, token: str | None) -> Any:
    """What is served. On this machine it must be called by a name of this machine: a page of a stranger whose name
    leads here sends its own. The SDK sees to it by itself for three addresses of the many."""
    security = None
    if is_loopback(host):
        names = ["127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host]
        security = TransportSecuritySettings(
            allowed_hosts=[known for name in names for known in (name, f"{name}:*")],
            allowed_origins=[known for name in names for known in (f"http://{name}", f"http://{name}:*")],
        )
    logging.getLogger("mcp.server.streamable_http").addFilter(_is_fault)
    app: Any = server.streamable_http_app(host=host, transport_security=security)
    return _guarded(app, token) if token else app


def _is_fault(record: logging.LogRecord) -> bool:
    """All but that a client went away amid its request, of which the SDK tells as of an error, in forty lines."""
    return not (record.exc_info and isinstance(record.exc_info[1], ClientDisconnect))


def _guarded(app: App, token: str) -> App:
    """An application that answers only requests with this bearer token."""
    expected = b"Bearer " + token.encode()

    async def guarded(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        given = dict(scope.get("headers") or ()).get(b"authorization", b"")
        if scope["type"] == "http" and not hmac.compare_digest(given, expected):
            headers = [(b"www-authenticate", b"Bearer"), (b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b"a bearer token is needed\n"})
            return
        await app(scope, receive, send)

    return guarded
