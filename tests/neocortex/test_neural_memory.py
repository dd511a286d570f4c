"""The neural memory: reads against a plain loop, replay, rollback, and unlearning without a trace."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hippomem.neocortex.neural_memory import Association, MapOptions, NeuralMemory
from hippomem.neocortex.neural_memory.experts import ExpertWeights
from hippomem.neocortex.neural_memory.fast_store import BETA, CODED, NEAREST, FastStore

D = 24


def unit(count: int, seed: int, dimension: int = D) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def events(count: int, seed: int = 0, dimension: int = D, first: int = 1) -> list[Association]:
    rng = np.random.default_rng(seed)
    keys, values = unit(count, seed, dimension), unit(count, seed + 1, dimension)
    return [
        Association(
            first + i,
            keys[i],
            values[i],
            tuple(sorted({int(p) for p in rng.integers(0, 20, 2)})),
            float(rng.choice([1.0, 0.5, -0.7])),
            rng.standard_normal((6, 3)).astype(np.float32),
            np.arange(6) == rng.integers(0, 6),
        )
        for i in range(count)
    ]


def loop(held: list[Association], query: np.ndarray) -> tuple[np.ndarray, dict[int, float]]:
    """softmax(β K q + ln |c|) over the NEAREST keys, with nothing but Python numbers."""
    nearest = sorted(held, key=lambda e: -sum(float(a) * float(b) for a, b in zip(e.key, query, strict=True)))[:NEAREST]
    powers = [
        abs(e.confidence) * math.exp(BETA * sum(float(a) * float(b) for a, b in zip(e.key, query, strict=True)))
        for e in nearest
    ]
    shift, votes = np.zeros(len(query)), {}
    for event, power in zip(nearest, powers, strict=True):
        attention = power / sum(powers)
        if event.confidence > 0:
            shift += attention * (event.value.astype(float) - event.key)
        for passage in event.passages:
            votes[passage] = votes.get(passage, 0.0) + math.copysign(attention, event.confidence)
    return shift, votes


@pytest.mark.parametrize("count", [1, 5, NEAREST, NEAREST + 40])
def test_a_read_is_the_softmax_of_a_plain_loop(count: int) -> None:
    held, store = events(count), FastStore()
    store.write(held)
    for query in unit(5, 9):
        attention = store.attend(query)
        shift, votes = loop(held, query)
        assert np.allclose(store.shift(attention), shift, atol=1e-5)
        found = store.votes(attention)
        assert found.keys() == votes.keys()
        assert all(found[p].attention == pytest.approx(votes[p], abs=1e-5) for p in votes)
        assert attention.weights.sum() == pytest.approx(1.0, abs=1e-5)


def test_a_coarse_choice_among_many_keys_reads_the_same() -> None:
    held, store = events(CODED + 300), FastStore()
    store.write(held)
    for query in [*unit(6, 9), held[7].key, held[-1].key]:
        shift, votes = loop(held, query)
        attention = store.attend(query)
        assert np.allclose(store.shift(attention), shift, atol=2e-3)
        assert store.votes(attention).keys() >= {p for p, vote in votes.items() if abs(vote) > 0.05}
    store.remove([held[7].number])
    assert store.attend(held[7].key).cosines[0] < 0.99


@pytest.mark.parametrize("others", [0, 500, CODED + 100])
def test_of_a_question_asked_often_the_last_that_was_learned_counts_whatever_was_removed(others: int) -> None:
    key, a, b = unit(3, 7)
    held = events(others) if others else []
    last = max((event.number for event in held), default=0)
    held += [Association(last + n, key, a, (1,)) for n in range(1, 201)]
    held += [Association(last + n, key, b, (2,)) for n in range(201, 206)]
    store, again = FastStore(), FastStore()
    store.write(held)
    assert store.votes(store.attend(key))[2].attention == pytest.approx(5 / NEAREST, abs=1e-3)
    gone = [event.number for event in held[:3]]
    store.remove(gone)
    again.write([event for event in held if event.number not in gone])  # as a process that opens the memory now
    assert store.votes(store.attend(key)).keys() >= {1, 2}
    for passage, vote in store.votes(store.attend(key)).items():
        assert vote.attention == pytest.approx(again.votes(again.attend(key))[passage].attention, abs=1e-5)


def test_a_query_asked_before_finds_what_was_useful() -> None:
    memory = NeuralMemory(64, 3)
    held = events(60, dimension=64)
    memory.learn(held)
    for event in held[:20]:
        reading = memory.read(event.key)
        assert reading.likeness == pytest.approx(1.0, abs=1e-5)
        votes = [reading.votes[passage] for passage in event.passages]
        assert all(vote.queries >= 1 and (vote.attention > 0) == (event.confidence > 0) for vote in votes)
        if event.confidence > 0:
            assert float(reading.vector @ event.value) > float(event.key @ event.value) + 0.1


def test_a_query_like_none_that_was_asked_is_not_moved() -> None:
    first, second, value = np.eye(3, dtype=np.float32)
    memory = NeuralMemory(3, 3)
    memory.learn([Association(1, first, value, (1,))])
    moved = {cosine: memory.read(at(first, second, cosine)).vector for cosine in (0.0, 0.1, 0.25, 0.5, 0.75)}
    assert np.allclose(moved[0.0], second)
    toward = {cosine: float(vector @ value) for cosine, vector in moved.items()}
    assert toward[0.1] < 0.02 < toward[0.25] < 0.1
    for cosine in (0.5, 0.75):  # from here on as far as ever
        whole = at(first, second, cosine) + 0.35 * (value - first)
        assert np.allclose(moved[cosine], whole / np.linalg.norm(whole), atol=1e-6)


def at(one: np.ndarray, other: np.ndarray, cosine: float) -> np.ndarray:
    """A unit vector of this cosine to `one`, between two that are at right angles."""
    return (cosine * one + math.sqrt(1 - cosine**2) * other).astype(np.float32)


def test_the_map_speaks_once_something_has_left_the_store() -> None:
    memory = NeuralMemory(64, 3, capacity=20)
    held = events(24, dimension=64)
    memory.learn(held[:20])
    query = unit(1, 9, 64)[0]
    before = memory.read(query).vector
    memory.rehearse(memory.replayable(), passes=8)
    assert memory.replayed
    assert np.array_equal(memory.read(query).vector, before)
    memory.learn(held[20:])
    assert memory.map_speaks
    spoken = memory.read(query).vector
    memory.replayed.clear()
    assert not np.allclose(memory.read(query).vector, spoken, atol=1e-4)


def test_experts_weights_follow_who_was_right() -> None:
    """The first of three experts says it all, the second nothing, the third the opposite."""
    rng = np.random.default_rng(0)
    weights = ExpertWeights.new(3)
    for number in range(1, 200):
        useful = np.arange(8) == rng.integers(8)
        evidence = np.stack([useful * 1.0, rng.standard_normal(8) * 0.3, useful * -0.5], axis=1).astype(np.float32)
        weights.learn(Association(number, unit(1, 0)[0], unit(1, 1)[0], (1,), 1.0, evidence, useful))
    one, two, three = weights.multipliers
    assert one > 1.5
    assert three < 0.5
    assert abs(two - 1) < abs(one - 1)
    before = weights.multipliers.copy()
    weights.learn(
        Association(
            300, unit(1, 0)[0], unit(1, 1)[0], (1,), 1.0, np.full((4, 3), np.nan, np.float32), np.arange(4) == 1
        )
    )
    assert np.array_equal(before, weights.multipliers)


def test_replay_teaches_the_map_and_probes_measure_it() -> None:
    memory = NeuralMemory(D, 3)
    memory.learn(events(30))
    useful = memory.replayable()
    assert all(e.number in useful for e in events(30) if e.confidence > 0)
    assert len(useful) < 30
    before = np.mean([probe.loss for probe in memory.probe(useful)])
    rng = np.random.default_rng(0)
    for _ in range(10):
        done = memory.rehearse(memory.draw(len(useful), rng), interferers=1)
        assert done.kept
        assert done.loss_after < done.loss_before
    probes = memory.probe(useful)
    assert np.mean([probe.loss for probe in probes]) < 0.5 * before
    assert np.mean([probe.found for probe in probes]) > 0.9
    assert done.absorbed


def test_values_are_told_apart_once_for_all_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, held = NeuralMemory(D, 3), events(30)
    held = [replace(e, value=held[i % 10].value, confidence=1.0) for i, e in enumerate(held)]
    memory.learn(held[:20])
    told: list[int] = []
    unique = np.unique
    monkeypatch.setattr(np, "unique", lambda values, **how: (told.append(len(values)), unique(values, **how))[1])
    assert memory.probe([1])[0].among == 10
    memory.rehearse([1, 2], guard=[3, 4])
    assert told == [20]
    memory.learn([replace(held[20], value=unit(1, 9)[0])])
    assert memory.probe([1])[0].among == 11
    memory.unlearn([held[20].number, *(e.number for e in held[1:20:10])])
    assert memory.probe([1])[0].among == 9
    memory.learn([replace(held[0], value=unit(1, 9)[0])])
    assert memory.probe([1])[0].among == 10
    assert told == [20, 21, 18, 18]


def test_surprise_is_what_draws() -> None:
    memory = NeuralMemory(D, 3)
    memory.learn(events(30))
    useful = memory.replayable()
    for _ in range(15):
        memory.rehearse(useful[:5])
    rng = np.random.default_rng(1)
    drawn = [number for _ in range(200) for number in memory.draw(3, rng)]
    known = sum(number in useful[:5] for number in drawn) / len(drawn)
    assert known < 0.5 * 5 / len(useful)
    assert memory.draw(0, rng) == []
    assert sorted(memory.draw(10**6, rng)) == useful


def test_a_rehearsal_that_harms_the_guard_is_rolled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = NeuralMemory(D, 3)
    held = events(20)
    memory.learn(held)
    useful = memory.replayable()
    for _ in range(20):
        memory.rehearse(useful)
    before = memory.snapshot()
    contrary = [Association(100 + i, e.key, -e.value, (1,)) for i, e in enumerate(held[:8])]
    memory.learn(contrary)
    done = memory.rehearse([e.number for e in contrary], guard=useful, passes=60)
    assert not done.kept
    assert "guard" in done.reason
    after = memory.snapshot()
    assert all(np.array_equal(before.arrays[name], after.arrays[name]) for name in before.arrays)
    assert after.replayed == before.replayed
    memory.learn([Association(900, unit(1, 3)[0], np.full(D, np.nan, np.float32), (1,))])
    done = memory.rehearse([900])
    assert not done.kept
    assert "finite" in done.reason
    assert memory.probe([900])[0].rank is None


def test_a_full_store_lets_go_first_what_the_map_has_absorbed() -> None:
    memory = NeuralMemory(D, 3, capacity=20)
    held = [Association(e.number, e.key, e.value, e.passages) for e in events(30)]
    memory.learn(held[:20])
    for _ in range(20):
        memory.rehearse([5, 6, 7, 8])
    assert memory.absorbed == {5, 6, 7, 8}
    memory.learn(held[20:24])
    assert memory.evicted == {5, 6, 7, 8}
    memory.learn(held[24:26])
    assert memory.evicted == {5, 6, 7, 8, 1, 2}
    assert len(memory.store) == 20


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_nothing_recoverable_remains_of_what_is_unlearned(kind: str) -> None:
    """A membership probe: whoever may ask cannot tell a memory that unlearned an event from one that never saw it."""
    drawn = events(40, dimension=64)
    held = [Association(e.number, e.key, e.value, e.passages, 1.0, e.evidence, e.useful) for e in drawn]
    secret, others = held[10], [e for e in held if e.number != held[10].number]
    options = MapOptions(kind=kind)  # type: ignore[arg-type]
    taught, never = NeuralMemory(64, 3, options), NeuralMemory(64, 3, options)
    taught.learn(held)
    never.learn(others)
    assert taught.unlearn([secret.number])
    for query in [secret.key, *unit(20, 8, 64)]:  # before any replay: exactly the same, at once
        one, two = taught.read(query), never.read(query)
        assert np.allclose(one.vector, two.vector, atol=1e-6)
        assert one.votes.keys() == two.votes.keys()
    assert np.allclose(taught.experts.multipliers, never.experts.multipliers, atol=1e-12)
    assert not (taught.store._keys == secret.key).all(axis=1).any()

    taught = NeuralMemory(64, 3, options)
    taught.learn(held)
    order = [e.number for e in held] * 12
    taught.replay(order)
    known = taught.probe([secret.number])[0].loss
    assert taught.unlearn([secret.number])
    assert taught.stale == 1
    never.replay(order)
    # The patch at once: the map no longer answers the secret's query with its value as it did.
    left = secret.key - taught._means.mean()
    dampened = float(((left + taught.map.read(left) - (secret.value - taught._means.mean())) ** 2).sum())
    assert dampened > 2 * known
    # The proof: rebuilt from the log without the event, it is the memory that never saw it.
    rebuilt = NeuralMemory(64, 3, options)
    rebuilt.learn(others)
    rebuilt.replay(order)
    assert rebuilt.differences(never) == []
    assert np.array_equal(rebuilt.read(secret.key).vector, never.read(secret.key).vector)


def test_a_batch_beyond_the_capacity_is_learned_as_one_event_after_the_other() -> None:
    evidence, useful = np.eye(4, 3, dtype=np.float32), np.array([True, False, False, False])
    first, second, third, again = (replace(e, confidence=1.0, evidence=evidence, useful=useful) for e in events(4))
    again = replace(again, key=first.key, passages=first.passages)
    at_once, singly = (NeuralMemory(D, 3, capacity=2) for _ in range(2))
    at_once.learn([first, second, third, again])
    for event in (first, second, third, again):
        singly.learn([event])
    assert at_once.differences(singly) == []
    kept = NeuralMemory(D, 3)
    kept.learn([first, second, third, again])  # where the first is still there, it is not taught again
    assert not np.allclose(kept.experts.multipliers, singly.experts.multipliers, atol=1e-6)


def test_thousands_of_random_events_leave_everything_finite() -> None:
    """1,500 here; 50,000 in `hippomem eval recall-capacity`, and in the slow test below."""
    many(1_500)


@pytest.mark.slow
def test_fifty_thousand_random_events_leave_everything_finite() -> None:
    many(50_000)


def many(count: int) -> None:
    rng = np.random.default_rng(0)
    memory = NeuralMemory(D, 3, capacity=1000)
    for first in range(0, count, 500):
        memory.learn(events(500, seed=first, first=first + 1))
        done = memory.rehearse(memory.draw(500, rng))
        assert np.isfinite(done.loss_after)
    assert len(memory.store) == 1000
    assert all(np.isfinite(array).all() for array in memory.map.arrays().values())
    assert np.isfinite(memory.experts.multipliers).all()
    for query in unit(20, 3):
        assert np.isfinite(memory.read(query).vector).all()
