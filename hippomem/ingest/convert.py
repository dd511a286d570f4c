"""Documents (HTML, PDF, Word, …) to Markdown, in a child process that can be lost without harm."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from hippomem.errors import MissingDependencyError, SourceError

_START_SECONDS = 60.0
# Each thread of a numeric library reserves address space, which on a large machine alone would be over the limit.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# markitdown imports onnxruntime, which would tell Microsoft of it, past what forbids Python the network.
_TELLING_NOBODY = {"ORT_DISABLE_TELEMETRY": "1"}
_WORKER = ("-P", "-m", "hippomem.ingest._convert_worker")  # -P: never import from the folder we happen to be in


class Converter:
    """Reads documents with markitdown and pdfminer; one child process serves all of them, started when first needed.

    `timeout` is the most seconds one document may take, `max_expanded_bytes` the most bytes that a container (.docx,
    .epub, …) may unpack to and a document's text may be long. Not for use by several threads at once.
    """

    def __init__(self, *, timeout: float = 120.0, max_expanded_bytes: int = 256 * 2**20) -> None:
        self._timeout = timeout
        self._max_expanded_bytes = max_expanded_bytes
        self._worker: _Worker | None = None

    def convert(
        self, path: Path, *, kind: str = "", max_unpacked_bytes: int = 32 * 2**20, data: bytes | None = None
    ) -> tuple[str, str]:
        """The document as Markdown, and its title or "". `kind` is its ending where the name does not tell, as that of
        a `.gz` file, which is unpacked in the child's memory, to `max_unpacked_bytes` at most: a folder for that would
        be left behind where this process is killed. One that lies in no file is given as `data`.

        Raises SourceError for a document that is broken, too large, too slow, or crashes its reader, or where that
        cannot be started, and MissingDependencyError without markitdown; either way the next document can be converted.
        """
        request = {
            "path": str(path),
            "kind": kind or path.suffix.lower(),
            "seconds": self._timeout,
            "max_unpacked_bytes": max_unpacked_bytes,
            "max_expanded_bytes": self._max_expanded_bytes,
            "data": None if data is None else base64.b64encode(data).decode(),
        }
        if self._worker is None or not self._worker.is_alive():
            self.close()
            self._worker = _Worker()
        try:
            answer = self._worker.ask(request, self._timeout)
        except BaseException:
            # Also after Ctrl-C: the answer to this request must not be taken for the answer to the next.
            self.close()
            raise
        if answer.get("exhausted"):
            self.close()
        if "error" in answer:
            raise SourceError(answer["error"])
        return answer["text"], answer["title"]

    def close(self) -> None:
        """End the child process. The converter can be used again; that starts another."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()

    def __enter__(self) -> Converter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Worker:
    """The process and the thread that listens to it: waiting for a pipe with a time limit needs one on Windows."""

    def __init__(self) -> None:
        # The child imports the same hippomem as this process, however that was found.
        paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
                [sys.executable, *_WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={
                    **os.environ,
                    **_ONE_THREAD,
                    **_TELLING_NOBODY,
                    "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                },
            )
        except OSError as error:  # too many processes, too little memory
            raise _unstarted(error) from error
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._stdin = cast(IO[bytes], self._process.stdin)
        self._stdout = cast(IO[bytes], self._process.stdout)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        try:
            self._listener.start()
        except RuntimeError as error:  # too many threads
            self._process.kill()
            self._process.wait()
            self._stdin.close()
            self._stdout.close()
            raise _unstarted(error) from error
        self._ready = False

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        if not self._ready:
            answer = self._receive(_START_SECONDS, "the converter did not start within")
            if "missing" in answer:
                raise MissingDependencyError("markitdown", "documents")
            self._ready = True
        try:
            self._stdin.write(json.dumps(request).encode() + b"\n")
            self._stdin.flush()
        except OSError:
            raise self._crash() from None
        return self._receive(timeout, "took longer than")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join()
        with contextlib.suppress(OSError):  # what was still to be written has nowhere to go
            self._stdin.close()
        self._stdout.close()

    def _listen(self) -> None:
        for line in self._stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def _receive(self, timeout: float, complaint: str) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise SourceError(f"{complaint} {timeout:g} s") from None
        try:
            answer = json.loads(line)
        except ValueError:
            raise self._crash() from None
        if not isinstance(answer, dict):
            raise self._crash()
        return answer

    def _crash(self) -> SourceError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=1.0)
            return SourceError(f"crashed its reader ({f'exit code {code}' if code >= 0 else f'signal {-code}'})")
        return SourceError("confused its reader, which answered something that is not JSON")


def _unstarted(error: Exception) -> SourceError:
    return SourceError(f"its reader cannot be started ({error}): ingest it again")
