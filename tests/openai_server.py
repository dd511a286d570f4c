"""A server on 127.0.0.1 that speaks the chat API of OpenAI as far as a client needs it."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Said = str | tuple[int, str | dict[str, Any] | list[Any]]
Answer = Said | Callable[[dict[str, Any]], Said]


@dataclass
class Server:
    """Answers with `script`, one after the other, the last again and again: a text, or an HTTP status with a message,
    or with what stands in the place of OpenAI's own error; `headers` go along with that; or what a function says to the
    body of the request.

    `asked` holds the requests: path, authorization and body. What it streams `breaks_off` before the last word, or
    `ends` for this reason.
    """

    script: Sequence[Answer]
    seconds: float = 0.0
    breaks_off: bool = False
    ends: str = "stop"
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def texts(self) -> list[list[str]]:
        """The texts of the messages of each request."""
        return [[message["content"] for message in request["body"]["messages"]] for request in self.asked]


@contextmanager
def openai_server(*script: Answer, seconds: float = 0.0) -> Iterator[Server]:
    """A running server; `seconds` is how long it takes to answer."""
    server = Server(script, seconds)
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            number = len(server.asked)
            server.asked.append({"path": self.path, "key": self.headers.get("Authorization"), "body": body})
            stop.wait(server.seconds)
            planned = server.script[min(number, len(server.script) - 1)]
            answer = planned(body) if callable(planned) else planned
            if isinstance(answer, str) and body.get("stream"):
                self.pieces(answer)
                return
            status, content = (200, completion(answer)) if isinstance(answer, str) else answer
            content = failure(content) if isinstance(content, str) else content
            data = json.dumps(content).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for name, value in server.headers.items() if status >= 400 else ():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except OSError:  # the client waited no longer
                pass

        def pieces(self, text: str) -> None:
            """The answer word by word, as server-sent events."""
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            events = [piece(part) for part in re.findall(r"\s*\S+", text)]
            if server.breaks_off:
                events = events[:-1]
            else:
                events += [piece("", server.ends), piece(None)]
            for event in events:
                self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
                self.wfile.flush()
            if not server.breaks_off:
                self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        stop.set()
        http.shutdown()
        http.server_close()
        thread.join()


def completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": "test-model",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


def piece(text: str | None, end: str | None = None) -> dict[str, Any]:
    """A part of a streamed answer, the one at its `end` says why; the last one, without text, tells the usage."""
    whole = completion("")
    delta = {"role": "assistant", "content": text}
    choices = [] if text is None else [{"index": 0, "delta": delta, "finish_reason": end}]
    return {
        **whole,
        "object": "chat.completion.chunk",
        "choices": choices,
        "usage": whole["usage"] if text is None else None,
    }


def failure(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "server_error", "code": None}}
