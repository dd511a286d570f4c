"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: HIPPOMEM_DATA, or ../shared/data beside the repository."""
    default = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    path = Path(os.environ.get("HIPPOMEM_DATA", default)).resolve()
    if not path.is_dir():
        pytest.skip(f"no real data at {path} (set HIPPOMEM_DATA)")
    return path
