"""An OpenAI-compatible server on 127.0.0.1 that answers about passages as it was recorded, and fails as planned."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from openai_server import completion, failure

NOTHING: dict[str, Any] = {"entities": [], "triples": []}  # about what was not recorded
FAULTS = ("429", "500", "hang", "cut off", "garbage", "wrong type")


@dataclass
class FaultyServer:
    """`recorded` are the answers by text; a share of the calls fails, by one fault after the other, or all by the fault
    that it is `down` with; those about a text with the word `poison` get a 500, or what `poisoned` says.

    What it counts is what a provider would charge for: `answered` calls with their tokens; `paid` is how often each
    text had an answer that was of use.
    """

    recorded: Mapping[str, Mapping[str, Any]]
    share: float = 0.0
    faults: tuple[str, ...] = FAULTS
    seconds: float = 0.0
    down: str = ""
    poison: str = ""
    poisoned: str = "500"
    retry_after: str = "0"
    requests: int = 0
    answered: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    began: list[float] = field(default_factory=list)
    open_now: int = 0
    most_open: int = 0
    url: str = ""
    _random: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311

    async def reply(self, request: Request) -> Response:
        body = await request.json()
        self.requests += 1
        self.began.append(time.monotonic())
        self.bodies.append(body)
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            return await self._reply(body, request)
        finally:
            self.open_now -= 1

    async def _reply(self, body: dict[str, Any], request: Request) -> Response:
        fault = self.down
        if not fault and self.poison and self.poison in body["messages"][-1]["content"]:
            fault = self.poisoned
        elif not fault and self._random.random() < self.share:
            fault = self.faults[sum(self.happened.values()) % len(self.faults)]
            self.happened[fault] += 1
        await asyncio.sleep(self.seconds)
        if fault in ("429", "503"):
            return JSONResponse(failure("slow down"), int(fault), {"Retry-After": self.retry_after})
        if fault in ("500", "401", "400"):
            return JSONResponse(failure("out of order"), int(fault))
        if fault == "wrong type":
            return HTMLResponse("<html>proxy error</html>")
        if fault == "hang":
            while not await request.is_disconnected():
                await asyncio.sleep(0.05)
            return Response(status_code=499)
        asked = json.loads(body["messages"][-1]["content"])
        texts = [p["text"] for p in asked["passages"]] if "passages" in asked else [asked["text"]]
        found = [self.recorded.get(text, NOTHING) for text in texts]
        answers: list[dict[str, Any]] = [{"number": n, **one} for n, one in enumerate(found, 1)]
        text = json.dumps({"passages": answers} if "passages" in asked else answers[0], ensure_ascii=False)
        if fault == "garbage":
            text = "I am sorry, I cannot help with that."
        elif fault == "cut off":
            text = text[: len(text) * 2 // 3]
        else:
            self.paid.update(text for text in texts if text in self.recorded)
        content = completion(text)
        content["choices"][0]["finish_reason"] = "length" if fault == "cut off" else "stop"
        read, written = len(body["messages"][-1]["content"].split()), len(text.split())
        content["usage"] = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        self.answered += 1
        self.input_tokens += read
        self.output_tokens += written
        return JSONResponse(content)


@contextmanager
def faulty_server(recorded: Mapping[str, Mapping[str, Any]], **options: Any) -> Iterator[FaultyServer]:
    """It, running."""
    state = FaultyServer(recorded, **options)
    app = FastAPI()
    app.add_api_route("/v1/chat/completions", state.reply, methods=["POST"])
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    state.url = f"http://127.0.0.1:{port}/v1"
    try:
        yield state
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(10)
