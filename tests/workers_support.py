"""Encoders that workers find by importing this module."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hippomem import ModelError
from hippomem.neocortex.encoder import Encoded, Span
from hippomem.testing import HashEncoder


class BatchEncoder(HashEncoder):
    """The last digits of its vectors depend on what is encoded together, as a real encoder's do."""

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        shift = np.float32(1e-5 * len(texts) + 1e-8 * sum(map(len, texts)))
        return [Encoded(e.vector + shift, e.sentences) for e in super().encode_passages(texts, spans)]


class TwofoldError(ModelError):
    """Cannot be made of what it holds, as unpickling tries to."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


class FailingEncoder(HashEncoder):
    """Fails with an error of its own, or ends its process."""

    def __init__(self, exit_code: int | None = None) -> None:
        super().__init__()
        self.exit_code = exit_code

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        if self.exit_code is not None:
            sys.exit(self.exit_code)
        raise TwofoldError("no answer", "the server sleeps")


class PidEncoder(HashEncoder):
    """Another one in every process."""

    @property
    def identity(self) -> str:
        return f"pid-{os.getpid()}"


class BrokenEncoder(HashEncoder):
    """Fails in its own way, but not where it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.home = os.getpid()

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        if os.getpid() != self.home and any("poison" in text for text in texts):
            raise ArithmeticError("it is poisoned")
        return super().encode_passages(texts, spans)


class TellingEncoder(HashEncoder):
    """Writes down who encodes, and takes its time; kills its process at the word."""

    def __init__(self, log: Path, seconds: float = 0.0) -> None:
        super().__init__()
        self.log, self.seconds, self.home = log, seconds, os.getpid()

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        with self.log.open("a") as file:
            file.write(f"{os.getpid()} {len(texts)}\n")
        if os.getpid() != self.home:
            if any("fatal" in text for text in texts):
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.seconds)
        return super().encode_passages(texts, spans)

    def pids(self) -> set[int]:
        """Of all who have encoded so far."""
        return {int(line.split()[0]) for line in self.log.read_text().splitlines()} if self.log.exists() else set()
