"""Running the server: on which address, with which tokens, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from hippomem import InvalidInputError, Memory
from hippomem_server.app import Options, create_app
from hippomem_server.guard import LOOPBACK, STALLED_SECONDS
from hippomem_server.tokens import Tokens
from hippomem_tools.addresses import is_loopback, listening, url_of


def serve(
    opened: str | Path | Callable[[str], Memory],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    tokens: Path | None = None,
    options: Options | None = None,
    told: Callable[[str, str | None], None],
) -> None:
    """Serve until interrupted; then requests under way end, and ingests after the transaction that they are at.

    Without a file of `tokens` there is one for everything, for this run. `told` is called once the server listens, with
    its address and that token. Raises InvalidInputError where others than this machine could ask and no file says who
    may, or the address is taken, what `Tokens.read` raises, and what opening the memory raises.
    """
    is_local = is_loopback(host)
    if tokens is None and not is_local:
        raise InvalidInputError(
            f"{host} can be reached by others: name a file of tokens (--tokens; --new-token makes its entries), or use "
            "127.0.0.1"
        )
    known, secret = (Tokens.read(tokens), None) if tokens else Tokens.for_one_run()
    limits = options or Options()
    if not is_local and set(limits.hosts or ()) == set(LOOPBACK):
        limits = replace(limits, hosts=None)  # others have names for it that nobody has told
    elif limits.hosts is not None:
        limits = replace(limits, hosts=[*limits.hosts, host])  # or what is told would not be answered
    _take_all_files()
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # what is wrong with a form, its sender is told
    with listening(host, port) as bound:  # before a database is opened, which may make one
        app = create_app(opened, known, limits)
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        told(f"{url_of(host, bound.getsockname()[1])}/", secret)
        _Server(config, app).run(sockets=[bound])


def _take_all_files() -> None:
    """Open as many files as this process may: what it begins with, often 1,024 or 256, is for programs of the past, and
    an open namespace holds dozens."""
    if sys.platform == "win32":
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems say that there is no limit, and have one
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Server(uvicorn.Server):
    """A server that ends when it is asked to: ingests, and clients that fell asleep amid an answer, would keep it."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: as uvicorn handles it, and ingests stop."""
        self._app.state.jobs.stop()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn ends, without those to whom nothing can be sent any more."""
        dropping = asyncio.create_task(self._drop_stalled())
        await super().shutdown(sockets)
        dropping.cancel()

    async def _drop_stalled(self) -> None:
        before: dict[asyncio.Transport, int] = {}
        while True:
            await asyncio.sleep(STALLED_SECONDS)
            unsent = {one.transport: one.transport.get_write_buffer_size() for one in self.server_state.connections}
            for transport, size in unsent.items():
                if size and size == before.get(transport):
                    transport.abort()
            before = unsent
