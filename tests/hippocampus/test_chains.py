"""What comes before and after: order, time, removal, exact smoothing of vectors."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numpy.typing import NDArray

from hippomem.hippocampus.chains import (
    ANSWERING,
    LOOK,
    NEAR_CHARACTERS,
    NEAR_SECONDS,
    NONE,
    TERSE,
    VECTOR_SMOOTHING,
    WORD_SMOOTHING,
    Chains,
    Place,
)
from hippomem.hippocampus.talk import LEAST, asks, enough_ask, hang_together

VECTORS = np.random.default_rng(3).normal(size=(48, 8)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


def taken(rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return VECTORS[rows]


def chained(places: list[tuple[int, float]] | list[Place], numbers: list[int] | None = None) -> Chains:
    chains = Chains(taken)
    own = [p if isinstance(p, Place) else Place(p[0], p[1], p[1], spoken=True) for p in places]
    order = numbers or range(len(places))
    chains.append([place._replace(told=told) for place, told in zip(own, order, strict=True)])
    return chains


def neighbours(chains: Chains, rows: int) -> list[tuple[int, int]]:
    return [chains.neighbours(row) for row in range(rows)]


def likeness(chains: Chains, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The smoothed likeness of all rows, of their own (rows,)."""
    return chains.smooth_likeness_of(np.arange(len(values)), values.__getitem__)


def test_neighbours_are_of_the_same_chain() -> None:
    chains = chained([(7, 0.0), (8, 0.0), (7, 0.0), (0, 0.0), (7, 0.0)])
    assert neighbours(chains, 5) == [(NONE, 2), (NONE, NONE), (0, 4), (NONE, NONE), (2, NONE)]


def test_a_row_that_comes_late_takes_its_place_by_number() -> None:
    chains = chained([(7, 0.0)] * 4, [10, 30, 40, 20])
    assert neighbours(chains, 4) == [(NONE, 3), (3, 2), (1, NONE), (0, 1)]


def test_notes_far_apart_in_time_are_no_neighbours() -> None:
    chains = chained([(7, 0.0), (7, NEAR_SECONDS), (7, 2 * NEAR_SECONDS + 1), (7, NEAR_SECONDS + 2)])
    assert neighbours(chains, 4) == [(NONE, 1), (0, NONE), (NONE, 3), (2, NONE)]
    chains.remove([2])
    assert neighbours(chains, 2) == [(NONE, 1), (0, 3)]


def test_parts_of_a_document_follow_each_other_by_where_they_begin() -> None:
    parts = [Place(7, 0, 90), Place(7, 200, 300), Place(7, 92, 198), Place(7, 301 + NEAR_CHARACTERS, 900)]
    assert neighbours(chained(parts), 4) == [(NONE, 2), (2, NONE), (0, 1), (NONE, NONE)]


def test_parts_of_a_document_are_not_smoothed() -> None:
    chains = chained([Place(7, 0, 90), Place(7, 92, 198)])
    np.testing.assert_array_equal(likeness(chains, VECTORS[:2] @ VECTORS[9]), VECTORS[:2] @ VECTORS[9])
    np.testing.assert_array_equal(chains.smooth(np.ones(2, np.float32)), np.ones(2))


def test_documents_of_one_title_are_no_neighbours() -> None:
    records = [Place(7, 0, 90), Place(7, 0, 50), Place(7, 0, 70)]
    assert neighbours(chained(records), 3) == [(NONE, NONE)] * 3


def test_likeness_is_that_of_the_smoothed_vectors() -> None:
    chains = chained([(7, 0.0), (7, 0.0), (0, 0.0), (7, 0.0)])
    smoothed = VECTORS[:4].copy()
    for row, others in ((0, [1]), (1, [0, 3]), (3, [1])):
        smoothed[row] += VECTOR_SMOOTHING * VECTORS[others].sum(axis=0)
    smoothed /= np.linalg.norm(smoothed, axis=1, keepdims=True)
    np.testing.assert_allclose(likeness(chains, VECTORS[:4] @ VECTORS[9]), smoothed @ VECTORS[9], atol=1e-6)


def test_an_answer_is_coloured_more_by_its_question() -> None:
    chains = chained([Place(7), Place(7, asks=True), Place(7), Place(7)])
    values = np.array([1, 10, 100, 1000], np.float32)
    a, more = WORD_SMOOTHING, WORD_SMOOTHING * ANSWERING
    expected = [1 + 10 * a, 10 + 101 * a, 100 + 10 * more + 1000 * a, 1000 + 100 * a]
    np.testing.assert_allclose(chains.smooth(values), expected, rtol=1e-6)
    answer = VECTORS[2] + VECTOR_SMOOTHING * (ANSWERING * VECTORS[1] + VECTORS[3])
    coloured = likeness(chains, VECTORS[:4] @ VECTORS[9])[2]
    np.testing.assert_allclose(coloured, answer @ VECTORS[9] / np.linalg.norm(answer), rtol=1e-5)


def test_what_asks_and_what_answers_is_told_in_conversations_only() -> None:
    every = np.arange(4)
    places = [Place(7, asks=True), Place(7), Place(7, asks=True), Place(7, asks=True)]
    for chain, asking, answering in ((7, [1, 0, 1, 0], [0, 1, 0, 1]), (0, [0] * 4, [0] * 4)):
        chains = chained([place._replace(chain=chain) for place in places])
        assert chains.are_asking(every).tolist() == asking
        assert chains.are_answers(every).tolist() == answering
    chains.append([Place(7, told=4), Place(7, spoken=True, told=5)])
    assert chains.any
    assert not chains.are_asking(every).any()
    assert not chains.are_answers(np.arange(6)).any()


def test_who_is_brief_beside_the_other_is_told() -> None:
    words = np.log1p(np.array([4, 60, 9, 40, 5, 80, 300, 4], np.float32))
    chains = chained([Place(7, asks=row % 2 == 1) for row in range(6)] + [Place(8), Place(8)])
    terseness = chains.terseness(np.arange(8), lambda rows: words[rows])
    own, other = words[[0, 2, 4]].mean(), words[[1, 3]].mean()
    assert terseness[0] == pytest.approx(other - own - TERSE, rel=1e-5)
    own, other = words[[2, 0, 4]].mean(), words[[1, 3, 5]].mean()
    assert terseness[2] == pytest.approx(other - own - TERSE, rel=1e-5)
    assert not terseness[[1, 3, 5]].any()  # who is not brief
    assert not terseness[[6, 7]].any()  # where nobody talks
    chains.remove([1])
    assert chains.terseness(np.array([0]), lambda rows: words[rows]) < terseness[0]  # the turns after it change sides


def test_speakers_who_say_about_as_much_are_not_brief() -> None:
    words = np.log1p(np.array([20, 28] * 4, np.float32))
    assert not chained([(7, 0.0)] * 8).terseness(np.arange(8), lambda rows: words[rows]).any()


def talk(notes: int, seed: int, drift: float) -> NDArray[np.float32]:
    """Unit vectors of notes of which each goes on from the one before; with a `drift` of 1 none does."""
    steps = np.random.default_rng(seed).normal(size=(notes, 24))
    for i in range(1, notes):
        steps[i] = (1 - drift) * steps[i - 1] + drift * steps[i]
    return np.asarray(steps / np.linalg.norm(steps, axis=1, keepdims=True), np.float32)


def test_a_conversation_hangs_together_and_a_list_does_not() -> None:
    assert sum(hang_together(talk(2 * LOOK, seed, 0.5)) for seed in range(100)) >= 99
    assert sum(hang_together(talk(2 * LOOK, seed, 1.0)) for seed in range(100)) <= 3
    assert not hang_together(talk(LEAST, 1, 0.1))
    assert enough_ask(np.arange(40) < 2)
    assert not enough_ask(np.arange(41) < 2)


def noted(vectors: NDArray[np.float32], seconds: float = 60.0, asking: int = 5) -> Chains:
    """Notes of which one in `asking` asks, or none."""
    chains = Chains(lambda rows: vectors[rows])
    moments = (1e9 + i * seconds for i in range(len(vectors)))
    chains.append(Place(7, at, at, asking > 0 and i % asking == 0, told=i) for i, at in enumerate(moments))
    return chains


def test_notes_are_smoothed_where_they_hang_together() -> None:
    told, listed = talk(3 * LOOK, 2, 0.5), talk(3 * LOOK, 2, 1.0)
    values = np.arange(3 * LOOK, dtype=np.float32) ** 2
    assert (noted(told).smooth(values) != values).all()
    assert not noted(listed).any
    assert not noted(told, 2 * NEAR_SECONDS).any
    assert not noted(told, asking=0).any
    assert not noted(told[: LEAST - 1]).any
    both = noted(np.concatenate([told, listed]))
    smoothed = both.smooth(np.ones(6 * LOOK, np.float32)) > 1
    assert smoothed[: 2 * LOOK].all()
    assert not smoothed[5 * LOOK :].any()
    assert both.neighbours(5 * LOOK) == (5 * LOOK - 1, 5 * LOOK + 1)  # for those who ask for context


@pytest.mark.parametrize(
    ("text", "asking"),
    [
        ("And you?", True),
        ("And you?! 😊", True),
        ('She said: "Why?"', True),
        ("你呢？", True),
        ("وأنت؟", True),
        ("Can I return it? Yes, within 30 days.", False),
        ("No.", False),
        ("", False),
    ],
)
def test_what_ends_with_a_question_asks(text: str, asking: bool) -> None:
    assert asks(text) == asking


def test_a_session_in_which_nobody_asks_is_not_smoothed() -> None:
    def smoothed(turns: int, asking: int) -> NDArray[np.bool_]:
        chains = chained([Place(7, asks=turn < asking) for turn in range(turns)])
        assert neighbours(chains, 2) == [(NONE, 1), (0, 2)]  # for those who ask for context
        return np.asarray(chains.smooth(np.ones(turns, np.float32)) > 1)

    assert not smoothed(3, 0).any()
    assert smoothed(3, 1).all()
    assert smoothed(40, 1).all()
    assert not smoothed(41, 1).any()


def test_a_session_that_says_who_speaks_is_smoothed() -> None:
    turns = 5 * LEAST
    chains = chained([Place(7, spoken=True)] * turns)
    assert (chains.smooth(np.ones(turns, np.float32)) > 1).all()


def test_sessions_that_come_and_go_are_smoothed_as_if_they_had_come_at_once() -> None:
    draw = random.Random(7)  # noqa: S311
    places = [Place(7 + i % 3, asks=i in {0, 13}, spoken=i == 21, told=i) for i in range(len(VECTORS))]
    for _ in range(20):
        order = draw.sample(range(len(places)), len(places))
        chains = Chains(lambda rows, order=order: VECTORS[np.array(order)[rows]])
        chains.append([places[at] for at in order[:5]])
        for at in range(5, len(order)):
            chains.append([places[order[at]]])
            chains = Chains(
                lambda rows, order=order: VECTORS[np.array(order)[rows]], **chains.compact(np.arange(at + 1))
            )
        gone = draw.sample(range(len(order)), 12)
        chains.remove(gone)
        kept = np.array(sorted(set(range(len(order))) - set(gone), key=lambda row: order[row]))
        own = np.array(order)[kept]
        fresh = Chains(lambda rows, own=own: VECTORS[own[rows]])
        fresh.append([places[at] for at in own])
        theirs = fresh.compact(np.arange(len(kept)))
        for name, values in chains.compact(kept).items():
            np.testing.assert_allclose(values, theirs[name], rtol=1e-5, err_msg=name)


def test_notes_that_come_and_go_are_smoothed_as_if_they_had_come_at_once() -> None:
    draw = random.Random(6)  # noqa: S311
    vectors = np.concatenate([talk(2 * LOOK, 3, 0.5), talk(4 * LOOK, 3, 1.0), talk(2 * LOOK, 4, 0.5)])
    places = [Place(7, 1e9 + i, 1e9 + i, i % 9 == 0, told=i) for i in range(len(vectors))]
    for _ in range(5):
        order = draw.sample(range(len(vectors)), len(vectors))
        chains = Chains(lambda rows, order=order: vectors[np.array(order)[rows]])
        for at in range(len(order)):
            chains.append([places[order[at]]])
        gone = draw.sample(range(len(order)), 12)
        chains.remove(gone)
        kept = np.array(sorted(set(range(len(order))) - set(gone), key=lambda row: order[row]))
        own = np.array(order)[kept]
        fresh = Chains(lambda rows, own=own: vectors[own[rows]])
        fresh.append([places[at] for at in own])
        theirs = fresh.compact(np.arange(len(kept)))
        assert 20 < theirs["near"].sum() < len(kept) - 10
        for name, values in chains.compact(kept).items():
            np.testing.assert_allclose(values, theirs[name], rtol=1e-5, err_msg=name)


def test_what_comes_late_does_not_walk_the_whole_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """As each of thousands of updated notes does, whenever a view is made anew."""
    draw = random.Random(8)  # noqa: S311
    many = 600
    late = draw.sample(range(many), 100)
    vectors = np.random.default_rng(8).normal(size=(many, 4)).astype(np.float32)
    order = [*sorted(set(range(many)) - set(late)), *late]
    looked: list[int] = []
    whole = Chains._order
    monkeypatch.setattr(Chains, "_order", lambda self, row: looked.append(row) or whole(self, row))
    chains = Chains(lambda rows: vectors[np.array(order)[rows]])
    chains.append(Place(7, 60.0 * at, 60.0 * at, told=at) for at in order)
    assert len(looked) < 20 * many
    rows = [order.index(at) for at in range(many)]
    assert [chains.neighbours(row)[1] for row in rows[:-1]] == rows[1:]


def place(draw: random.Random) -> Place:
    chain, at = draw.choice([0, 1, 2]), draw.randrange(20)
    return Place(chain, at * 600.0, at * 600.0) if chain < 2 else Place(chain, at * 10.0, at * 10.0 + 10)


def test_any_order_of_growing_and_removing_gives_the_same() -> None:
    draw = random.Random(5)  # noqa: S311
    for _ in range(30):
        numbers = draw.sample(range(1000), 12)
        places = [place(draw) for _ in numbers]
        chains = chained(places, numbers)
        gone = draw.sample(range(12), 4)
        chains.remove(gone[:2])
        chains.remove(gone[2:])
        kept = np.array(sorted(set(range(12)) - set(gone), key=lambda row: numbers[row]))
        fresh = Chains(lambda rows, kept=kept: VECTORS[kept[rows]])
        fresh.append([places[row]._replace(told=numbers[row]) for row in kept])
        ours, theirs = chains.compact(kept), fresh.compact(np.arange(len(kept)))
        for name, values in theirs.items():
            np.testing.assert_allclose(ours[name], values, rtol=1e-5, err_msg=name)
        again = Chains(lambda rows, kept=kept: VECTORS[kept[rows]], **ours)  # type: ignore[arg-type]
        assert neighbours(again, len(kept)) == neighbours(fresh, len(kept))


def test_some_rows_are_smoothed_as_all_are() -> None:
    """Whether they have neighbours, among themselves or elsewhere, or none: then nothing else is asked for."""
    choice = random.Random(4)  # noqa: S311
    chains = chained([Place(choice.choice([0, 0, 1, 2]), asks=choice.random() < 0.5) for _ in range(40)])
    every = np.random.default_rng(5).normal(size=40).astype(np.float32)
    asked: list[list[int]] = []

    def values(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        asked.append(rows.tolist())
        return every[rows]

    alone = [row for row in range(40) if chains.neighbours(row) == (NONE, NONE)]
    subsets = [[], *([row] for row in range(40))]
    subsets += [sorted(choice.sample(range(40), size)) for size in (2, 5, 10, 39) for _ in range(5)]
    assert 5 < len(alone) < 35
    for some in (alone, *subsets):
        rows = np.array(some, np.int64)
        np.testing.assert_allclose(chains.smooth_some(rows, values), chains.smooth(every)[rows], rtol=1e-6)
        np.testing.assert_allclose(chains.smooth_likeness_of(rows, values), likeness(chains, every)[rows], rtol=1e-6)
        near = {at for row in some for at in (row, *chains.neighbours(row))} - {NONE}
        assert chains.with_neighbours(rows[::-1]).tolist() == sorted(near)
        assert asked.pop() == sorted(near)
