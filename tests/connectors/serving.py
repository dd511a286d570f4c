"""Servers for tests: on a thread or in a process of its own, on a real port, asked by a real client."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from hippomem import Memory
from hippomem.testing import HashEncoder, capitals
from hippomem_server import Options, Tokens, create_app
from hippomem_tools.addresses import listening

TLS = ssl.create_default_context()  # which no client here needs, and each would take a moment to make
PROCESS = str(Path(__file__).with_name("server_process.py"))


def opener(db: Path, **options: Any) -> Callable[[str], Memory]:
    """Opens memories of a database that need no model."""
    known = {"encoder": HashEncoder(), "pipeline": capitals()} | options
    return lambda name: Memory.open(db, namespace=name, **known)


def served(
    opened: Callable[[str], Memory], tokens: Tokens, options: Options | None = None
) -> AbstractContextManager[str]:
    """A server on a thread: its address."""
    return served_app(create_app(opened, tokens, options))


@contextmanager
def served_app(app: Any) -> Iterator[str]:
    """Any application on a thread: its address."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    with listening("127.0.0.1", 0) as bound:
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


@contextmanager
def client_of(url: str, token: str | None, namespace: str = "default") -> Iterator[httpx.Client]:
    """A client of one namespace."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(
        base_url=f"{url}/v1/{namespace}", headers=headers, timeout=60, trust_env=False, verify=TLS
    ) as client:
        yield client


@contextmanager
def process(db: Path, *arguments: str, before: Sequence[str] = ()) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A server in a process of its own, which `before` may start: the process, its address, its token."""
    command = [*before, sys.executable, PROCESS, str(db), *arguments]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    try:
        url, token = running.stdout.readline().split()
        yield running, url.rstrip("/").replace("0.0.0.0", "127.0.0.1"), token  # noqa: S104
    finally:
        running.kill()
        running.wait(30)
        running.stdout.close()


def events_of(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """Server-sent events: their names and data, as they come."""
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))
