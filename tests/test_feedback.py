"""Feedback: what was useful is found first next time, in every process, until it is forgotten, without a trace."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from traces import traces

from hippomem import (
    Document,
    InvalidInputError,
    Memory,
    NotFoundError,
    Recall,
    Settings,
    SimulatedClock,
    StoreFullError,
)
from hippomem.evidence import EXPERTS
from hippomem.feedback import weighted
from hippomem.following import Following
from hippomem.hippocampus.recipe import U
from hippomem.neocortex.neural_memory import Association, NeuralMemory
from hippomem.neocortex.neural_memory.experts import ExpertWeights
from hippomem.testing import HashEncoder, capitals

Opened = Callable[..., Memory]
QUESTION = "what did she order for the birthday?"


@pytest.fixture
def memory(fast: Opened) -> Memory:
    return fast()


def fill(memory: Memory, count: int = 12) -> list[str]:
    things = "lamp kettle violin canoe ladder puzzle drone carpet anvil guitar mirror saddle".split()
    return [memory.add(f"She ordered a {things[i % 12]} for the birthday, note {i}.").id for i in range(count)]


def first(recall: Recall) -> str:
    return recall.passages[0].id


def test_what_was_useful_comes_first_the_next_time(memory: Memory) -> None:
    ids = fill(memory)
    plain = memory.recall(QUESTION, 12)
    wanted = plain.passages[-1].id
    event = memory.feedback(plain, useful=[wanted])
    assert (event.query, event.useful, event.confidence) == (QUESTION, (wanted,), 1.0)
    learned = memory.recall(QUESTION, 12)
    assert first(learned) == wanted
    assert "moved up by 1 earlier query like this one" in learned.explain()[0].passage.why
    assert learned.passages[0].causes["learned"] > 1
    assert "moved up by 1 earlier query" in str(learned.explain()[0])
    memory.feedback("what did she order for her birthday?", useful=[wanted])
    assert any("by 2 earlier queries like this one" in why for why in memory.recall(QUESTION).passages[0].why)
    off = memory.recall(QUESTION, 12, learned=False)
    assert [p.id for p in off.passages] == [p.id for p in plain.passages]
    assert "learned" not in off.passages[0].causes
    dense = memory.recall(QUESTION, 12, method="dense")
    assert "learned" not in dense.passages[0].causes
    assert set(ids) == {p.id for p in learned.passages}
    assert memory.doctor().ok
    assert memory.stats()["learned"] == 2


def test_a_question_that_many_have_asked_is_told_as_such(memory: Memory) -> None:
    ids = fill(memory)
    for _ in range(60):
        memory.feedback(QUESTION, useful=[ids[-1]])
    assert "moved up by 60 earlier queries like this one" in memory.recall(QUESTION).passages[0].why


def test_what_is_taught_again_and_again_weighs_no_more_for_other_questions(fast: Opened) -> None:
    memory, other = fast(), fast()
    ids = fill(memory)
    first_event = memory.feedback(QUESTION, useful=[ids[3]])
    once = weights(memory)
    assert once.any()
    assert np.array_equal(weights(other), once)  # which hears of what follows only later, all at once
    for _ in range(20):
        memory.feedback(QUESTION, useful=[ids[3]])
        assert np.array_equal(weights(memory), once)
    memory.feedback(QUESTION, useful=[ids[3]])
    new = memory.update(ids[3], "She ordered a drone and a kite for the birthday.")
    for one in (memory, other, fast()):
        assert np.array_equal(weights(one), once)
        assert one.doctor().ok
    memory.forget(first_event.id)  # then the second one counts
    assert weights(memory).any()
    assert memory.doctor().ok
    before = weights(memory).copy()
    memory.feedback("who has ever seen a canoe?", useful=[new.id])  # another question about it
    assert not np.array_equal(weights(memory), before)


def test_a_learned_weight_multiplies_all_that_its_expert_says(memory: Memory) -> None:
    fill(memory)
    memory.add("A canoe goes well with a paddle.", title="Canoe")
    scale = dict(zip(EXPERTS, (1.5, 0.5, 2.0, 0.25, 3.0, 1.0), strict=True))  # the hop's bonus is that of the new order
    question = "What goes well with the Canoe?"
    plain, learned = (memory.recall(question, 20, recipe=recipe) for recipe in (U, weighted(U, scale)))
    causes = {passage.id: passage.causes for passage in plain.passages}
    assert len(causes) == 13
    for passage in learned.passages:
        for name, multiplier in list(scale.items())[:-1]:
            assert passage.causes[name] == pytest.approx(multiplier * causes[passage.id][name], abs=1e-5), name


def test_what_was_of_no_use_moves_down(memory: Memory) -> None:
    fill(memory)
    before = memory.recall(QUESTION, 12)
    memory.feedback(before, useful=[first(before)], confidence=-1.0)
    after = memory.recall(QUESTION, 12)
    assert first(after) != first(before)
    (moved,) = (p for p in after.passages if p.id == first(before))
    assert "moved down by 1 earlier query like this one" in moved.why


def test_an_answers_citations_are_what_was_useful(memory: Memory) -> None:
    @dataclass(frozen=True)
    class Citation:
        number: int
        passage_id: str

    @dataclass(frozen=True)
    class Answer:
        text: str
        citations: tuple[Citation, ...]
        recall: Recall

    fill(memory)
    recall = memory.recall(QUESTION, 12)
    wanted = recall.passages[-1].id
    event = memory.feedback(Answer("A saddle [1].", (Citation(1, wanted), Citation(2, wanted)), recall))
    assert event.useful == (wanted,)
    assert first(memory.recall(QUESTION)) == wanted
    with pytest.raises(InvalidInputError, match="say which"):
        memory.feedback(Answer("I do not know.", (), recall))


def test_nothing_is_learned_from_what_was_merely_recalled(memory: Memory) -> None:
    fill(memory)
    recall = memory.recall(QUESTION)
    for _ in range(3):
        memory.recall(QUESTION)
    with pytest.raises(InvalidInputError, match="say which passages were useful"):
        memory.feedback(recall)
    assert memory.stats()["learned"] == 0
    assert "learned" not in memory.recall(QUESTION).passages[0].causes


@pytest.mark.parametrize(
    "confidence", [0, 1.5, -2, float("nan"), float("inf"), "sure", True, None, 1e-9, pytest.param(10**400, id="huge")]
)
def test_a_confidence_that_cannot_be_is_refused(memory: Memory, confidence: object) -> None:
    ids = fill(memory, 3)
    with pytest.raises(InvalidInputError, match="confidence"):
        memory.feedback(QUESTION, [ids[0]], confidence=confidence)  # type: ignore[arg-type]
    assert memory.stats()["learned"] == 0


@pytest.mark.parametrize(
    ("found", "useful", "error"),
    [
        (QUESTION, [], InvalidInputError),
        (QUESTION, "an-id", InvalidInputError),
        (QUESTION, 7, InvalidInputError),
        (QUESTION, [7], InvalidInputError),
        (QUESTION, ["nothing"], NotFoundError),
        (QUESTION, ["a\x00b"], InvalidInputError),
        ("", ["nothing"], InvalidInputError),
        ("\ud800", ["nothing"], InvalidInputError),
        ("x" * 10_001, ["nothing"], InvalidInputError),
        (None, ["nothing"], InvalidInputError),
        (42, ["nothing"], InvalidInputError),
    ],
)
def test_feedback_that_cannot_be_is_refused(memory: Memory, found: object, useful: object, error: type) -> None:
    fill(memory, 2)
    with pytest.raises(error):
        memory.feedback(found, useful)  # type: ignore[arg-type]
    assert memory.stats()["learned"] == 0


def test_feedback_in_an_empty_memory_is_refused(memory: Memory) -> None:
    with pytest.raises(NotFoundError):
        memory.feedback(QUESTION, ["nothing"])


def test_other_processes_and_later_openings_know_it(fast: Opened) -> None:
    one, two = fast(), fast()
    fill(one)
    assert two.recall(QUESTION, 12).passages
    wanted = two.recall(QUESTION, 12).passages[-1].id
    one.feedback(QUESTION, [wanted])
    assert first(two.recall(QUESTION)) == wanted
    two.close()
    three = fast()
    assert first(three.recall(QUESTION)) == wanted
    assert three.doctor().ok
    other = fast(namespace="other")
    fill(other)
    assert other.stats()["learned"] == 0
    assert "learned" not in other.recall(QUESTION).passages[0].causes


def test_an_update_keeps_what_was_useful_about_it(memory: Memory) -> None:
    ids = fill(memory)
    memory.feedback(QUESTION, [ids[4]])
    new = memory.update(ids[4], "She ordered a trampoline for the birthday.")
    assert first(memory.recall(QUESTION)) == new.id
    event = memory.feedback(QUESTION, [ids[4]])  # by the id that it had
    assert event.useful == (new.id,)
    assert memory.doctor().ok


def test_an_update_after_a_rehearsal_teaches_every_process_the_same(fast: Opened, tmp_path: Path) -> None:
    """What a later opening makes with the slow map that was kept is what one makes of nothing."""
    memory = fast(tmp_path / "m.db")
    ids = fill(memory)
    for number in range(4):
        memory.feedback(f"{QUESTION} asked {number} times", useful=[ids[number]])
    learner = memory._learning
    assert learner.rehearse(learner.events_of([ids[3]])).kept  # which keeps the map
    memory.update(ids[1], "She ordered a kettle for the wedding.")
    checks = {check.name: check for check in fast(tmp_path / "m.db").doctor().checks}
    assert checks["neural memory"].ok, checks["neural memory"].detail


def test_forgetting_a_passage_unlearns_it(memory: Memory, tmp_path: Path) -> None:
    ids = fill(memory)
    alone = memory.feedback("who paid for the Zeppelin-4711 flight?", [ids[4]])
    both = memory.feedback("what is on the Quagga-0815 list?", [ids[4], ids[5]])
    memory.feedback("what is on the other list?", [ids[6]])
    key = HashEncoder().encode_query("who paid for the Zeppelin-4711 flight?").tobytes()[:32]
    assert traces(tmp_path / "m.db", [b"Zeppelin-4711"])
    gone = memory.forget(ids[4])
    assert (gone.passages, gone.learned, gone.dampened) == (1, 2, 0)
    assert traces(tmp_path / "m.db", [b"Zeppelin-4711", key, ids[4].encode() * 2]) == []
    assert memory.stats()["learned"] == 2
    assert first(memory.recall("what is on the Quagga-0815 list?")) == ids[5]
    assert [c.action for c in memory.history(alone.id)] == ["learn", "unlearn"]
    assert memory.doctor().ok
    assert memory.forget(both.id).learned == 1  # the event itself
    assert memory.stats()["learned"] == 1
    with pytest.raises(NotFoundError):
        memory.forget(both.id)
    assert memory.doctor().ok


def test_what_one_forget_untaught_is_taken_out_at_once(fast: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """With each of a hundred events by itself, the weights were learned anew a hundred times."""
    memory, other = fast(), fast()
    ids = fill(memory)
    for place in range(40):
        memory.feedback(f"question {place} about thing {place}", [ids[place % 2], *ids[2 : 2 + (place % 4 == 0)]])
    learner = memory._learning
    learner.rehearse(learner.draw(40, seed=1))
    other.recall(QUESTION)
    steps = 0
    learn = ExpertWeights.learn

    def counted(self: ExpertWeights, event: Association) -> None:
        nonlocal steps
        steps += 1
        learn(self, event)

    monkeypatch.setattr(ExpertWeights, "learn", counted)
    assert memory.forget(ids[0]).learned == 20
    assert memory.forget(ids[2]).learned == 10  # the same again, and the last of what these were about
    assert steps <= 2 * 40
    other.recall(QUESTION)
    assert steps <= 3 * 40
    monkeypatch.undo()
    assert memory.stats()["learned"] == 20
    assert memory.doctor().ok
    assert other.doctor().ok


def test_a_document_that_changes_takes_its_feedback_along(memory: Memory) -> None:
    memory.ingest(Document(text="She ordered a lamp.", source="s"))
    id_ = memory.recall(QUESTION, 1).passages[0].id
    memory.feedback(QUESTION, [id_])
    memory.ingest(Document(text="She ordered nothing.", source="s"))
    assert memory.stats()["learned"] == 0
    assert memory.doctor().ok


@pytest.mark.sqlite
def test_rehearsals_are_in_the_log_and_happen_once(fast: Opened, tmp_path: Path) -> None:
    one, two = fast(), fast()
    ids = fill(one)
    for place in range(8):
        one.feedback(f"question {place} about thing {place}", [ids[place]])
    learner = one._learning
    done = learner.rehearse(learner.draw(6, seed=0), interferers=1, guard=learner.draw(3, seed=1))
    assert done.kept
    assert len(done.numbers) == 12
    assert one.doctor().ok
    assert two.doctor().ok
    assert two._learning._memory is not None
    assert sum(two._learning._memory.replayed.values()) == 12
    assert two._learning.rehearse(two._learning.draw(4, seed=3)).kept
    assert sum(p.loss for p in one._learning.probe(done.numbers)) < 12 * 2
    assert one._learning._memory is not None
    assert sum(one._learning._memory.replayed.values()) == 16
    assert one.doctor().ok
    for opened in (one, two):
        opened.close()
    assert list(tmp_path.rglob("map.npz"))
    three = fast()
    assert three.doctor().ok
    assert three._learning._memory is not None
    assert sum(three._learning._memory.replayed.values()) == 16
    # The file is only a shortcut.
    three.close()
    for file in tmp_path.rglob("map.npz"):
        file.write_bytes(file.read_bytes()[:99])
    assert fast().doctor().ok


@pytest.mark.sqlite
def test_consolidation_rebuilds_the_slow_map_without_what_was_forgotten(
    fast: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = fast(settings=Settings(consolidation_steps=()))
    ids = fill(memory)
    for place in range(8):
        memory.feedback(f"question {place} about thing {place}", [ids[place]])
    for seed in range(3):
        memory._learning.rehearse(memory._learning.draw(8, seed=seed))
    assert memory.forget(ids[3]).dampened == 1
    assert list(tmp_path.rglob("map.npz")) == []
    found: list[int] = []
    made = Following.anew

    def slow(*args: Any) -> NeuralMemory:
        recall = threading.Thread(target=lambda: found.append(len(memory.recall("question 1", 3).passages)))
        recall.start()
        recall.join(10)
        memory.feedback(f"question {len(found)} that came meanwhile", [ids[1]])
        return made(*args)

    monkeypatch.setattr(Following, "anew", slow)
    assert memory.consolidate(dry_run=True)["replay neural"].counts == {}
    assert "dampened for 1" in memory.doctor().checks[-1].detail
    assert memory.consolidate()["replay neural"].counts == {"rebuilt": 1}
    assert found == [3, 3]  # others went on
    assert memory.consolidate()["replay neural"].counts == {}
    assert list(tmp_path.rglob("map.npz"))
    check = memory.doctor().checks[-1]
    assert check.ok
    assert "dampened" not in check.detail
    assert found == [3, 3, 3]
    memory.close()
    memory = fast(settings=Settings(consolidation_steps=()))
    memory.consolidate()
    assert memory._learning._memory is None  # nothing is made that nothing needs


def test_forgetting_dampens_at_once_and_a_rebuild_proves_it(fast: Opened, tmp_path: Path) -> None:
    memory = fast()
    ids = fill(memory)
    for place in range(8):
        memory.feedback(f"question {place} about thing {place}", [ids[place]])
    learner = memory._learning
    for seed in range(5):
        learner.rehearse(learner.draw(8, seed=seed))
    gone = memory.forget(ids[3])
    assert (gone.learned, gone.dampened) == (1, 1)
    check = memory.doctor().checks[-1]
    assert check.ok
    assert "dampened for 1 unlearned event" in check.detail
    assert list(tmp_path.rglob("map.npz")) == []
    assert learner.renew()
    assert not learner.renew()
    assert "dampened" not in memory.doctor().checks[-1].detail

    never = fast(tmp_path / "never.db")
    kept = fill(never)
    for place in (0, 1, 2, 4, 5, 6, 7):
        never.feedback(f"question {place} about thing {place}", [kept[place]])
    never.forget(kept[3])
    one = learner._memory
    with never._held() as (view, connection):
        two = never._learning.memory(connection, view)
    assert one is not None
    assert two is not None
    # The numbers of events differ by the one that is gone: replay the same order by what the events say.
    name = {number: memory.history(id_)[0].id for number, id_ in numbers(memory).items()}
    said = {number: query_of(memory, id_) for number, id_ in name.items()}
    same = {query: number for number, query in {n: query_of(never, i) for n, i in numbers(never).items()}.items()}
    for order in rehearsed(memory):
        two.replay([same[said[number]] for number in order if number in said])
    for probe in ("question 3 about thing 3", QUESTION, "question 5 about thing 5"):
        vector = HashEncoder().encode_query(probe)
        assert np.allclose(one.read(vector).vector, two.read(vector).vector, atol=1e-5)
    assert np.allclose(one.experts.multipliers, two.experts.multipliers, atol=1e-9)


def numbers(memory: Memory) -> dict[int, str]:
    from hippomem.storage import learning

    with memory._held() as (_, connection):
        return {r.number: r.id for r in learning.event_rows(connection, memory._number, memory._encoder_number)}


def query_of(memory: Memory, id_: str) -> str:
    from hippomem.storage import learning

    with memory._held() as (_, connection):
        found = learning.event_rows(connection, memory._number, memory._encoder_number)
        return next(row.query for row in found if row.id == id_)


def rehearsed(memory: Memory) -> list[tuple[int, ...]]:
    from hippomem.storage import learning

    with memory._held() as (_, connection):
        return [done.events for done in learning.rehearsal_rows(connection, memory._number)]


def test_what_was_learned_goes_along_with_an_export(fast: Opened, tmp_path: Path) -> None:
    memory = fast()
    ids = fill(memory)
    memory.feedback(QUESTION, [ids[4]], confidence=0.5)
    memory.feedback("what of the anvil and the guitar?", [ids[8], ids[9]])
    memory._learning.rehearse(memory._learning.draw(2, seed=0))
    memory.export(tmp_path / "dump.jsonl")
    for namespace in ("default", "elsewhere"):
        loaded = Memory.load(
            tmp_path / "dump.jsonl", tmp_path / "new.db", namespace=namespace, settings=memory.settings
        )
        with loaded:
            found = loaded.recall(QUESTION, 12)
            assert found.passages[0].text == memory.get(ids[4]).text
            assert (loaded.stats()["learned"], loaded.stats()["rehearsals"]) == (2, 1)
            assert loaded.doctor().ok
    with Memory.load(tmp_path / "dump.jsonl", tmp_path / "new.db", settings=memory.settings) as again:
        assert (again.stats()["learned"], again.stats()["rehearsals"]) == (2, 1)
    lines = (tmp_path / "dump.jsonl").read_text().splitlines()
    assert sum('"type": "learning"' in line for line in lines) == 2


def test_what_was_learned_is_not_learned_again_from_an_export_of_it(fast: Opened, tmp_path: Path) -> None:
    """Also where updates and forgetting have changed which passages it is about."""
    memory = fast()
    ids = fill(memory)
    events = [memory.feedback(f"{QUESTION} {n}", [ids[n], ids[n + 4]]).id for n in range(3)]
    assert memory._learning.rehearse(memory._learning.draw(3, seed=0)).numbers
    memory.update(ids[0], "It was the canoe that Ada painted.")
    memory.forget([ids[1], events[2]])
    memory.export(tmp_path / "dump.jsonl")
    for db in (tmp_path / "m.db", tmp_path / "new.db", tmp_path / "new.db"):
        with Memory.load(tmp_path / "dump.jsonl", db, settings=memory.settings) as loaded:
            assert (loaded.stats()["learned"], loaded.stats()["rehearsals"]) == (2, 1)
            assert loaded.doctor().ok
    with fast(db=tmp_path / "new.db") as loaded:
        loaded.forget(events[0])  # by the id that it was given


def test_another_encoder_takes_what_was_learned_along(fast: Opened, tmp_path: Path) -> None:
    memory = fast()
    ids = fill(memory)
    memory.feedback(QUESTION, [ids[4]])
    memory._learning.rehearse(memory._learning.draw(1, seed=0))
    memory.close()
    assert Memory.reencode(tmp_path / "m.db", encoder=HashEncoder(96)) == len(set(ids))  # the question is none of them
    again = fast(encoder=HashEncoder(96))
    assert first(again.recall(QUESTION)) == ids[4]
    assert again.doctor().ok
    other = fast(db=tmp_path / "other.db", encoder=HashEncoder(96))  # that had this encoder from the beginning
    other_ids = fill(other)
    other.feedback(QUESTION, [other_ids[4]])
    assert weights(again).any()
    np.testing.assert_allclose(weights(again), weights(other))


def weights(memory: Memory) -> np.ndarray:
    with memory._held() as (view, connection):
        held = memory._learning.memory(connection, view)
    assert held is not None
    return held.experts.multipliers - 1


def test_feedback_that_comes_and_goes_while_the_store_is_encoded_anew(fast: Opened, tmp_path: Path) -> None:
    memory = fast()
    ids = fill(memory)
    memory.feedback(QUESTION, [ids[4]])
    memory.feedback("whose anvil was it?", [ids[8], ids[2]])
    asked: list[str] = []

    class Meddled(HashEncoder):
        def encode_query(self, text: str) -> np.ndarray:
            if not asked:
                asked.append(text)
                memory.forget(ids[2])
                memory.feedback("where is the canoe?", [ids[3]])
            return super().encode_query(text)

    Memory.reencode(tmp_path / "m.db", encoder=Meddled(96))
    again = fast(encoder=HashEncoder(96))
    assert asked
    assert again.stats()["learned"] == 3
    assert again.doctor().ok


def test_a_full_disk_keeps_nothing_of_an_event(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = fill(memory)
    before = memory.recall(QUESTION, 12)

    def full(*_: object, **__: object) -> None:
        raise StoreFullError("the disk is full")

    monkeypatch.setattr("hippomem.storage.learning._log", full)
    with pytest.raises(StoreFullError):
        memory.feedback(QUESTION, [ids[4]])
    monkeypatch.undo()
    assert memory.stats()["learned"] == 0
    assert [p.id for p in memory.recall(QUESTION, 12).passages] == [p.id for p in before.passages]
    memory.feedback(QUESTION, [ids[4]])
    monkeypatch.setattr("hippomem.storage.learning._log", full)
    with pytest.raises(StoreFullError):
        memory._learning.rehearse(memory._learning.draw(1, seed=0))
    monkeypatch.undo()
    assert memory.doctor().ok
    assert memory.stats()["rehearsals"] == 0


def test_threads_may_learn_recall_and_rehearse_at_once(memory: Memory) -> None:
    ids = fill(memory)
    failed: list[BaseException] = []

    def work(place: int) -> None:
        try:
            for n in range(4):
                memory.feedback(f"thread {place} asks {n}", [ids[(place + n) % 12]])
                memory.recall(f"thread {place} asks {n}")
                memory._learning.rehearse(memory._learning.draw(3))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert memory.stats()["learned"] == 12
    assert memory.doctor().ok


@pytest.mark.parametrize(("kind", "rule"), [("mlp", "none"), ("chain", "ewc"), ("linear", "dual")])
def test_the_slow_map_is_what_the_settings_say(fast: Opened, kind: str, rule: str) -> None:
    settings = Settings(neural_map=kind, neural_rule=rule)  # type: ignore[arg-type]
    memory = fast(settings=settings)
    ids = fill(memory, 8)
    for place in range(8):
        memory.feedback(f"question {place} about thing {place}", [ids[place]])
    assert memory._learning.rehearse(memory._learning.draw(8, seed=0), passes=3).kept
    assert memory.doctor().ok
    memory.close()
    again = fast(settings=settings)
    assert again.doctor().ok
    again.forget(ids[2])
    assert again._learning.renew()
    assert again.doctor().ok
    again.close()
    assert fast().doctor().ok  # with other settings it is another map, of the same log


@pytest.mark.sqlite
def test_a_full_fast_store_is_made_again_from_the_log(fast: Opened, tmp_path: Path) -> None:
    memory = fast(settings=small(tmp_path))
    ids = fill(memory)
    for n, id_ in enumerate(ids):
        memory.feedback(f"{QUESTION} the one of note {n}", [id_])
        if n % 2:
            memory._learning.rehearse(memory._learning.draw(3, seed=n), passes=4)
    assert memory.doctor().ok
    with memory._lock, memory._synced() as (view, connection):
        held = memory._learning.memory(connection, view)
    assert held is not None
    assert len(held.store) == 5
    assert set(held.replayed) - set(held.store.numbers)  # what has left is in the map still
    before = memory.recall(QUESTION, 12)
    memory.close()
    for again in range(2):
        with fast(settings=small(tmp_path)) as opened:
            assert [p.id for p in opened.recall(QUESTION, 12).passages] == [p.id for p in before.passages]
            assert opened.doctor().ok
        if not again:
            (kept,) = (tmp_path / "m.db.views").rglob("map.npz")
            kept.unlink()
    with fast(settings=small(tmp_path)) as opened:
        opened.forget(ids[11])
        opened.forget(ids[0])  # of what has left the store
        assert opened.doctor().ok


def small(tmp_path: Path) -> Settings:
    return Settings(db=str(tmp_path / "m.db"), neural_capacity=5, encoder=HashEncoder(), pipeline=capitals())


def taught(memory: Memory) -> None:
    for number, id_ in enumerate(fill(memory)[:6]):
        memory.feedback(f"what came as note {number}?", [id_])


def test_what_was_rehearsed_before_more_came_than_there_is_room_for_goes_along_with_an_export(tmp_path: Path) -> None:
    clock = SimulatedClock()
    with Memory.open(settings=small(tmp_path), clock=clock) as memory:
        for number, id_ in enumerate(fill(memory)):
            clock.advance(timedelta(days=1))
            memory.feedback(f"what came as note {number}?", [id_])
            memory._learning.rehearse(memory._learning.draw(2, seed=number))
        memory.export(tmp_path / "dump")
        with Memory.load(tmp_path / "dump", tmp_path / "n.db", settings=small(tmp_path)) as loaded:
            for query in (QUESTION, "what came as note 1?"):
                ours, theirs = (m.recall(query, 12).passages for m in (memory, loaded))
                assert [(p.id, p.score) for p in theirs] == [(p.id, pytest.approx(p.score, abs=1e-5)) for p in ours]
            assert loaded.doctor().ok


def test_a_rehearsal_that_is_interrupted_has_not_happened(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C in a notebook, whose memory stays open."""
    taught(memory)
    learner = memory._learning

    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(NeuralMemory, "_absorbed_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learner.rehearse(learner.draw(4, seed=1))
    monkeypatch.undo()
    assert memory.doctor().ok
    assert learner.rehearse(learner.draw(4, seed=1)).kept
    assert memory.doctor().ok


def test_following_what_others_taught_can_be_interrupted(
    fast: Opened, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = fast()
    learner = other._learning
    taught(other)
    memory.recall(QUESTION)
    for seed in range(2):
        assert learner.rehearse(learner.draw(4, seed=seed)).kept
    replay, steps = NeuralMemory.replay, iter(range(1))

    def interrupted(*args: Any) -> Any:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return replay(*args)

    monkeypatch.setattr(NeuralMemory, "replay", interrupted)
    with pytest.raises(KeyboardInterrupt):
        memory.recall(QUESTION)
    monkeypatch.undo()
    assert memory.doctor().ok


def test_a_rehearsal_goes_on_beside_writes_that_teach_nothing(
    fast: Opened, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, learner = fast(), memory._learning
    taught(memory)
    rehearse, times = NeuralMemory.rehearse, []

    def slow(*args: Any, **options: Any) -> Any:
        times.append(other.add(f"Note {len(times)} came meanwhile."))
        return rehearse(*args, **options)

    monkeypatch.setattr(NeuralMemory, "rehearse", slow)
    assert learner.rehearse(learner.draw(4, seed=1)).kept
    assert len(times) == 1
    assert memory.doctor().ok
    assert other.doctor().ok
