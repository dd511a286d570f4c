"""Two writers in exactly the order that hurts: the other one comes between a read and the write that follows."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from traces import plant, traces

from hippomem import (
    Document,
    EncoderMismatchError,
    InvalidInputError,
    Memory,
    NotFoundError,
    StoreBusyError,
    feedback,
    reencode,
    viewing,
)
from hippomem.analyse import Analyser
from hippomem.consolidation import tidying
from hippomem.evidence import evidence_of
from hippomem.hippocampus import catchup
from hippomem.hippocampus.snapshot import Snapshots
from hippomem.neocortex.encoder import Encoded
from hippomem.storage import engine
from hippomem.storage.damage import damaged
from hippomem.storage.sqlite import SQLite
from hippomem.storage.store import Store
from hippomem.testing import HashEncoder

Opened = Callable[..., Memory]
Meanwhile = Callable[[Callable[[], object]], None]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Has something done once, while the next text is analysed: after the store was read, before it is written."""
    waiting: list[Callable[[], object]] = []
    complete = Analyser.complete

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        done = complete(*args, **kwargs)
        if waiting:
            waiting.pop()()
        return done

    monkeypatch.setattr(Analyser, "complete", interrupted)
    return waiting.append


def texts(memory: Memory) -> list[str]:
    assert [check for check in memory.doctor().checks if not check.ok] == []
    return sorted(text for _, text in memory.graph().nodes(data="text") if text is not None)


def test_an_ingest_shares_vectors_that_are_forgotten_meanwhile(fast: Opened, meanwhile: Meanwhile) -> None:
    one, two = fast(), fast()
    two.add("Ada met Bea.", source="first")
    meanwhile(lambda: two.forget("first"))
    one.ingest([Document(text="Ada met Bea.", source="second"), Document(text="Cid met Dora.", source="third")])
    assert texts(two) == ["Ada met Bea.", "Cid met Dora."]


def test_an_ingest_finds_what_is_forgotten_meanwhile(fast: Opened, meanwhile: Meanwhile) -> None:
    one, two = fast(), fast()
    two.add("Ada met Bea.", source="first")
    meanwhile(lambda: two.forget("first"))
    one.ingest([Document(text="Ada met Bea.", source="first"), Document(text="Cid met Dora.", source="second")])
    assert texts(two) == ["Ada met Bea.", "Cid met Dora."]


def test_a_triple_is_brought_for_what_is_forgotten_meanwhile(fast: Opened, meanwhile: Meanwhile) -> None:
    one, two = fast(), fast()
    two.add("Ada met Bea.", source="first")
    meanwhile(lambda: two.forget("first"))
    event = one.add("Ada met Bea.", source="first", triples=[("Ada", "likes", "Bea")])
    assert event.created
    assert texts(two) == ["Ada met Bea."]
    assert two.stats()["facts"] == 2


def test_the_same_is_added_by_both(fast: Opened, meanwhile: Meanwhile) -> None:
    one, two = fast(), fast()
    meanwhile(lambda: two.add("Ada met Bea.", triples=[("Bea", "likes", "Ada")]))
    event = one.add("Ada met Bea.", triples=[("Ada", "likes", "Bea")])
    assert not event.created
    assert texts(one) == ["Ada met Bea."]
    assert one.stats()["facts"] == 3  # the triples of both, and the one in the text


def test_an_update_of_what_is_forgotten_or_updated_meanwhile(fast: Opened, meanwhile: Meanwhile) -> None:
    one, two = fast(), fast()
    event = one.add("Ada lives in Oslo.")
    meanwhile(lambda: two.update(event.id, "Ada lives in Bergen."))
    with pytest.raises(NotFoundError, match="meanwhile"):
        one.update(event.id, "Ada lives in Paris.")
    assert texts(one) == ["Ada lives in Bergen."]
    meanwhile(lambda: two.forget(event.id))
    with pytest.raises(NotFoundError, match="meanwhile"):
        one.update(event.id, "Ada lives in Paris.")
    assert texts(one) == []


def test_an_update_of_what_is_forgotten_and_added_again_meanwhile(fast: Opened, meanwhile: Meanwhile) -> None:
    one, two = fast(), fast()
    event = one.add("Ada lives in Oslo.")
    meanwhile(lambda: (two.forget(event.id), two.add("Ada lives in Oslo.")))
    one.update(event.id, "Ada lives in Paris.")
    assert texts(one) == ["Ada lives in Paris."]


def test_an_update_of_what_is_given_triples_and_metadata_meanwhile(fast: Opened, meanwhile: Meanwhile) -> None:
    one, two = fast(), fast()
    event = one.add("Ada lives in Oslo.", triples=[("Ada", "likes", "Bea")])
    meanwhile(lambda: two.annotate(event.id, {"seen": 1}))
    paris = one.update(event.id, "Ada lives in Paris.")
    assert paris.metadata == {"seen": 1}
    meanwhile(lambda: two.add("Ada lives in Paris.", triples=[("Ada", "likes", "Cid")]))
    bergen = one.update(event.id, "Ada lives in Bergen.")
    own = [str(t) for t in one.history(bergen.id)[-1].triples if t.extractor == "user"]
    assert own == ["Ada – likes – Bea", "Ada – likes – Cid"]
    assert texts(one) == ["Ada lives in Bergen."]


def test_an_update_to_what_is_added_meanwhile(fast: Opened, meanwhile: Meanwhile) -> None:
    one, two = fast(), fast()
    event = one.add("Ada lives in Oslo.")
    meanwhile(lambda: two.add("Ada lives in Paris."))
    with pytest.raises(InvalidInputError, match="already"):
        one.update(event.id, "Ada lives in Paris.")
    assert texts(one) == ["Ada lives in Oslo.", "Ada lives in Paris."]


class Interrupted(HashEncoder):
    """Does something while it encodes its first texts."""

    def __init__(self, dimension: int, meanwhile: Callable[[], object]) -> None:
        super().__init__(dimension)
        self._meanwhile = [meanwhile]

    def encode_passages(self, *args: Any) -> list[Encoded]:
        if self._meanwhile:
            self._meanwhile.pop()()
        return super().encode_passages(*args)


def test_adding_and_forgetting_while_the_store_is_encoded_anew(fast: Opened, tmp_path: Path) -> None:
    old = fast()
    first = old.add("Ada met Bea.")
    old.add("Cid met Dora.")
    encoder = Interrupted(32, lambda: (old.forget(first.id), old.add("Ebba met Falk.")))
    assert Memory.reencode(tmp_path / "m.db", encoder=encoder) >= 2
    with pytest.raises(EncoderMismatchError, match="open it again"):
        old.recall("Ada")
    with pytest.raises(EncoderMismatchError, match="open it again"):
        old.add("Too late.")
    with pytest.raises(EncoderMismatchError, match="open it again"):
        old.export(tmp_path / "dump.jsonl")
    with pytest.raises(EncoderMismatchError, match="open it again"):
        old.forget(old.passages()[0].id)  # and nothing is forgotten
    new = fast(encoder=HashEncoder(32))
    assert texts(new) == ["Cid met Dora.", "Ebba met Falk."]  # doctor finds no vector of what was forgotten
    assert [p.text for p in new.recall("Ebba", 1).passages] == ["Ebba met Falk."]


def test_an_export_while_the_store_is_encoded_anew_has_the_vectors_of_now(
    fast: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fast()
    old.update(old.add("Ada met Bea.").id, "Ada met Cid.")
    old.export(tmp_path / "before")
    take_over = reencode._take_over

    def exported(*args: Any) -> bool:  # the vectors of both encoders are there
        old.export(tmp_path / "meanwhile")
        return take_over(*args)

    monkeypatch.setattr(reencode, "_take_over", exported)
    assert Memory.reencode(tmp_path / "m.db", encoder=HashEncoder(32)) == 2
    assert (tmp_path / "meanwhile").read_text() == (tmp_path / "before").read_text()
    assert Memory.reencode(tmp_path / "m.db", encoder=HashEncoder(32)) == 0


def test_what_is_forgotten_just_before_another_encoder_takes_over_is_told_as_forgotten(
    fast: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fast()
    event = old.add("Ada met Bea.")
    old.add("Cid met Dora.")
    assert old.recall("Ada").passages
    scrub = Store.scrub

    def overtaken(*args: Any) -> None:
        monkeypatch.undo()
        scrub(*args)
        Memory.reencode(tmp_path / "m.db", encoder=HashEncoder(32))

    monkeypatch.setattr(Store, "scrub", overtaken)
    assert old.forget(event.id).passages == 1
    with pytest.raises(EncoderMismatchError, match="open it again"):
        old.recall("Ada")
    assert texts(fast(encoder=HashEncoder(32))) == ["Cid met Dora."]


def test_feedback_is_not_lost_to_an_encoder_that_takes_over_meanwhile(
    fast: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fast()
    event = old.add("Ada met Bea.")
    old.add("Cid met Dora.")

    def overtaken(*args: Any) -> bytes | None:
        Memory.reencode(tmp_path / "m.db", encoder=HashEncoder(32))
        return evidence_of(*args)

    monkeypatch.setattr(feedback, "evidence_of", overtaken)
    with pytest.raises(EncoderMismatchError, match="open it again"):
        old.feedback("Whom did Ada meet?", [event.id])
    assert fast(encoder=HashEncoder(32)).stats()["learned"] == 0  # nothing would ever be learned from it


def test_two_encode_the_store_anew_with_the_same_encoder(fast: Opened, tmp_path: Path) -> None:
    db = tmp_path / "m.db"
    fast().add("Ada met Bea.")
    encoder = Interrupted(32, lambda: Memory.reencode(db, encoder=HashEncoder(32)))
    Memory.reencode(db, encoder=encoder)
    assert texts(fast(encoder=HashEncoder(32))) == ["Ada met Bea."]


def test_two_encode_the_store_anew_with_different_encoders(fast: Opened, tmp_path: Path) -> None:
    db = tmp_path / "m.db"
    fast().add("Ada met Bea.")
    with pytest.raises(StoreBusyError, match="another process encodes this store anew"):
        Memory.reencode(db, encoder=Interrupted(32, lambda: Memory.reencode(db, encoder=HashEncoder(48))))
    assert texts(fast(encoder=HashEncoder(48))) == ["Ada met Bea."]
    assert Memory.reencode(db, encoder=HashEncoder(32)) == 1
    assert texts(fast(encoder=HashEncoder(32))) == ["Ada met Bea."]


def test_what_another_encodes_anew_just_before(fast: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db, look = tmp_path / "m.db", reencode._has_made
    fast().add("Ada met Bea.")

    def encode(first: int, then: int) -> int:
        """With `then` dimensions, where another process does so with `first` once we have looked what is there."""

        def overtaken(*args: Any) -> bool:
            monkeypatch.setattr(reencode, "_has_made", look)
            Memory.reencode(db, encoder=HashEncoder(first))
            return look(*args)

        monkeypatch.setattr(reencode, "_has_made", overtaken)
        return Memory.reencode(db, encoder=HashEncoder(then))

    assert encode(32, 32) == 0
    with pytest.raises(StoreBusyError, match="with 'hash-48'"):
        encode(48, 96)
    assert texts(fast(encoder=HashEncoder(48))) == ["Ada met Bea."]


def test_forgetting_while_another_saves_its_view(fast: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = fast(), fast()
    for i in range(80):
        one.add(f"Visitor{i} came to Oslo.")
    (target,) = (p for p in one.recall("Visitor17", 99).passages if "Visitor17 " in p.text)
    write = Snapshots._write

    def interrupted(*args: Any) -> None:
        write(*args)
        monkeypatch.undo()
        two.forget(target.id)

    monkeypatch.setattr(Snapshots, "_write", interrupted)
    one.close()
    two.close()
    assert traces(tmp_path / "m.db", [b"Visitor17", b"visitor17"]) == []


def test_forgetting_while_another_empties_the_log_waits_for_it(fast: Opened, tmp_path: Path) -> None:
    memory, is_over = fast(), threading.Event()
    events = [memory.add(f"Ada hid key {number}. {'She told nobody. ' * 50}") for number in range(8)]

    def empty_the_log() -> None:
        with closing(sqlite3.connect(tmp_path / "m.db", isolation_level=None)) as connection:
            while not is_over.is_set():
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    others = [threading.Thread(target=empty_the_log) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for event in events:
            memory.forget(event.id)
    finally:
        is_over.set()
        for other in others:
            other.join()
    assert memory.stats()["passages"] == 0


def test_forgetting_while_another_reads_holds_up_no_writer(fast: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 5.0)
    reader, memory, writer = fast(), fast(), fast()
    event = memory.add("Ada hid the key.")
    with ThreadPoolExecutor(1) as pool:
        with reader._store.read() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM passages").scalar()
            forgetting = pool.submit(memory.forget, event.id)
            while writer.stats()["passages"]:
                time.sleep(0.01)
            time.sleep(0.3)  # by now it waits for the reader
            began = time.monotonic()
            writer.add("Bea found it.")
            assert time.monotonic() - began < 2
        assert forgetting.result().passages == 1


def test_forgetting_while_another_reads_is_made_up_for(
    fast: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.3)
    reader, memory = fast(), fast()
    event = memory.add("Ada hid the Lantern Foundry key.")
    with reader._store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM passages").scalar() == 1
        with pytest.raises(StoreBusyError, match="it is forgotten, but its traces"):
            memory.forget(event.id)
        assert memory.recall("Who hid the key?").passages == ()
        assert traces(tmp_path / "m.db", [b"Lantern Foundry"])
    fast()
    assert traces(tmp_path / "m.db", [b"Lantern Foundry", b"lantern foundry"]) == []


@pytest.mark.sqlite
def test_forgetting_while_another_overwrites_its_own_traces_is_owed_until_it_is_done(
    fast: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = fast(), fast()
    events = [one.add("Ada hid the Lantern Foundry key."), one.add("Bea hid the Marble Harbour key.")]
    scrub = SQLite.scrub

    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    def interrupted(*args: Any) -> None:
        scrub(*args)
        monkeypatch.setattr(SQLite, "scrub", killed)
        with pytest.raises(KeyboardInterrupt):
            two.forget(events[1].id)
        plant(tmp_path / "m.db", b"Marble Harbour")

    monkeypatch.setattr(SQLite, "scrub", interrupted)
    one.forget(events[0].id)
    monkeypatch.undo()
    fast()
    assert traces(tmp_path / "m.db", [b"Lantern Foundry", b"Marble Harbour"]) == []


def test_what_a_round_looks_at_is_forgotten_meanwhile(fast: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = fast(), fast()
    junk, kept = two.add("ok"), two.add("Ada met Bea in the old harbour.", source="one")
    again = two.add("Ada met Bea in the old harbour!", source="two")

    def planned(*args: Any) -> deque[Any]:  # after the last read, before the write
        monkeypatch.undo()
        two.forget([junk.id, kept.id])
        return deque(*args)

    monkeypatch.setattr(tidying, "deque", planned)
    report = one.consolidate()
    assert [(step.name, step.error) for step in report.steps if step.error] == []
    assert one.recall("Whom did Ada meet?").passages[0].id == again.id


@pytest.mark.parametrize("grows", [True, False])
def test_a_promotion_is_undone_just_before_it_is_counted_anew(
    fast: Opened, monkeypatch: pytest.MonkeyPatch, grows: bool
) -> None:
    memory, other = fast(), fast()

    def say(*sources: str) -> list[str]:
        told = [("Zed", "lives in", "Paris")]
        return [memory.add(f"{one}: Zed lives in Paris.", source=one, triples=told).id for one in sources]

    ids = say("a", "b", "c")
    memory.consolidate()
    (promoted,) = [change for change in memory.history(ids[2]) if change.action == "promote"]
    say("d") if grows else memory.forget(ids[0])
    memory.add("Bea left.")

    def planned(*args: Any) -> deque[Any]:
        monkeypatch.undo()
        other.undo(promoted.sequence)
        return deque(*args)

    monkeypatch.setattr(tidying, "deque", planned)
    counts = memory.consolidate()["tidy"].counts
    say("e", "f")
    assert {**counts, **memory.consolidate()["tidy"].counts}.get("promoted", 0) == 0
    assert memory.stats()["consolidation"]["semantic_facts"] == 0
    with pytest.raises(InvalidInputError, match="undone already"):
        other.undo(promoted.sequence)
    assert memory.doctor().ok


def test_the_doctor_takes_what_comes_while_it_looks_for_no_damage(fast: Opened) -> None:
    one, two = fast(), fast()
    two.forget(two.add("Ada met Bea.").id)
    numbers = count()

    @contextmanager
    def read() -> Iterator[Connection]:
        with one._store.read() as connection:
            yield connection
        id_ = two.add(f"Cid met Dora {next(numbers)} times.").id
        two.update(id_, f"Cid met Falk {next(numbers)} times.")

    assert list(damaged(read, two._number, one._encoder_number)) == []


def test_what_a_text_repeats_is_forgotten_meanwhile(fast: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = fast(), fast()
    event = two.add("Ada met Bea in the old harbour.", source="one")
    assert one.recall("Whom did Ada meet?").passages
    write = Store.write

    def interrupted(store: Store) -> Any:
        monkeypatch.undo()
        two.forget(event.id)
        return write(store)

    monkeypatch.setattr(Store, "write", interrupted)
    assert one.add("Ada met Bea in the old harbour.").created
    assert texts(two) == ["Ada met Bea in the old harbour."]


def test_opening_waits_but_a_moment_for_those_who_keep_what_is_forgotten_from_being_overwritten(
    fast: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, memory = fast(), fast()
    event = memory.add("Ada hid the Lantern Foundry key.")
    with reader._store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM passages").scalar() == 1
        with monkeypatch.context() as patched:
            patched.setattr(engine, "BUSY_SECONDS", 0.3)
            with pytest.raises(StoreBusyError):
                memory.forget(event.id)
        began = time.monotonic()
        fast()
        assert time.monotonic() - began < 20
    fast()
    assert traces(tmp_path / "m.db", [b"Lantern Foundry", b"lantern foundry"]) == []


def test_a_view_is_saved_after_an_ingest_without_keeping_those_who_forget_waiting(
    fast: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 1.0)
    one, two = fast(), fast()
    event = two.add("Ada met Bea.")
    forgotten = []
    write = Snapshots._write

    def interrupted(*args: Any) -> None:
        write(*args)
        monkeypatch.setattr(Snapshots, "_write", write)
        forgotten.append(two.forget(event.id))

    monkeypatch.setattr(Snapshots, "_write", interrupted)
    one.ingest([Document(text=f"Visitor{number} came to Oslo.") for number in range(80)])
    assert forgotten
    assert one.doctor().ok


@pytest.mark.parametrize("has_view", [True, False])
def test_a_long_log_is_followed_in_transactions_between_which_others_forget(
    fast: Opened, monkeypatch: pytest.MonkeyPatch, has_view: bool
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 1.0)
    monkeypatch.setattr(viewing, "STEP", 8)
    monkeypatch.setattr(catchup, "BATCH", 8)
    one, two = fast(), fast()
    events = [two.add(f"Visitor{number} came to Oslo.") for number in range(4)]
    if has_view:
        assert one.recall("Oslo").passages
    events += [two.add(f"Guest{number} left for Bergen.") for number in range(36)]
    deeds = [
        lambda: two.forget(events[0].id),
        lambda: two.update(events[1].id, "Ada came to Oslo."),
        lambda: two.forget(events[39].id),
        lambda: two.update(events[38].id, "Bea left for Bergen."),
        lambda: two.add(events[37].text, triples=[("Guest33", "likes", "Bergen")]),
    ]
    read = Store.read

    def between(store: Store) -> Any:
        if store is one._store and deeds:
            deeds.pop()()
        return read(store)

    monkeypatch.setattr(Store, "read", between)
    found = one.recall("Bergen", 100).passages
    assert not deeds
    monkeypatch.undo()
    assert {p.id for p in found} == {p.id for p in two.passages()}
    assert one.doctor().ok
