"""What was learned, in an export: a line for each event and each rehearsal, which names events by their places."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from hippomem.storage import learning, writes
from hippomem.transfer_fields import count_of, floats_of, moment_of, text_of, written

TAUGHT = ("learning", "rehearsal")


@dataclass(frozen=True, slots=True)
class Lesson:
    """A learning event of an export, with the ids that its passages have here, and the one that it had, if told."""

    id: str | None
    query: str
    useful: tuple[str, ...]
    confidence: float
    at: datetime
    vector: NDArray[np.float32]
    evidence: bytes | None


@dataclass(frozen=True, slots=True)
class Replay:
    """A rehearsal of an export; events by their places among the export's learning events."""

    id: str | None
    events: tuple[int, ...]
    absorbed: tuple[int, ...]
    at: datetime


@dataclass(slots=True)
class Taught:
    """Writes what was learned, in the order of the lines."""

    numbers: list[int | None] = field(default_factory=list)

    def write(self, connection: Connection, namespace: int, encoder: int, item: Lesson | Replay, now: datetime) -> None:
        """Write one; what is there already stays as it is."""
        if isinstance(item, Replay):
            events, absorbed = (
                [n for i in own if i < len(self.numbers) and (n := self.numbers[i])]
                for own in (item.events, item.absorbed)
            )
            if events:
                learning.add_rehearsal(connection, namespace, events, absorbed, now, recorded=(item.id, item.at))
            return
        there = writes.existing(connection, namespace, item.useful)
        if not there:
            self.numbers.append(None)
            return
        # Not made anew of what it is by now: updates and forgetting have changed its passages since.
        id_ = item.id or learning.event_id(item.query, there, item.confidence, item.at)
        new = learning.NewLearning(
            id=id_,
            query=item.query,
            vector=item.vector,
            passages=tuple(sorted(there.values())),
            confidence=item.confidence,
            recorded_at=item.at,
            evidence=item.evidence,
        )
        self.numbers.append(learning.add_events(connection, namespace, encoder, [new], now)[id_])


def taught_lines(connection: Connection, namespace: int, encoder: int) -> Iterator[dict[str, Any]]:
    """The lines of an export."""
    places: dict[int, int] = {}
    steps = learning.learning_steps(connection, namespace)
    for action, some in groupby(steps, key=itemgetter(0)):  # in the order in which the weights were made
        numbers = [number for _, number in some]
        if action == "rehearse":
            for done in learning.rehearsal_rows(connection, namespace, numbers):
                events, absorbed = ([places[n] for n in own if n in places] for own in (done.events, done.absorbed))
                if events:
                    own_id = {"type": "rehearsal", "id": done.id}
                    yield own_id | {"events": events, "absorbed": absorbed, "at": written(done.recorded_at)}
            continue
        for row in learning.event_rows(connection, namespace, encoder, numbers):
            places[row.number] = len(places)
            yield {
                "type": "learning",
                "id": row.id,
                "query": row.query,
                "useful": [id_ for _, id_ in row.passages],
                "confidence": row.confidence,
                "at": written(row.recorded_at),
                "vector": base64.b64encode(row.vector.tobytes()).decode(),
                "evidence": base64.b64encode(row.evidence).decode() if row.evidence else None,
            }


def taught_of(item: Mapping[str, Any], ids: Mapping[str, str], width: int) -> Lesson | Replay:
    """A line, checked. `ids` are those of the passages before it, as they are here; `width` the length of a vector in
    base64. Raises ValueError, KeyError or TypeError where it cannot be.
    """
    at = moment_of(item["at"])
    if at is None:
        raise ValueError("it has no time")
    id_ = None if item.get("id") is None else _id_of(item["id"])
    if item["type"] == "rehearsal":
        return Replay(id_, tuple(map(count_of, item["events"])), tuple(map(count_of, item["absorbed"])), at)
    confidence = item["confidence"]
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 < abs(confidence) <= 1:
        raise ValueError("its confidence is not from -1 to 1")
    if len(text_of(item["vector"])) != width:
        raise ValueError("its vector is not as long as those of the passages")
    evidence = None if item["evidence"] is None else base64.b64decode(text_of(item["evidence"]), validate=True)
    if evidence is not None:
        learning.Evidence.unpacked(evidence)
    useful = tuple(ids[text_of(id_)] for id_ in item["useful"])
    if not useful:
        raise ValueError("it names no passage")
    vector = floats_of(item["vector"], np.float32)
    return Lesson(id_, text_of(item["query"]), useful, float(confidence), at, vector, evidence)


def _id_of(value: object) -> str:
    if not re.fullmatch("[0-9a-f]{32}", text_of(value)):
        raise ValueError(f"{value!r:.40} is not an id")
    return str(value)
