"""Fixtures for the connectors."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import hippomem_tools.asking
from hippomem import Memory, Recipe
from hippomem.testing import HashEncoder, capitals


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, by anyio's plugin."""
    return "asyncio"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with four notes; to copy."""
    path = tmp_path_factory.mktemp("small") / "m.db"
    with Memory.open(path, encoder=HashEncoder(), pipeline=capitals()) as memory:
        memory.add("Ada Thorne runs Northlight Labs.", title="Ada Thorne", session="monday")
        memory.add("Northlight Labs has its archive in the customs house of Vardø.", title="Northlight Labs")
        memory.add("The harbour of Bergen froze in 1904.", title="Bergen", source="docs/bergen.md")
        memory.add("Bea Lind keeps bees in Bergen.", source="docs/bea.md", metadata={"kind": "bees"})
    return path


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with nothing in it; to copy, which is quicker than to make one."""
    path = tmp_path_factory.mktemp("empty") / "m.db"
    Memory.open(path, encoder=HashEncoder(), pipeline=capitals()).close()
    return path


@pytest.fixture
def memory(fast: Callable[..., Memory], small: Path, tmp_path: Path) -> Memory:
    """A memory of four notes, without models."""
    return fast(shutil.copy(small, tmp_path / "m.db"))


@pytest.fixture
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    """All memories count as large: a recall ranks only the few passages near the question."""
    few = Recipe(everything=5, nearest=5, postings=0, walked=0)
    monkeypatch.setattr("hippomem.memory.U", few)
    monkeypatch.setattr(hippomem_tools.asking, "_NEAREST", few.nearest)
