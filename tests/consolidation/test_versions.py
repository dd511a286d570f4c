"""A recall about a moment before an update finds and shows what stood then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hippomem import Document, Memory, NotFoundError, Settings, SimulatedClock, Triple
from hippomem.testing import HashEncoder, capitals

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
OSLO, ROME = "Ada works at the Oslo lighthouse.", "Ada paints boats in Rome."


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


@pytest.fixture
def memory(fast: Callable[..., Memory], clock: SimulatedClock) -> Memory:
    opened = fast(clock=clock)
    for number, name in enumerate("Bea Cid Dov Eve Fay".split()):
        opened.add(f"{name} lives in Town{number} and met Ada.")
    return opened


def texts(memory: Memory, query: str = "Oslo lighthouse", k: int = 20, **options: Any) -> list[str]:
    return [p.text for p in memory.recall(query, k, **options).passages]


def bytes_of(folder: Path) -> bytes:
    return b"".join(f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file())


def test_the_text_of_then_is_recalled_and_shown(memory: Memory, clock: SimulatedClock) -> None:
    old = memory.add(OSLO, triples=[("Ada", "works at", "Oslo")])
    clock.advance(DAY)
    new = memory.update(old.id, ROME)
    assert OSLO not in texts(memory)
    assert OSLO not in texts(memory, deep=True)
    assert texts(memory, as_of=NOW + DAY / 2)[0] == OSLO
    assert ROME not in texts(memory, as_of=NOW + DAY / 2)
    assert ROME in texts(memory, as_of=NOW + DAY)
    assert OSLO not in texts(memory, as_of=NOW + DAY)
    assert OSLO not in texts(memory, as_of=NOW - DAY)
    found = memory.recall("Where does Ada work? Oslo", 1, as_of=NOW)
    passage = found.passages[0]
    assert (passage.id, passage.valid_from, passage.invalid_at) == (old.id, NOW, NOW + DAY)
    assert "works at – Oslo" in str(found.paths[0])
    assert memory.get(passage.id).id == new.id
    assert texts(memory, method="dense", as_of=NOW)[0] == OSLO
    assert memory.doctor().ok
    assert memory.stats()["consolidation"]["earlier_versions"] == 1


def test_a_chain_of_updates_that_comes_back_to_the_same_text(memory: Memory, clock: SimulatedClock) -> None:
    id_ = memory.add(OSLO).id
    for text in (ROME, OSLO, "Ada left."):
        clock.advance(DAY)
        id_ = memory.update(id_, text).id
    days = [[t for t in texts(memory, "Ada", as_of=NOW + n * DAY + DAY / 2) if "Town" not in t] for n in range(4)]
    assert days == [[OSLO], [ROME], [OSLO], ["Ada left."]]
    days = [[t for t in texts(memory, "Ada", as_of=NOW + n * DAY + DAY / 2) if "Town" not in t] for n in (2, 0, 1)]
    assert days == [[OSLO], [OSLO], [ROME]]  # the same view, back and forth
    again = memory.add(OSLO)  # as a memory of its own
    assert texts(memory, "Ada", as_of=NOW).count(OSLO) == 1
    memory.forget(again.id)
    assert [t for t in texts(memory, "Ada", as_of=NOW) if "Town" not in t] == []
    assert memory.doctor().ok


def test_sessions_sources_and_windows_are_those_of_then(memory: Memory, clock: SimulatedClock) -> None:
    memory.add("Ada began.", session="s")
    old = memory.add(OSLO, session="s")
    clock.advance(DAY)
    memory.update(old.id, ROME)
    clock.advance(DAY)
    memory.add("Ada ended.", session="s")
    assert texts(memory, session="s", as_of=NOW) == [OSLO, "Ada began."]
    assert texts(memory, session="t", as_of=NOW) == []
    assert OSLO not in texts(memory, source="docs/", as_of=NOW)
    (first,) = memory.recall("Oslo lighthouse", 1, as_of=NOW, context=3).passages
    assert [[p.text for p in side] for side in (first.before, first.after)] == [["Ada began."], []]
    (began,) = memory.recall("Who began?", 1, as_of=NOW, session="s", context=3).passages
    assert ([p.text for p in began.before], [p.text for p in began.after]) == ([], [OSLO])


def test_the_window_of_a_text_that_was_told_again_later_is_that_of_then(
    fast: Callable[..., Memory], clock: SimulatedClock
) -> None:
    memory = fast(clock=clock)
    for before, after, later in (("Bea came.", "Cid left.", ROME), ("Dov came.", "Eve left.", "Ada sails.")):
        memory.add(before, session="s")
        told = memory.add(OSLO, session="s")
        memory.add(after, session="s")
        clock.advance(DAY)
        memory.update(told.id, later)
        clock.advance(DAY)
    for day, before, after in ((0, "Bea came.", "Cid left."), (2, "Dov came.", "Eve left.")):
        (found,) = memory.recall("Oslo lighthouse", 1, as_of=NOW + (day + 0.5) * DAY, context=1).passages
        assert [found.before[0].text, found.text, found.after[0].text] == [before, OSLO, after]


def test_what_was_hidden_before_it_was_replaced_stays_so(memory: Memory, clock: SimulatedClock) -> None:
    from hippomem.storage import statuses

    old = memory.add(OSLO)
    clock.advance(DAY)
    with memory._store.write() as connection:
        number = memory._writer.current(old.id)[0]
        statuses.set_status(connection, memory._number, number, archived_at=clock.now())
    clock.advance(DAY)
    memory.update(old.id, ROME)
    assert OSLO in texts(memory, as_of=NOW)
    assert OSLO not in texts(memory, as_of=NOW + 1.5 * DAY)


def test_of_two_moments_each_passes_over_what_was_hidden_then(memory: Memory, clock: SimulatedClock) -> None:
    from hippomem.storage import statuses

    other = memory.add("Ada mends nets.")
    old = memory.add(OSLO)
    clock.advance(DAY)
    new = memory.update(old.id, ROME)
    clock.advance(DAY)
    with memory._store.write() as connection:
        number = memory._writer.current(new.id)[0]
        statuses.set_status(connection, memory._number, number, archived_at=clock.now())
        statuses.log_change(connection, memory._number, "archive", number, new.id, clock.now(), {})
    clock.advance(2 * DAY)
    memory.update(other.id, "Ada mends sails.")
    for day, text in ((0.5, OSLO), (1.5, ROME), (0.5, OSLO), (3, None)):
        found = {t for t in texts(memory, "Ada", as_of=NOW + day * DAY) if t in (OSLO, ROME)}
        assert found == {text} - {None}, day


def test_a_clock_that_has_gone_back_between_updates_hides_nothing(memory: Memory, clock: SimulatedClock) -> None:
    old = memory.add(OSLO)
    clock.advance(365 * DAY)
    new = memory.update(old.id, ROME)
    clock.advance(-360 * DAY)
    memory.update(new.id, "Ada left.")
    days = [[t for t in texts(memory, "Ada", as_of=NOW + n * DAY) if "Town" not in t] for n in (1, 4, 9, 364, 366)]
    assert days == [[OSLO], [OSLO], ["Ada left."], ["Ada left."], ["Ada left."]]


def test_forgetting_takes_every_version_byte_for_byte(memory: Memory, clock: SimulatedClock, tmp_path: Path) -> None:
    old = memory.add("Ada hid the Zanzibar ledger.", triples=[("Ada", "hid", "Zanzibar ledger")])
    other = memory.add("Gil sings Quintessence.")
    clock.advance(DAY)
    new = memory.update(old.id, ROME)
    changed = memory.update(other.id, "Gil dances.")
    assert "Zanzibar" in texts(memory, "Zanzibar", as_of=NOW)[0]
    memory.forget(new.id)
    assert "Zanzibar" not in "".join(texts(memory, "Zanzibar", as_of=NOW))
    same = memory.add("Gil sings Quintessence.")  # what another one was before
    memory.forget(same.id)
    assert memory.doctor().ok
    memory.close()
    left = bytes_of(tmp_path)
    assert b"Zanzibar" not in left
    assert b"zanzibar" not in left
    assert b"Gil sings" not in left
    assert b"Quintessence" not in left
    with Memory.open(tmp_path / "m.db", encoder=HashEncoder(), pipeline=capitals()) as again:
        assert again.get(changed.id).text == "Gil dances."
        assert again.doctor().ok


@pytest.mark.sqlite
def test_the_users_triples_stay_over_updates(memory: Memory, clock: SimulatedClock, tmp_path: Path) -> None:
    until = NOW + 9 * DAY
    owns, keeps = Triple("Ada", "owns", "Heron", invalid_at=until), Triple("Ada", "keeps", "Bees")
    old = memory.add(OSLO, title="Ada", metadata={"n": 1}, session="s", triples=[owns])
    clock.advance(DAY)
    second = memory.update(old.id, ROME)
    memory.add(ROME, title="Ada", session="s", triples=[keeps])
    clock.advance(DAY)
    third = memory.update(second.id, "Ada left.")
    assert (third.title, third.metadata, third.session) == ("Ada", {"n": 1}, "s")

    def brought(memory: Memory, id_: str) -> list[list[tuple[str, datetime | None]]]:
        """The user's facts, by entry of the history."""
        told = [[t for t in change.triples if t.extractor == "user"] for change in memory.history(id_)]
        return [[(t.object, t.invalid_at) for t in own] for own in told]

    each = [("Heron", until)], [], [("Heron", until), ("Bees", None)], [("Heron", until), ("Bees", None)]
    assert [(c.action, c.text) for c in memory.history(old.id)] == [
        ("add", None), ("update", OSLO), ("link", None), ("update", ROME)
    ]  # fmt: skip
    assert brought(memory, old.id) == list(each)
    rules = [t.relation for t in memory.history(old.id)[0].triples if t.extractor == "rules"]
    assert rules == ["works at the"]  # what was found in the earlier text, and is not in the last one
    for moment, text in ((NOW, OSLO), (NOW + DAY, ROME), (None, "Ada left.")):
        found = memory.recall("Who owns the Heron?", 1, as_of=moment)
        assert found.passages[0].text == text
        assert "owns – Heron" in str(found.paths[0])
    assert memory.recall("Who keeps Bees?", 1, as_of=NOW).paths == ()
    memory.export(tmp_path / "dump")
    settings = Settings(encoder=HashEncoder(), pipeline=capitals())
    with Memory.load(tmp_path / "dump", tmp_path / "n.db", settings=settings) as loaded:
        assert brought(loaded, third.id)[-1] == each[-1]
        assert "owns – Heron" in str(loaded.recall("Who owns the Heron?", 1, as_of=NOW).paths[0])
        assert loaded.doctor().ok
    assert memory.doctor().ok
    memory.forget(old.id)
    assert [c.triples for c in memory.history(third.id)] == [()] * 5
    memory.close()
    assert b"Heron" not in (tmp_path / "m.db").read_bytes()


def test_a_learning_event_has_no_triples_of_a_passage(memory: Memory) -> None:
    first = memory.passages()[0]
    event = memory.feedback("Who met Ada?", [first.id])  # the first one, as the passage is
    assert [(c.action, c.triples) for c in memory.history(event.id)] == [("learn", ())]


def test_a_file_that_is_read_anew_keeps_no_version(memory: Memory, clock: SimulatedClock) -> None:
    memory.ingest(Document(text=OSLO, source="d"))
    clock.advance(DAY)
    (passage,) = memory.passages(source="d")
    memory.update(passage.id, ROME)
    memory.ingest(Document(text="Ada left.", source="d"))
    assert memory.stats()["consolidation"]["earlier_versions"] == 0
    assert memory.doctor().ok


def test_versions_survive_export_another_encoder_and_another_process(
    memory: Memory, clock: SimulatedClock, tmp_path: Path
) -> None:
    old = memory.add(OSLO, triples=[("Ada", "works at", "Oslo")])
    clock.advance(DAY)
    second = memory.update(old.id, ROME)
    clock.advance(DAY)
    memory.update(second.id, "Ada left.")
    memory.export(tmp_path / "dump")
    settings = Settings(encoder=HashEncoder(), pipeline=capitals())
    with Memory.load(tmp_path / "dump", tmp_path / "n.db", namespace="n", settings=settings) as loaded:
        assert texts(loaded, as_of=NOW)[0] == OSLO
        found = loaded.recall("Where does Ada work? Oslo", 1, as_of=NOW)
        assert "works at – Oslo" in str(found.paths[0])
        assert ROME in texts(loaded, as_of=NOW + DAY)
        assert loaded.doctor().ok
        loaded.export(tmp_path / "again")
    with Memory.load(tmp_path / "dump", tmp_path / "n.db", namespace="n", settings=settings) as loaded:
        assert loaded.stats()["consolidation"]["earlier_versions"] == 2  # once, however often it is loaded
    memory.close()
    Memory.reencode(tmp_path / "m.db", encoder=HashEncoder(64))
    with Memory.open(tmp_path / "m.db", encoder=HashEncoder(64), pipeline=capitals()) as again:
        assert texts(again, as_of=NOW)[0] == OSLO
        assert again.doctor().ok


def test_a_loaded_memory_tells_its_updates_and_goes_by_its_earlier_ids(
    memory: Memory, clock: SimulatedClock, tmp_path: Path
) -> None:
    ids, moments = [memory.add(OSLO).id], [NOW]
    for text in (ROME, "Ada left."):
        clock.advance(DAY)
        ids.append(memory.update(ids[-1], text).id)
        moments.append(clock.now())
    memory.export(tmp_path / "dump")
    (tmp_path / "n").mkdir()
    to = {"db": tmp_path / "n" / "n.db", "settings": Settings(encoder=HashEncoder(), pipeline=capitals())}
    with Memory.load(tmp_path / "dump", **to) as loaded:
        told = [(OSLO, moments[1]), (ROME, moments[2])]
        for id_ in ids:
            assert loaded.get(id_).text == "Ada left."
            assert [(c.text, c.at) for c in loaded.history(id_) if c.action == "update"] == told
        (found,) = loaded.recall("Oslo lighthouse", 1, as_of=NOW).passages
        loaded.feedback("Where is the lighthouse?", [found])
        Memory.load(tmp_path / "dump", **to).close()
        assert len([c for c in loaded.history(ids[0]) if c.action == "update"]) == 2
        last = loaded.update(ids[0], "Ada came back.")
        assert loaded.get(ids[1]).id == last.id
        loaded.forget(ids[0])
        assert not any(c.text for c in loaded.history(ids[0]))
        with pytest.raises(NotFoundError):
            loaded.get(ids[0])
        assert loaded.doctor().ok
    assert b"lighthouse" not in bytes_of(tmp_path / "n")


def test_the_present_is_as_if_there_had_been_no_other_text(
    fast: Callable[..., Memory], clock: SimulatedClock, tmp_path: Path
) -> None:
    updated, plain = fast(tmp_path / "u.db", clock=clock), fast(tmp_path / "p.db", clock=clock)
    notes = [f"{name} met Bea in Town{n}." for n, name in enumerate("Cid Dov Eve Fay Gil".split())]
    for note in notes:
        plain.add(note)
        updated.update(updated.add(note.replace("Town", "Village of Bea and Oslo ")).id, note)
    updated.recall("Bea", as_of=NOW - DAY)
    for query in ("Whom did Bea meet in Town3?", "Village of Oslo"):
        ours, theirs = updated.recall(query, 9).passages, plain.recall(query, 9).passages
        assert [(p.text, pytest.approx(p.score, abs=1e-5)) for p in theirs] == [(p.text, p.score) for p in ours]
