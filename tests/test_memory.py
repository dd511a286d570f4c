"""The public methods, one after the other."""

from __future__ import annotations

import _sqlite3
import ctypes
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as sql_event

from hippomem import Document, Memory, NotFoundError, Settings, SimulatedClock, Triple, transfer, viewing
from hippomem.testing import HashEncoder, capitals


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory.open(tmp_path / "m.db", encoder=HashEncoder(), pipeline=capitals(), clock=SimulatedClock())


def test_add_is_idempotent_and_says_so(memory: Memory) -> None:
    first = memory.add("Ada moved to Oslo.", session="s1", metadata={"mood": "glad"})
    second = memory.add("Ada moved to Oslo.", session="s1")
    assert (first.created, second.created) == (True, False)
    assert first.id == second.id
    assert second.metadata == {"mood": "glad"}
    third = memory.add("Ada moved to Oslo.", session="s1", metadata={"mood": "sad", "more": 1})
    assert (third.created, third.metadata, memory.get(first.id).metadata) == (False, {"mood": "glad"}, {"mood": "glad"})
    assert memory.add("Ada moved to Oslo.", session="s2").id != first.id
    assert memory.stats()["passages"] == 2


def test_times_are_utc_and_the_clock_is_given(memory: Memory) -> None:
    moment = datetime(2025, 5, 8, 12, tzinfo=UTC)
    event = memory.add("Ada moved.", occurred_at=moment.astimezone(tz=None))
    assert memory.get(event.id).occurred_at == moment
    assert memory.get(event.id).recorded_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_moment_is_the_same_in_any_time_zone(memory: Memory, tmp_path: Path) -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    said = noon.astimezone(timezone(timedelta(hours=2)))
    memory.ingest(Document(text="Ada met Bea.", source="log", occurred_at=said))
    assert not memory.add("Ada met Bea.", source="log", occurred_at=noon).created
    memory.export(tmp_path / "dump")
    loaded = Memory.load(tmp_path / "dump", tmp_path / "other.db", settings=memory.settings)
    assert [p.id for p in loaded.passages()] == [p.id for p in memory.passages()]
    loaded.close()


def test_recall_leads_over_a_name_to_a_note_without_a_shared_word(memory: Memory) -> None:
    memory.add("Ada leads Northlight Labs.", title="Ada")
    hop = memory.add("It was set up beside the fish market by Bea.", title="Northlight Labs")
    for n in range(30):
        memory.add(f"Clerk{n} leads the choir of Village{n}.", title=f"Clerk{n}")
    recall = memory.recall("Who leads together with Ada?", 3)
    found = {p.id: p for p in recall.passages}
    assert hop.id in found
    path = next(p for p in recall.paths if p.passage_id == hop.id)
    assert [s.entity for s in path.steps] == ["Ada", "Northlight Labs"]
    assert found[hop.id].score == pytest.approx(sum(found[hop.id].causes.values()), abs=1e-4)


def test_explain_tells_entities_path_facts_and_scores_by_cause(memory: Memory) -> None:
    memory.add("Ada leads Northlight Labs.", title="Ada", triples=[Triple("Ada", "is head of", "Northlight Labs")])
    recall = memory.recall("What does Ada lead?")
    (explained,) = recall.explain()
    assert explained.entities == ("Ada",)
    assert explained.path is not None
    assert "Ada – is head of – Northlight Labs" in explained.path.text
    terms = {"walk", "named walk", "cosine", "words", "brevity", "asking", "teller", "title hop", "turn hop"}
    assert set(explained.causes) == {*terms, "speaker", "crowding"}
    assert {"encode", "link", "dense", "walk", "total"} <= recall.timings.keys()
    assert "Ada" in str(explained)


@pytest.mark.parametrize("question", ["Where is Ada Thorne's firm?", "Where is Ada Thorne’s firm?", "Ada Thorne?"])
def test_a_name_is_told_without_its_genitive(memory: Memory, question: str) -> None:
    memory.add("Ada Thorne leads Northlight Labs.")
    (found,) = memory.recall(question).passages
    assert found.entities == ("Ada Thorne",)
    assert found.why[0].startswith("the question names Ada Thorne → ")


def test_a_word_that_begins_like_a_name_is_not_taken_for_it(memory: Memory) -> None:
    for text in ("John Doe likes tea.", "Doe sails to Oslo.", "Bea likes Oslo."):
        memory.add(text)
    does, would = (memory.recall(f"{verb} Doe like tea?").passages for verb in ("Does", "Would"))
    assert {p.text: p.causes["words"] for p in does} == {p.text: p.causes["words"] for p in would}


def test_recall_where_the_leading_notes_name_nothing(memory: Memory) -> None:
    memory.add("Ada wrote about engines.", title="Ada")
    memory.ingest([{"text": f"note {number} on where the river is"} for number in range(30)])
    assert len(memory.recall("where is the river").passages) == 5


def test_the_users_triples_lead_where_the_text_does_not(memory: Memory) -> None:
    event = memory.add("she did it again", triples=[("Ada", "won", "Regatta")])
    memory.add("nobody knows")
    assert memory.recall("Who won the Regatta?", 1).passages[0].id == event.id
    again = memory.add("she did it again", triples=[("Bea", "lost", "Regatta")])
    assert not again.created
    facts = {str(f) for step in memory.recall("Bea", 1).paths[0].steps for f in step.facts}
    assert facts == {"Bea – lost – Regatta"}
    assert [c.action for c in memory.history(event.id)] == ["add", "link"]


def test_session_and_as_of_limit_what_comes_back(memory: Memory) -> None:
    day = datetime(2025, 1, 1, tzinfo=UTC)
    for n in range(4):
        memory.add(f"Ada ate dish{n}.", session=f"s{n % 2}", occurred_at=day + timedelta(days=n))
    assert {p.session for p in memory.recall("Ada", 9, session="s1").passages} == {"s1"}
    early = memory.recall("Ada", 9, as_of=day + timedelta(days=1)).passages
    assert sorted(p.text for p in early) == ["Ada ate dish0.", "Ada ate dish1."]
    assert memory.recall("Ada", 9, session="nowhere").passages == ()


def test_an_update_keeps_the_old_id_and_the_history(memory: Memory) -> None:
    first = memory.add("Ada lives in Oslo.")
    second = memory.update(first.id, "Ada lives in Bergen.")
    third = memory.update(first.id, "Ada lives in Paris.")
    assert memory.get(first.id) == memory.get(third.id)
    assert memory.stats()["passages"] == 1
    assert [(c.action, c.text) for c in memory.history(second.id)] == [
        ("add", None),
        ("update", "Ada lives in Oslo."),
        ("update", "Ada lives in Bergen."),
    ]
    assert memory.recall("Oslo", 5).passages[0].text == "Ada lives in Paris."
    memory.forget(second.id)
    assert all(c.text is None for c in memory.history(third.id))
    with pytest.raises(NotFoundError):
        memory.get(first.id)
    assert memory.add("Ada lives in Oslo.").created


def test_what_was_updated_often_takes_no_more_queries(memory: Memory) -> None:
    statements: list[str] = []
    sql_event.listen(memory._store._database.engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    counts = []
    for updates in (2, 12):
        ids = [memory.add(f"Count{updates} stands at 0.").id]
        for n in range(1, updates + 1):
            ids.append(memory.update(ids[-1], f"Count{updates} stands at {n}.").id)
        for call in (memory.get, memory.history, memory.forget):
            statements.clear()
            call(ids[0])
            counts.append(len(statements))
        told = memory.history(ids[0])
        assert [(c.id, c.text) for c in told] == [(id_, None) for id_ in (*ids, ids[-1])]
        assert memory.history(ids[-1]) == memory.history(ids[1]) == told
    assert all(often <= seldom for seldom, often in zip(counts[:3], counts[3:], strict=True))


def test_what_has_many_triples_takes_no_more_queries_to_be_told_again(memory: Memory) -> None:
    statements: list[str] = []
    sql_event.listen(memory._store._database.engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    counts = []
    for triples in (2, 100):
        text = f"Ada keeps {triples} boats."
        memory.add(text, triples=[("Ada", "keeps", f"Boat{n} of {triples}") for n in range(triples)])
        for boat in ("Heron", "Kite"):
            statements.clear()
            memory.add(text, triples=[("Ada", "keeps", f"{boat} of {triples}")])
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_an_update_ends_where_its_text_does(memory: Memory) -> None:
    for place in ({}, {"source": "notes", "title": "Ada"}, {"session": "s1"}):
        event = memory.add("Ada lives in Oslo.", **place)
        memory.add("Ada lives in Oslo, and longer.", **place)
        (start, end) = (event.start, event.end)
        assert (start, end) == (0, 18)
        changed = memory.update(event.id, "She left.")
        assert (changed.start, changed.end, changed.position) == (0, 9, 0)
        memory.forget(changed.id)


def test_a_part_of_a_document_keeps_its_place_in_an_update(memory: Memory) -> None:
    parts = [f"Ada saw Whale{n}. " * 40 for n in range(3)]
    memory.ingest(Document(text="\n\n".join(parts), title="Log", source="log"))
    before = memory.passages(source="log")
    assert len(before) == 3
    changed = [memory.update(p.id, f"Ada saw Seal{n}.") for n, p in enumerate(before)]
    assert [(p.start, p.end, p.position) for p in changed] == [(p.start, p.end, p.position) for p in before]
    (middle,) = memory.recall("Who saw Seal1?", 1, context=1).passages
    assert [p.id for p in (*middle.before, middle, *middle.after)] == [p.id for p in changed]
    assert memory.doctor().ok


def test_what_is_unknown_is_an_error(memory: Memory) -> None:
    for call in (memory.get, memory.forget, memory.history, lambda i: memory.update(i, "x")):
        with pytest.raises(NotFoundError):
            call("nothing")


def test_stats_count_and_follow_the_log(memory: Memory) -> None:
    memory.add("Ada met Bea in Oslo.", title="Meeting")
    stats = memory.stats()
    assert (stats["passages"], stats["entities"], stats["edges"]) == (1, 4, 5)  # the title may be met in small letters
    assert all(view["applied"] == view["log"] == 1 for view in stats["views"].values())
    assert stats["bytes"]["database"] > 0


def test_the_graph_goes_to_graphml(memory: Memory, tmp_path: Path) -> None:
    import networkx as nx

    memory.add("Ada met Bea in Oslo.", title="Meeting")
    nx.write_graphml(memory.graph(), tmp_path / "g.graphml")
    read = nx.read_graphml(tmp_path / "g.graphml")
    assert {d["kind"] for _, d in read.nodes(data=True)} == {"passage", "entity"}


def test_export_and_load_give_the_same_memory(memory: Memory, tmp_path: Path) -> None:
    memory.add("Ada met Bea in Oslo.", title="Meeting", triples=[("Ada", "greeted", "Bea")], metadata={"n": 1})
    memory.ingest([{"text": "Cid sails.", "title": "Trip"}])
    assert memory.export(tmp_path / "dump.jsonl") == 2

    class Noting(HashEncoder):
        def encode_passages(self, texts, spans):  # type: ignore[no-untyped-def]
            encoded.extend(texts)
            return super().encode_passages(texts, spans)

    encoded: list[str] = []
    settings = Settings(encoder=Noting(), pipeline=capitals())
    with Memory.load(tmp_path / "dump.jsonl", tmp_path / "copy.db", settings=settings) as copy:
        assert encoded == []
        same = [sorted(map(str, m.graph().edges(data=True))) for m in (memory, copy)]
        assert same[0] == same[1]
        ours, theirs = memory.recall("Ada", 2), copy.recall("Ada", 2)
        assert [(p.id, p.recorded_at, p.metadata) for p in ours.passages] == [
            (p.id, p.recorded_at, p.metadata) for p in theirs.passages
        ]
        assert copy.doctor().ok
    with Memory.load(tmp_path / "dump.jsonl", tmp_path / "copy.db", settings=settings) as twice:
        assert twice.stats()["passages"] == 2
    with Memory.load(tmp_path / "dump.jsonl", tmp_path / "copy.db", namespace="other", settings=settings) as other:
        assert other.stats()["passages"] == 2
        assert not {p.id for p in other.recall("Ada").passages} & {p.id for p in memory.recall("Ada").passages}


def test_history_is_in_order_after_an_export_of_what_was_loaded_and_updated(memory: Memory, tmp_path: Path) -> None:
    texts = ["Ada lives in Oslo.", "Ada lives in Bergen.", "Ada lives in Vardø.", "Ada lives in Tromsø."]
    event = memory.add(texts[0])
    for number, text in enumerate(texts[1:]):
        memory._clock.advance(timedelta(days=1))  # type: ignore[attr-defined]
        event = memory.update(event.id, text)
        memory.export(tmp_path / "dump.jsonl")
        memory.close()
        settings = memory.settings.model_copy(update={"db": str(tmp_path / f"{number}.db")})
        Memory.load(tmp_path / "dump.jsonl", settings.db, settings=settings).close()
        memory = Memory.open(settings=settings, clock=memory._clock)
    told = [change.text for change in memory.history(event.id) if change.text]
    memory.close()
    assert told == texts[:-1]


def test_what_is_there_already_stays_as_it_is_when_an_export_is_loaded(memory: Memory, tmp_path: Path) -> None:
    id_ = memory.add("Ada met Bea in Oslo.", source="diary", metadata={"n": 1}).id
    memory.export(tmp_path / "dump.jsonl")
    memory.annotate(id_, {"n": 2, "seen": True})
    with Memory.load(tmp_path / "dump.jsonl", memory.stats()["db"], settings=memory.settings) as loaded:
        assert loaded.get(id_).metadata == {"n": 2, "seen": True}


@pytest.mark.parametrize("loads", [1, 2])
@pytest.mark.parametrize("now", ["Ada met Bea.", "Cid sails."])
def test_a_file_holds_what_it_holds_after_an_export_with_another_version_of_it_is_loaded(
    memory: Memory, tmp_path: Path, now: str, loads: int
) -> None:
    file, dump = tmp_path / "note.txt", tmp_path / "dump.jsonl"
    file.write_text("Ada met Bea.")
    memory.ingest(file)
    memory.export(dump)
    file.write_text("Cid sails.")
    memory.ingest(file)
    for _ in range(loads):
        Memory.load(dump, memory.stats()["db"], settings=memory.settings).close()
    file.write_text(now)
    memory.ingest(file)
    assert [p.text for p in memory.passages()] == [now]


def test_long_work_tells_how_far_it_is(memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "BATCH", 10)
    memory.ingest([{"text": f"Ada saw whale {number}."} for number in range(24)])
    told: dict[str, list[tuple[str, int]]] = {"export": [], "load": [], "doctor": []}
    memory.export(tmp_path / "dump.jsonl", progress=lambda *step: told["export"].append(step))
    settings = Settings(encoder=HashEncoder(), pipeline=capitals())
    dump, db = tmp_path / "dump.jsonl", tmp_path / "copy.db"
    with Memory.load(dump, db, settings=settings, progress=lambda *step: told["load"].append(step)) as copy:
        copy.doctor(progress=lambda *step: told["doctor"].append(step))
    assert told["export"][-1] == ("passages", 20)
    assert told["load"][-1] == ("storing", 24)
    assert dict(told["doctor"]) == {
        "the database": 0,
        "what is stored of each memory": 0,
        "views, building them anew": 24,
        "views, comparing": 24,
        "models and what was learned": 0,
    }
    for steps in told.values():
        assert sorted(steps, key=lambda step: [s for s, _ in steps].index(step[0])) == steps
        assert all(units <= later for (step, units), (other, later) in pairwise(steps) if step == other)


def test_progress_that_nobody_can_see_is_no_error(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)  # as in a service, or in pythonw
    assert memory.ingest([{"text": "Ada keeps bees."}], progress=True).passages == 1
    assert memory.estimate([{"text": "Ada keeps bees."}], progress=True).documents == 1
    assert memory.consolidate(progress=True).is_done
    assert memory.doctor(progress=True).ok


def test_whoever_waits_for_an_index_is_told(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    memory.ingest([{"text": f"Ada saw whale {number}."} for number in range(24)])
    memory.export(tmp_path / "dump.jsonl")
    settings = Settings(encoder=HashEncoder(), pipeline=capitals())
    with Memory.load(tmp_path / "dump.jsonl", tmp_path / "copy.db", settings=settings) as copy:
        monkeypatch.setattr("hippomem.viewing.SILENCE", 0.0)
        copy.recall("Who saw a whale?")
        copy.recall("Who saw a whale?")
    assert [record.message for record in caplog.records] == ["building the index: 24 of 24"]


def test_what_a_recall_waits_for_its_index_is_not_told_as_encoding(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow = viewing.catch_up

    def slowly(*args: Any) -> bool:
        time.sleep(0.1)
        return follow(*args)

    memory.add("Ada met Bea in Oslo.")
    monkeypatch.setattr(viewing, "catch_up", slowly)
    timings = memory.recall("Ada").timings
    assert timings["catch up"] >= 200  # before the question is encoded, and after
    assert timings["total"] >= timings["catch up"] + timings["encode"]


def test_dense_is_similarity_alone(memory: Memory) -> None:
    for n in range(9):
        memory.add(f"Clerk{n} sings in Village{n}.")
    recall = memory.recall("Who sings in Village3?", 9, method="dense")
    vector = HashEncoder().encode_query("Who sings in Village3?")
    cosines = [float(vector @ HashEncoder().encode_query(p.text)) for p in recall.passages]
    assert cosines == sorted(cosines, reverse=True)
    assert [p.score for p in recall.passages] == pytest.approx(cosines, abs=1e-5)


def test_an_untouched_namespace_is_not_created_by_reading(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "m.db", encoder=HashEncoder(), pipeline=capitals()) as memory:
        memory.add("Ada met Bea.")
    with Memory.open(tmp_path / "m.db", namespace="typo", encoder=HashEncoder(), pipeline=capitals()) as typo:
        assert typo.recall("Ada").passages == ()
        assert typo.stats()["passages"] == 0
        from hippomem.storage import reads

        with typo._store.read() as connection:
            assert list(reads.last_sequences(connection)) == ["default"]


@pytest.mark.sqlite
def test_a_check_keeps_nothing_of_the_database_in_memory(fast: Callable[..., Memory]) -> None:
    """Of all open memories each would go on to hold what it has read of all the others."""
    library = ctypes.CDLL(_sqlite3.__file__)
    if not hasattr(library, "sqlite3_memory_used"):
        pytest.skip("this Python does not tell what SQLite holds")
    library.sqlite3_memory_used.restype = ctypes.c_int64
    other = fast(namespace="other")
    for number in range(20):
        other.add(f"Ada lives at number {number}.", metadata={"plan": "x" * 500_000})
    other.close()
    memory = fast()
    memory.stats()
    before = library.sqlite3_memory_used()
    assert memory.doctor().ok
    assert library.sqlite3_memory_used() - before < 5_000_000
