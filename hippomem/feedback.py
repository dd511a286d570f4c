"""What is learned from feedback: learning events into the log, and the neural memory that follows it.

The events are rows; the neural memory is a view of them, as the index is one of the passages. It is made when there is
something to read, catches up before every recall, and only its slow map, which takes replays to make, is kept on disk.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np
from sqlalchemy import Connection

from hippomem.checks import checked_name, checked_text
from hippomem.clock import Clock
from hippomem.errors import ForeignStoreError, InvalidInputError, StoreBusyError
from hippomem.evidence import EXPERTS, evidence_of
from hippomem.following import Following
from hippomem.hippocampus.ranking import Learned
from hippomem.hippocampus.recipe import Recipe
from hippomem.hippocampus.snapshot import Snapshots
from hippomem.hippocampus.sought import Sought
from hippomem.hippocampus.view import View
from hippomem.neocortex.neural_memory import MapOptions, NeuralMemory, Probe, Rehearsal
from hippomem.neocortex.neural_memory.association import Floats
from hippomem.neocortex.neural_memory.networks import Kind
from hippomem.neocortex.neural_memory.state import MapFile
from hippomem.settings import Settings
from hippomem.storage import learning as rows
from hippomem.storage import reads
from hippomem.storage.files import make_views, written_whole
from hippomem.storage.schema import LEARNING_ACTIONS
from hippomem.storage.store import Store
from hippomem.storage.writes import check_encoder
from hippomem.types import LearningEvent, Passage
from hippomem.viewing import Synced

CHAIN = (1, 16, 256)  # of maps: how many events each takes at once
ATTEMPTS = 5  # at a rehearsal that others come between


class _GivenUpError(Exception):
    """What was to be written with a rehearsal is not to be written after all."""


@dataclass(slots=True)
class Learning:
    """The learning of one memory. `synced` gives its view and a read transaction that equals it, under its lock;
    `encode` the vectors of a question, `current` a passage by an id that it has or had.
    """

    store: Store
    settings: Settings
    encoder: int
    clock: Clock
    synced: Synced
    encode: Callable[[str], Sought]
    current: Callable[[str], tuple[int, Passage]]
    snapshots: Snapshots | None = None
    log: Following = field(init=False)
    _memory: NeuralMemory | None = None
    _followed: tuple[int, str] = (0, "")  # while there is no memory, because there is nothing to learn from

    def __post_init__(self) -> None:
        our = self.settings
        chained = CHAIN if our.neural_map == "chain" else ()
        kind: Kind = "mlp" if our.neural_map == "mlp" else "linear"
        options = MapOptions(kind=kind, rule=our.neural_rule, device=our.neural_device, periods=chained)
        self.log = Following(self.encoder, len(EXPERTS), options, our.neural_capacity)

    def number(self) -> int:
        """The number of the namespace."""
        return self.store.namespace(self.settings.namespace, create=False)

    @property
    def file(self) -> MapFile | None:
        """Where the slow map is kept: among the snapshots, which a `forget` removes."""
        marks = {
            "store": self.store.id,
            "encoder": self.encoder,
            "map": repr(self.log.options),
            "capacity": self.log.capacity,
        }
        return MapFile(self.snapshots.folder / "neural", marks) if self.snapshots else None

    # -- reading ------------------------------------------------------------------------------------------------

    def memory(self, connection: Connection, view: View) -> NeuralMemory | None:
        """The neural memory as of this moment; None while nothing has been learned, which costs nothing."""
        at = view.applied, view.mark
        if self._memory is not None and (self._memory.applied, self._memory.mark) == at:
            return None if self._memory.empty else self._memory
        if self._memory is None and self._followed == at:
            return None
        number = self.number()
        if self._memory is None and not rows.anything(connection, number):
            self._followed = at
            return None
        memory, self._memory = self._memory, None  # until it is as the log says: it may stop half way, as by Ctrl-C
        with _damage_told():
            if memory is None or not self.log.catch_up(connection, number, memory):
                memory = self.log.made(connection, number, self.file)
        memory.applied, memory.mark = at
        self._memory = memory
        return None if memory.empty else memory

    def advice(
        self, connection: Connection, view: View, vector: Floats, recipe: Recipe, learned: bool = True
    ) -> tuple[Recipe, Learned | None]:
        """For a question (d,): the recipe with learned weights of its experts, and where earlier feedback points."""
        memory = self.memory(connection, view) if learned else None
        if memory is None:
            return recipe, None
        scale = dict(zip(EXPERTS, memory.experts.multipliers.tolist(), strict=True))
        reading = memory.read(vector)
        found = [(row, vote) for number, vote in reading.votes.items() if (row := view.row_of(number)) is not None]
        return weighted(recipe, scale), Learned(
            reading.vector,
            np.array([row for row, _ in found], np.int64),
            np.array([vote.attention for _, vote in found], np.float32),
            np.array([vote.queries for _, vote in found], np.int64),
        )

    # -- learning -----------------------------------------------------------------------------------------------

    def feedback(self, found: Any, useful: Any, confidence: float) -> LearningEvent:
        """`Memory.feedback`."""
        query, ids = asked_and_useful(found, useful)
        limit = "max_query_chars (HIPPOMEM_MAX_QUERY_CHARS)"
        checked_text(query, self.settings.max_query_chars, "query", limit)
        certain = checked_confidence(confidence)
        stored = [self.current(checked_name(id_, "id")) for id_ in ids]
        return self.learn(
            query, self.encode(query), sorted({(number, passage.id) for number, passage in stored}), certain
        )

    def learn(self, query: str, asked: Sought, useful: Sequence[tuple[int, str]], confidence: float) -> LearningEvent:
        """Write one event and its log entry in one transaction. `useful` are passages, by number and id.

        Raises InvalidInputError where one of them was forgotten or updated meanwhile.
        """
        with self.synced() as (view, _):
            evidence = evidence_of(view, query, asked, [number for number, _ in useful])
        with self.store.write() as connection:
            check_encoder(connection, self.encoder)  # or nothing would ever be learned from its vector
            now = self.clock.now()
            number = self.number()
            there = reads.by_number(connection, number, [n for n, _ in useful])
            if len(there) != len(useful):
                raise InvalidInputError("a useful passage was changed or forgotten meanwhile: recall again")
            ids = tuple(id_ for _, id_ in useful)
            id_ = rows.event_id(query, ids, confidence, now)
            new = rows.NewLearning(
                id=id_,
                query=query,
                vector=asked.key,
                passages=tuple(n for n, _ in useful),
                confidence=confidence,
                recorded_at=now,
                evidence=evidence,
            )
            rows.add_events(connection, number, self.encoder, [new], now)
        return LearningEvent(id_, query, ids, confidence, now)

    # -- replay -------------------------------------------------------------------------------------------------

    def draw(self, budget: int, seed: int | None = None) -> list[int]:
        """The numbers of at most `budget` events to rehearse, drawn by their surprise."""
        with self.synced() as (view, connection):
            memory = self.memory(connection, view)
            return memory.draw(budget, np.random.default_rng(seed)) if memory else []

    def events_of(self, passage_ids: Iterable[str]) -> list[int]:
        """The numbers of the events in which any of these passages was useful."""
        with self.synced() as (_, connection):
            ids = list(passage_ids)
            found = [reads.by_id(connection, self.number(), id_) for id_ in ids]
            numbers = [known[0] for known in found if known]
            return rows.events_about(connection, self.number(), numbers, only_useful=True)

    def probe(self, numbers: Sequence[int], *, whole: bool = False) -> list[Probe]:
        """Measured recall of events by their own cues: by the slow map, or by the `whole` neural memory."""
        with self.synced() as (view, connection):
            memory = self.memory(connection, view)
            return memory.probe(numbers, whole=whole) if memory else []

    def rehearse(
        self,
        numbers: Sequence[int],
        *,
        interferers: int = 0,
        guard: Sequence[int] = (),
        passes: int = 1,
        also: Callable[[Connection], bool] | None = None,
    ) -> Rehearsal:
        """`NeuralMemory.rehearse`, written to the log: it has happened for every process, once, or not at all.

        `also` writes something else in the same transaction; where it says False, nothing is written or learned.
        Raises StoreBusyError where others keep writing in between.
        """
        for _ in range(ATTEMPTS):
            with self.synced() as (view, connection):
                memory = self.memory(connection, view)
                if memory is None:
                    return Rehearsal((), True, 0.0, 0.0)
                before = memory.snapshot()
                written = None
                try:
                    done = memory.rehearse(numbers, interferers=interferers, guard=guard, passes=passes)
                    if not done.kept or not done.numbers:
                        return done
                    written = self._write_rehearsal(done, memory.applied, also)
                except _GivenUpError:
                    return replace(done, kept=False, reason="it was not to be written")
                finally:
                    if written is None:
                        memory.rollback(before)
                if written is not None:
                    memory.applied, memory.mark = written
                    self.save()
                    return done
        raise StoreBusyError("others keep writing while events are rehearsed: try again later")

    def _write_rehearsal(
        self, done: Rehearsal, at: int, also: Callable[[Connection], bool] | None
    ) -> tuple[int, str] | None:
        """The log entry that was written, None where others taught or untaught something since `at`."""
        with self.store.write() as connection:
            number = self.number()
            if any(entry.action in LEARNING_ACTIONS for entry in reads.log_from(connection, number, at + 1)):
                return None
            if also is not None and not also(connection):
                raise _GivenUpError
            rows.add_rehearsal(connection, number, done.numbers, done.absorbed, self.clock.now())
            entry = reads.log_from(connection, number, at)[-1]
            return entry.sequence, entry.mark

    # -- the view -----------------------------------------------------------------------------------------------

    def renew(self) -> bool:
        """Rebuild the slow map from the log where it is only dampened for what was unlearned. Whether that was due."""
        if self._memory is None:  # it is made, when that is needed, without what is gone
            return False
        with self.synced() as (view, connection):
            memory = self.memory(connection, view)
            if memory is None or not memory.stale:
                return False
        other = self.anew()
        with self.synced() as (view, connection):
            self._memory = self._in_step(connection, view, other)
            self.save()
        return True

    def anew(self) -> NeuralMemory | None:
        """What the log makes of nothing, as of this moment; None while there is no log. It takes a millisecond or more
        for each rehearsal, and other threads go on meanwhile: `_in_step` has it follow what they did."""
        with self.store.read() as connection:
            number = self.number()
            log = reads.log_from(connection, number, reads.last_sequence(connection, number))
            with _damage_told():
                lessons = self.log.lessons(connection, number)
        if not log:
            return None
        memory = self.log.anew(lessons)
        memory.applied, memory.mark = log[-1].sequence, log[-1].mark
        return memory

    def _in_step(self, connection: Connection, view: View, other: NeuralMemory | None) -> NeuralMemory:
        """What was made anew, as of the moment of the view."""
        number = self.number()
        if other is None or not self.log.catch_up(connection, number, other):
            other = self.log.made(connection, number)
        other.applied, other.mark = view.applied, view.mark
        return other

    def save(self) -> None:
        """Write the slow map beside the database. A full disk is no failure: it can be made again from the log."""
        file, memory = self.file, self._memory
        if file is None or memory is None or not memory.replayed:
            return
        with suppress(OSError):  # then it fails, too, and is made again from the log
            if data := file.packed(memory):
                make_views(file.folder)
                with written_whole(file.path) as whole:
                    whole.write(data)
        with self.store.read() as connection:  # afterwards: whoever forgets from now on removes the file
            if reads.forgotten_after(connection, self.number(), memory.applied, "unlearn"):
                file.drop()

    @property
    def stale(self) -> int | None:
        """For how many events the slow map is dampened; None while there is none."""
        return self._memory.stale if self._memory else None

    def dampened(self, connection: Connection, view: View, before: int | None) -> int:
        """For how many more events than `before` it is by following the log to this moment."""
        if before is None:  # it is made, when that is needed, without them
            return 0
        memory = self.memory(connection, view)
        return max(0, memory.stale - before) if memory else 0

    def differences(self, connection: Connection, view: View, other: NeuralMemory | None) -> list[str]:
        """What tells the neural memory from one that was made `anew`; nothing where they are equal."""
        memory = self.memory(connection, view)
        return [] if memory is None else memory.differences(self._in_step(connection, view, other))


@contextmanager
def _damage_told() -> Iterator[None]:
    """Where what is stored of learning events cannot be what was written."""
    try:
        yield
    except ValueError as error:
        raise ForeignStoreError(f"what feedback has taught is damaged ({error}): put a backup back") from error


def weighted(recipe: Recipe, scale: dict[str, float]) -> Recipe:
    """The recipe with each expert's weight times its multiplier: its term in the ranking is multiplied by that."""
    weights = {name.replace(" ", "_"): multiplier for name, multiplier in scale.items()}
    weights["alone"] = weights["cosine"]  # a part of the same term
    return replace(recipe, **{field: getattr(recipe, field) * multiplier for field, multiplier in weights.items()})


def checked_confidence(confidence: float) -> float:
    """A confidence in [-1, 1], not 0. Raises InvalidInputError."""
    if isinstance(confidence, bool) or not isinstance(confidence, Real) or not -1 <= confidence <= 1:
        shown = reprlib.repr(confidence)
        raise InvalidInputError(f"confidence must be a number from -1 to 1, not {shown}")
    if abs(confidence) < 0.001:
        raise InvalidInputError(
            f"confidence {confidence!r}: give 0.001 to 1 for useful passages, -0.001 to -1 for useless ones"
        )
    return float(confidence)


def asked_and_useful(found: Any, useful: Any) -> tuple[str, list[str]]:
    """The question and the ids of its useful passages, from what `Memory.feedback` takes. Raises InvalidInputError."""
    cited = [str(citation.passage_id) for citation in getattr(found, "citations", ())]
    recall = getattr(found, "recall", found)
    query = recall if isinstance(recall, str) else getattr(recall, "query", None)
    if not isinstance(query, str):
        raise InvalidInputError(f"feedback is on a Recall, an Answer or a question, not on {type(found).__name__}")
    if useful is None:
        if not cited:
            raise InvalidInputError(
                "say which passages were useful, useful=[ids]: that they were recalled teaches nothing"
            )
        return query, list(dict.fromkeys(cited))
    if isinstance(useful, str) or not isinstance(useful, Iterable):
        raise InvalidInputError("useful must be a list of passages or their ids")
    ids = [item if isinstance(item, str) else getattr(item, "id", None) for item in useful]
    if not all(isinstance(id_, str) for id_ in ids):
        raise InvalidInputError("useful holds something that is neither a passage nor an id")
    if not ids:
        raise InvalidInputError("useful is empty: there is nothing to learn from; name at least one passage")
    return query, [str(id_) for id_ in dict.fromkeys(ids)]
