"""The neural memory made from the log, and kept up with it.

While all learning events fit into the fast store, only the order of the rehearsals counts. Where some have had to leave
it, when each came counts as well: then the log is followed as it was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np
from sqlalchemy import Connection

from hippomem.neocortex.neural_memory import Association, MapOptions, NeuralMemory
from hippomem.neocortex.neural_memory.state import MapFile
from hippomem.storage import learning as rows
from hippomem.storage import reads
from hippomem.storage.schema import LEARNING_ACTIONS

Steps = Sequence[tuple[str, int]]  # "learn" an event or "rehearse", by number


@dataclass(frozen=True, slots=True)
class Lessons:
    """All that the log has for the neural memory: its events and rehearsals by number, and in which order they came."""

    events: Mapping[int, Association]
    rehearsals: Mapping[int, rows.RehearsalRow]
    steps: Steps


@dataclass(frozen=True, slots=True)
class Following:
    """How the neural memory of a namespace comes out of its log: for vectors of `encoder`, for so many experts, with a
    fast store of `capacity`.
    """

    encoder: int
    terms: int
    options: MapOptions
    capacity: int

    def lessons(self, connection: Connection, namespace: int) -> Lessons:
        """All that is learned now."""
        events = {event.number: event for event in associations(rows.event_rows(connection, namespace, self.encoder))}
        done = {row.number: row for row in rows.rehearsal_rows(connection, namespace)}
        steps: Steps = [("learn", number) for number in events] + [("rehearse", number) for number in done]
        if len(events) > self.capacity:
            steps = rows.learning_steps(connection, namespace)
        return Lessons(events, done, steps)

    def anew(self, lessons: Lessons) -> NeuralMemory:
        """What these make of nothing."""
        memory = self._empty(lessons.events)
        _follow(memory, lessons.steps, lessons)
        return memory

    def made(self, connection: Connection, namespace: int, file: MapFile | None = None) -> NeuralMemory:
        """Of all that is learned now: with the slow map of `file` where there is one that fits, else from nothing."""
        lessons = self.lessons(connection, namespace)
        memory = self._empty(lessons.events)
        kept = file.load(memory) if file else None
        log = reads.log_from(connection, namespace, kept[0]) if kept else []
        new = {(entry.action, entry.passage) for entry in log[1:]}
        fits = bool(log) and (log[0].sequence, log[0].mark) == kept
        if file and fits and any(n in memory.replayed for action, n in new if action in ("learn", "unlearn")):
            file.drop()  # whoever saved it may not have lived to see that it holds what is forgotten
            fits = False
        if kept and fits:
            # What was only changed since has its place among the old ones: each one's lesson depends on those before.
            taught = rows.taught_by(connection, namespace, kept[0], [n for action, n in new if action == "learn"])
            new -= {("learn", number) for number in taught}
            state, memory = memory.snapshot(), self._empty(lessons.events)
            _follow(memory, [step for step in lessons.steps if step not in new], lessons, is_in_map=True)
            memory.rollback(state)
            _follow(memory, [step for step in lessons.steps if step in new], lessons)
            return memory
        return self.anew(lessons)

    def catch_up(self, connection: Connection, namespace: int, memory: NeuralMemory) -> bool:
        """Follow the log. False where it is another one, or has come to where only a rebuild helps."""
        log = reads.log_from(connection, namespace, memory.applied)
        if not log or (log[0].sequence, log[0].mark) != (memory.applied, memory.mark):
            return False
        # First what has changed of events that are there: they are read as they are by now, as those that come.
        changed = [entry.passage for entry in log[1:] if entry.action == "learn" and entry.passage in memory.store]
        if not self._learn(connection, namespace, memory, changed):
            return False
        # What one `forget` untaught is taken out at once: after each time the experts' weights are learned anew.
        for action, entries in groupby((e for e in log[1:] if e.action in LEARNING_ACTIONS), attrgetter("action")):
            numbers = list(dict.fromkeys(entry.passage for entry in entries))  # two of its passages may be forgotten
            if action == "rehearse":
                for done in rows.rehearsal_rows(connection, namespace, numbers):
                    memory.replay(done.events, done.absorbed)
                continue
            if action == "unlearn" and not memory.unlearn(numbers):
                return False
            if not self._learn(connection, namespace, memory, numbers):
                return False
        return True

    def _learn(self, connection: Connection, namespace: int, memory: NeuralMemory, numbers: Sequence[int]) -> bool:
        """False, with nothing learned, where the experts said something else by now."""
        found = list(associations(rows.event_rows(connection, namespace, self.encoder, numbers)))
        if any(memory.has_other_evidence(event) for event in found):
            return False
        memory.learn(found)
        return True

    def _empty(self, events: Mapping[int, Association]) -> NeuralMemory:
        dimension = next((len(event.key) for event in events.values()), 1)
        return NeuralMemory(dimension, self.terms, self.options, self.capacity)


def _follow(memory: NeuralMemory, steps: Steps, lessons: Lessons, *, is_in_map: bool = False) -> None:
    """What is no more there is passed over; what the map has already learned, only noted as absorbed."""
    events, done = lessons.events, lessons.rehearsals
    for action, number in steps:
        if action == "learn" and number in events:
            memory.learn([events[number]])
        elif action == "rehearse" and number in done and is_in_map:
            memory.absorbed.update(n for n in done[number].absorbed if n in memory.store)
        elif action == "rehearse" and number in done:
            memory.replay(done[number].events, done[number].absorbed)


def associations(found: Iterable[rows.LearningRow]) -> Iterable[Association]:
    """Learning events as the neural memory takes them."""
    for row in found:
        mean = row.vectors.mean(axis=0)
        evidence = rows.Evidence.unpacked(row.evidence) if row.evidence else None
        yield Association(
            row.number,
            row.vector,
            np.asarray(mean / (float(np.linalg.norm(mean)) or 1.0), np.float32),
            tuple(number for number, _ in row.passages),
            row.confidence,
            evidence.terms if evidence else None,
            evidence.useful if evidence else None,
        )
