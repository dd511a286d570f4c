"""Context windows: what comes before and after a recalled passage, in its session, its document or among the notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from hippomem.hippocampus.chains import NONE
from hippomem.hippocampus.view import View
from hippomem.storage import reads, versions, writes
from hippomem.types import Passage, RecalledPassage


def in_context(
    view: View,
    connection: Connection,
    namespace: int,
    passages: Sequence[RecalledPassage],
    size: int,
    as_of: datetime | None = None,
    eligible: NDArray[np.bool_] | None = None,
) -> tuple[RecalledPassage, ...]:
    """The passages with up to `size` neighbours on each side, as they were told by `as_of`; those that are not
    `eligible` (rows,) are passed over.
    """
    if not size:
        return tuple(passages)
    numbers = writes.existing(connection, namespace, [p.id for p in passages])
    if as_of is not None:
        numbers |= versions.by_id(connection, namespace, [p.id for p in passages], as_of)
    windows = {id_: _window(view, view.row_of(number), size, eligible) for id_, number in numbers.items()}
    wanted = {number for sides in windows.values() for side in sides for number in side}
    stored = reads.by_number(connection, namespace, sorted(wanted))
    stored |= versions.by_number(connection, namespace, wanted - stored.keys())

    def told(side: Sequence[int]) -> tuple[Passage, ...]:
        return tuple(stored[number] for number in side if number in stored)

    return tuple(
        replace(p, before=told(windows[p.id][0]), after=told(windows[p.id][1])) if p.id in windows else p
        for p in passages
    )


def _window(view: View, row: int | None, size: int, eligible: NDArray[np.bool_] | None) -> tuple[list[int], list[int]]:
    """The numbers of the passages before and after a row."""
    sides: tuple[list[int], list[int]] = ([], [])
    for way, side in enumerate(sides):
        at = NONE if row is None else view.chains.neighbours(row)[way]
        while at != NONE and len(side) < size:
            if eligible is None or eligible[at]:
                side.append(int(view.numbers[at]))
            at = view.chains.neighbours(at)[way]
    return sides[0][::-1], sides[1]
