"""Whether a memory is the same before and after."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hippomem import Memory


def state(memory: Memory) -> tuple[dict[str, object], str]:
    """Its counts, and all that it holds."""
    stats = {name: value for name, value in memory.stats().items() if name not in ("bytes", "db")}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "export")
        memory.export(file)
        return stats, file.read_text(encoding="utf-8")


@contextmanager
def unchanged(memory: Memory) -> Iterator[None]:
    """Fails where what is done inside changes anything in the memory."""
    before = state(memory)
    yield
    assert state(memory) == before
