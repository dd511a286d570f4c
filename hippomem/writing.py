"""Writing to one namespace: analysis outside the transaction, then everything in one."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path as FilePath
from typing import Any

from sqlalchemy import Connection

from hippomem.analyse import Analyser, Understood
from hippomem.checks import checked_metadata, checked_moment
from hippomem.clock import Clock
from hippomem.errors import InvalidInputError, NotFoundError, StoreBusyError, StoreError
from hippomem.hippocampus.keys import entity_key
from hippomem.ingest.pipeline import Reading, Stored
from hippomem.learning import learned_of
from hippomem.storage import jobs, learning, links, places, reads, updates, validities, versions, writes
from hippomem.storage.files import real_path
from hippomem.storage.rows import NewPassage, content_id, has_validity, passage_id, said
from hippomem.storage.store import Store
from hippomem.types import Event, Forgotten, Passage, Triple

ATTEMPTS = 5  # at a write that others interfere with


@dataclass(slots=True)
class Writer:
    """The writes of one memory. Views learn of them from the log."""

    store_: Store
    analyser: Analyser
    namespace: str
    encoder: int
    clock: Clock
    kind: jobs.Kind | None = None  # the job that each new passage is for

    @property
    def number(self) -> int:
        """The number of the namespace; 0, which no row has, until something is written to it."""
        return self.store_.namespace(self.namespace, create=False)

    def look_up(self, create: bool = False) -> int:
        """The number, from the database: it may have changed, where a backup was put back."""
        return self.store_.namespace(self.namespace, create, known=False)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A write transaction for what adds to the namespace, which exists from then on."""
        self.look_up(create=True)  # before: within, it would wait for this very transaction
        with self.store_.write() as connection:
            yield connection

    # -- for the sink of an ingest ------------------------------------------------------------------------------

    def known(self, sources: list[str]) -> dict[str, tuple[str, int]]:
        """For sources that are in whole: fingerprint and number of documents."""
        with self.store_.read() as connection:
            return reads.fingerprints(connection, self.number, sources)

    def store(
        self,
        passages: list[NewPassage],
        readings: list[Reading],
        ingest: str | None = None,
        ahead: Mapping[str, Understood] | None = None,
    ) -> Stored:
        """Analyse and write a batch; sources that are finished lose what they no longer hold, others count as new.

        `ingest` is what the jobs of its passages are known by, `ahead` what of it was understood before, by content.
        """
        bringing = {p.id for p in passages if p.triples is not None}
        for _ in range(ATTEMPTS):
            with self.store_.read() as connection:
                there = writes.existing(connection, self.number, [p.id for p in passages])
                before = self._brought(connection, bringing)
                own = _bring(passages, before)
                changed = {id_ for id_ in before if _facts_among(own[id_]) != _facts_among(before[id_][1])}
                todo = [p for p in passages if p.id not in there or p.id in changed]
                encoded = writes.analysed(connection, self.number, self.encoder, {p.content for p in todo})
                numbers = {id_: before[id_][0] for id_ in changed}
                learned = learned_of(connection, self.number, numbers)
            done = self.analyser.complete(todo, encoded, [own.get(p.id, []) for p in todo], learned, ahead)
            complete = {p.id: p for p in done}
            batch = [complete.get(p.id, p) for p in passages]
            with self.writing() as connection:
                if (
                    self._lacks(connection, batch, complete)
                    or not _is_same(self._brought(connection, bringing), before)
                    or learned_of(connection, self.number, numbers) != learned
                ):
                    continue
                now = self.clock.now()
                written = writes.add_passages(connection, self.number, self.encoder, batch, now)
                self._enqueue(connection, written, batch, ingest, now)
                facts = written.facts
                for id_ in sorted(changed):
                    facts += writes.relink(connection, self.number, numbers[id_], id_, complete[id_].links, now)
                # A triple may have come to several passages of a source.
                gone = {(p.source, triple) for p in passages for triple in dropped(p.triples or ())}
                stored = Stored(len(written.numbers), written.entities, facts, dropped=len(gone))
                for reading in readings:
                    stored += self._note(connection, reading, now)
                return stored
        raise StoreBusyError("others keep forgetting what is being added here: try again later")

    def _enqueue(
        self,
        connection: Connection,
        written: writes.Written,
        batch: Iterable[NewPassage],
        ingest: str | None,
        now: datetime,
    ) -> None:
        if self.kind is not None:
            contents = {written.numbers[p.id]: p.content for p in batch if p.id in written.numbers}
            jobs.enqueue(connection, self.number, self.kind, contents, ingest, now)

    def _lacks(self, connection: Connection, batch: Sequence[NewPassage], complete: Container[str]) -> bool:
        """Whether another process took away what the analysis counted on: a passage, or vectors to share."""
        gone = {p.id for p in batch if p.id not in complete}
        if gone - writes.existing(connection, self.number, gone).keys():
            return True
        shared = {p.content for p in batch if p.id in complete and p.analysis is None}
        return bool(shared - writes.analysed(connection, self.number, self.encoder, shared))

    def _note(self, connection: Connection, reading: Reading, now: datetime) -> Stored:
        """What a reading means for what its source held before, and for whether it is read again."""
        if not reading.is_finished:
            writes.forget_whole_document(connection, self.number, reading.source)
            return Stored()
        held = reads.numbers_of_source(connection, self.number, reading.source)
        stale = [number for number, id_ in held.items() if id_ not in reading.ids]
        if stale and reading.has_failed:
            before, _ = reads.fingerprints(connection, self.number, [reading.source]).get(reading.source, (None, 0))
            if before is None or before != reading.fingerprint:  # what is stale may be what has failed
                writes.forget_whole_document(connection, self.number, reading.source)
                return Stored(kept=len(stale))
        free = places.places_of(connection, self.number, stale)
        writes.remove_passages(connection, self.number, stale, now, "replace")
        writes.forget_history(connection, self.number, [held[number] for number in stale])
        places.put_in_order(connection, self.number, reading.source, reading.ids, free, now)
        # Others may have taken out meanwhile what earlier transactions brought.
        if reading.fingerprint is None or not reading.ids.keys() <= set(held.values()):
            writes.forget_document(connection, self.number, reading.source)
        else:
            writes.set_document(connection, self.number, reading.source, reading.fingerprint, reading.documents, now)
        return Stored(removed=len(stale))

    # -- single memories ----------------------------------------------------------------------------------------

    def add(self, passage: NewPassage, triples: Sequence[Triple]) -> Event:
        """Write one passage, or add the user's triples to one that is there."""
        bringing = replace(passage, triples=tuple(triples), extends=True)
        for _ in range(ATTEMPTS):
            with self.store_.read() as connection:
                before = self._brought(connection, [passage.id])
                own = _bring([bringing], before)[passage.id]
                if before and _facts_among(own) == _facts_among(before[passage.id][1]):
                    return self._event(connection, passage.id, created=False)
                encoded = writes.analysed(connection, self.number, self.encoder, [passage.content])
                numbers = {id_: number for id_, (number, _) in before.items()}
                learned = learned_of(connection, self.number, numbers)
            (complete,) = self.analyser.complete([passage], encoded, [own], learned)
            with self.writing() as connection:
                if (
                    not _is_same(self._brought(connection, [passage.id]), before)
                    or learned_of(connection, self.number, numbers) != learned
                    or self._lacks(connection, [complete], {complete.id})
                ):
                    continue
                now = self.clock.now()
                if not before:
                    written = writes.add_passages(connection, self.number, self.encoder, [complete], now)
                    self._enqueue(connection, written, [complete], None, now)
                else:
                    writes.relink(connection, self.number, numbers[passage.id], passage.id, complete.links, now)
                # Read here, not afterwards: others may forget it the moment that this transaction ends.
                return self._event(connection, passage.id, created=not before)
        raise StoreBusyError("others keep changing what is being added here: try again later")

    def _brought(self, connection: Connection, ids: Iterable[str]) -> dict[str, tuple[int, list[Triple]]]:
        """For those of these passages that are there, their number and the triples that users brought to them."""
        there = writes.existing(connection, self.number, ids)
        facts = links.stated_in(connection, self.number, list(there.values()))
        return {
            id_: (number, [fact for fact in facts.get(number, []) if fact.extractor == "user"])
            for id_, number in there.items()
        }

    def _event(self, connection: Connection, id_: str, created: bool) -> Event:
        stored = reads.by_id(connection, self.number, id_)
        if stored is None:
            raise StoreError(f"{id_} was written and is not there: run hippomem doctor")
        return as_event(stored[1], created)

    def update(self, id_: str, text: str) -> Event:
        """Replace a memory's text: a new passage in the old one's place, with the user's triples, linked to it in the
        history."""
        for _ in range(ATTEMPTS):
            with self.store_.read() as connection:
                number, old = self._known(connection, id_)
                new = self._updated(connection, old, text)
                if new.id == old.id:
                    return as_event(old, created=False)
                brought = self._brought(connection, [old.id])
            (complete,) = self.analyser.complete([new], triples=[brought[old.id][1]])
            with self.writing() as connection:
                now = self.clock.now()
                still = reads.by_id(connection, self.number, old.id)
                if still is None:
                    raise NotFoundError(f"{old.id} was changed or forgotten meanwhile: get it and repeat the update")
                if still != (number, old) or not _is_same(self._brought(connection, [old.id]), brought):
                    continue
                if reads.by_id(connection, self.number, new.id) is not None:
                    raise InvalidInputError(f"there is a memory with this text ({new.id}) already: forget one of them")
                written = writes.add_passages(
                    connection, self.number, self.encoder, [complete], now, replacing=(number, old.id, old.text)
                )
                self._enqueue(connection, written, [complete], None, now)
                learning.move_targets(connection, self.number, number, written.numbers[new.id], now)
                versions.supersede(connection, self.number, number, written.numbers[new.id], now)
                validities.hand_over(connection, self.number, (number, old.id), (written.numbers[new.id], new.id))
                writes.remove_passages(connection, self.number, [number], now, None)
                return self._event(connection, new.id, created=True)
        raise StoreBusyError("others keep changing what is being updated here: try again later")

    def _updated(self, connection: Connection, old: Passage, text: str) -> NewPassage:
        """What a memory is with another text. A part of a document keeps its place, by which it has neighbours."""
        is_part = old.start > 0 or (old.source != "" and reads.is_continued(connection, self.number, old))
        return NewPassage(
            id=passage_id(self.namespace, old.source, old.title, text, old.session, old.occurred_at),
            text=text,
            title=old.title,
            source=old.source,
            content=content_id(old.title, text),
            position=old.position,
            start=old.start,
            end=old.end if is_part else len(text),
            session=old.session,
            occurred_at=old.occurred_at,
            metadata=old.metadata,
        )

    def annotate(self, ids: Iterable[str], metadata: Mapping[str, Any]) -> list[Passage]:
        """Merge into the metadata of memories what is not None, and take out what is; of all of them, or of none."""
        changed = []
        self.look_up()
        with self.store_.write() as connection:
            for id_ in ids:
                number, old = self._known(connection, id_)
                merged = {key: value for key, value in {**old.metadata, **metadata}.items() if value is not None}
                writes.describe(connection, number, merged)
                changed.append(replace(old, metadata=merged))
        return changed

    def forget(self, targets: Iterable[str], before: Callable[[], None]) -> Forgotten:
        """Take out memories by id, or all of a source, with all that only they held; all targets, or none. `before` is
        called when they are found and about to be gone.
        """
        self.look_up()
        with self.store_.write() as connection:
            writes.check_encoder(connection, self.encoder)  # else no view could prove that it is gone
            now = self.clock.now()
            names = list(targets)
            events = learning.numbers_of(connection, self.number, names)
            learning.remove_events(connection, self.number, list(events.values()), now)  # what feedback taught
            meant = (self._meant(connection, name) for name in names if name not in events)
            numbers = {number: None for own in meant for number in own}
            taught = len(events) + len(learning.events_about(connection, self.number, numbers))
            removed = writes.remove_passages(connection, self.number, list(numbers), now, "forget")
            writes.forget_history(connection, self.number, removed.ids)
            self.store_.owe_scrub(connection)
            before()
        self.store_.scrub()
        ids = (*removed.ids, *events)
        return Forgotten(len(removed.ids), removed.entities, removed.facts, ids, taught)

    def _meant(self, connection: Connection, target: str) -> list[int]:
        """The numbers of what goes by this id, or by this name of a source, which may be a path."""
        known = self._find(connection, target)
        if known:
            return [known[0]]
        path = FilePath(real_path(target)).as_posix() + "/" * target.endswith("/") if target else ""
        for source in filter(None, dict.fromkeys((target, path))):
            numbers = reads.numbers_where(connection, self.number, source=source)
            writes.forget_documents(connection, self.number, source)
            if numbers:
                return numbers
        raise NotFoundError(f"no memory and no source is called {target!r} in namespace {self.namespace!r}")

    def current(self, id_: str) -> tuple[int, Passage]:
        """A memory by its id, or by an id that it had before an update. Raises NotFoundError."""
        with self.store_.read() as connection:
            return self._known(connection, id_)

    def _known(self, connection: Connection, id_: str) -> tuple[int, Passage]:
        found = self._find(connection, id_)
        if found is None:
            raise NotFoundError(f"no memory has the id {id_!r} in namespace {self.namespace!r}")
        return found

    def _find(self, connection: Connection, id_: str) -> tuple[int, Passage] | None:
        known = reads.by_id(connection, self.number, id_)
        return known or reads.by_id(connection, self.number, updates.named_now(connection, self.number, id_))


def _bring(passages: Iterable[NewPassage], before: Mapping[str, tuple[int, list[Triple]]]) -> dict[str, list[Triple]]:
    """What each passage that brings triples will have of them."""
    own: dict[str, list[Triple]] = {}
    for p in passages:
        if p.triples is not None:
            earlier = own.get(p.id, before[p.id][1] if p.id in before else []) if p.extends else []
            again = {t for t in p.triples if has_validity(t)}  # said with other times, a triple has those
            there = set(earlier)  # there may be thousands
            left = [*(t for t in earlier if t not in again), *(t for t in p.triples if t not in there or t in again)]
            own[p.id] = list({said(t): t for t in left}.values())
    return own


def _facts_among(triples: Iterable[Triple]) -> list[tuple[Triple, datetime | None, datetime | None]]:
    """Those that the store keeps as facts, between two different names, with when they hold."""
    return [said(t) for t in triples if _is_fact(t)]


def _is_fact(triple: Triple) -> bool:
    return len({entity_key(triple.subject), entity_key(triple.object)} - {""}) == 2


def dropped(triples: Iterable[Triple]) -> tuple[Triple, ...]:
    """Those that the store does not keep as facts."""
    return tuple(triple for triple in triples if not _is_fact(triple))


def _is_same(one: Mapping[str, tuple[int, list[Triple]]], other: Mapping[str, tuple[int, list[Triple]]]) -> bool:
    return {id_: (n, _facts_among(t)) for id_, (n, t) in one.items()} == {
        id_: (n, _facts_among(t)) for id_, (n, t) in other.items()
    }


def as_event(passage: Passage, created: bool) -> Event:
    return Event(**{name: getattr(passage, name) for name in Passage.__dataclass_fields__}, created=created)


def new_passage(
    namespace: str,
    text: str,
    title: str,
    source: str,
    session: str | None,
    occurred_at: datetime | None,
    metadata: Mapping[str, Any] | None,
) -> NewPassage:
    """A single memory to write. Raises InvalidInputError where its metadata is not JSON, or its time is none."""
    moment = checked_moment(occurred_at, "occurred_at")
    return NewPassage(
        id=passage_id(namespace, source, title, text, session, moment),
        text=text,
        title=title,
        source=source,
        content=content_id(title, text),
        end=len(text),
        session=session,
        occurred_at=moment,
        metadata=checked_metadata(metadata),
    )
