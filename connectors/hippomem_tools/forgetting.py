"""Forgetting where others may forget the same meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from hippomem import Memory, NotFoundError


def forget_all(memory: Memory, names: Sequence[str]) -> int:
    """Forget memories by their ids, or sources, as far as they are there; says how many of them were."""
    if not names:
        return 0
    try:
        memory.forget(names)
    except NotFoundError:  # of several all go or none: one by one
        gone = 0
        for name in names:
            with suppress(NotFoundError):
                memory.forget(name)
                gone += 1
        return gone
    return len(names)
