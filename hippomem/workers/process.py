"""A worker that is a process of this machine. It ends when this process does, however that ends."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

from hippomem.analyse import Text
from hippomem.errors import ModelError
from hippomem.threads import given_threads, processors
from hippomem.workers.pool import Pool
from hippomem.workers.reading import Outcome

# A program of its own, not a copy of this one: that would run a script anew that has no guard against it.
_PROGRAM = ("-P", "-m", "hippomem.workers._process")  # -P: never import from the folder we happen to be in


class ProcessWorker:
    """`models` as `Models.packed` gives them; `threads` may compute at a time."""

    def __init__(self, models: bytes, batch: int, threads: int) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
                [sys.executable, *_PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": str(threads),
                    "TOKENIZERS_PARALLELISM": "false",
                    "PYTHONPATH": os.pathsep.join(_searched()),
                },
            )
        except OSError as error:  # too many processes, too little memory
            raise ModelError(f"a worker process cannot be started ({error}): try with fewer") from error
        self._stdin = cast(IO[bytes], self._process.stdin)
        self._stdout = cast(IO[bytes], self._process.stdout)
        self._to_say: tuple[bytes, int] | None = (models, batch)

    def read(self, texts: Sequence[Text]) -> Outcome:
        try:
            if self._to_say is not None:
                pickle.dump(self._to_say, self._stdin)
                self._to_say = None
            pickle.dump(texts, self._stdin)
            self._stdin.flush()
            outcome: Outcome = pickle.load(self._stdout)  # noqa: S301 - from the process that we started
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise self._lost() from error
        return outcome

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError, ValueError):  # what was still to be written has nowhere to go
            self._stdin.close()
        self._stdout.close()

    def _lost(self) -> ModelError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5.0)  # its exit code tells why, where it ends by itself
        self._process.kill()
        code = self._process.wait()
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        return ModelError(
            f"a worker process was lost ({how}), often for want of memory: try with fewer. What was ingested is kept, "
            "and the same ingest goes on from there"
        )


def _searched() -> list[str]:
    """Where this process imports from: what it can, a worker can. "" is the folder that we are in."""
    return [path or str(Path.cwd()) for path in sys.path if isinstance(path, str)]


def process_pool(count: int, models: bytes, batch: int) -> Pool:
    """So many workers on this machine. Together they have a thread for each processor, or `OMP_NUM_THREADS` each."""
    threads = given_threads() or max(1, processors() // count)
    return Pool(count, lambda: ProcessWorker(models, batch, threads))
