"""Follow-up questions: what the passages that they are about name counts as named by them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from hippomem import InvalidInputError, Memory, NotFoundError
from hippomem.hippocampus.about import SHARE, with_names_of

Opened = Callable[..., Memory]
TEXTS = {
    "Ada Thorne": "Ada Thorne runs Northlight Labs.",
    "Northlight Labs": "Northlight Labs keeps its archive in the old customs house of Vardo.",
    "Bergen": "The harbour of Bergen froze in 1904, and its archive burnt in the old customs house.",
    **{f"Clerk{n}": f"Clerk{n} leads the choir of Village{n}, and keeps its archive." for n in range(12)},
}
FOLLOW_UP = "Where is its archive, in an old customs house?"


@pytest.fixture
def memory(fast: Opened) -> Memory:
    memory = fast()
    for title, text in TEXTS.items():
        memory.add(text, title=title)
    return memory


def test_a_follow_up_is_led_by_what_it_is_about(memory: Memory) -> None:
    first = memory.recall("What does Ada Thorne run?", 1).passages[0]
    plain = memory.recall(FOLLOW_UP, 3)
    led = memory.recall(FOLLOW_UP, 3, about=first)
    assert led.passages[0].title == "Northlight Labs"
    assert "named walk" in led.passages[0].causes
    assert led.passages[0].why[0].startswith("what the question is about names Northlight Labs → “Northlight Labs”")
    assert led.passages[0].entities == ()
    assert "named walk" not in plain.passages[0].causes


def test_it_may_be_about_several_and_name_something_itself(memory: Memory) -> None:
    by_title = {p.title: p.id for p in memory.passages()}
    question = "Which choir is that of Village3?"
    found = memory.recall(question, 3, about=[by_title["Ada Thorne"], by_title["Clerk3"]])
    assert found.passages[0].title == "Clerk3"
    assert found.passages[0].entities == ("Village3",)


def test_about_nothing_is_the_plain_recall(memory: Memory) -> None:
    assert memory.recall(FOLLOW_UP, 3, about=()).passages == memory.recall(FOLLOW_UP, 3).passages


def test_seeds_are_shares_of_one(memory: Memory) -> None:
    memory.recall(FOLLOW_UP, 1)
    view = memory._view
    assert view is not None
    rows = np.arange(3)
    alone = with_names_of(view.graph, {}, rows)
    assert sum(alone.values()) == pytest.approx(1)
    beside = with_names_of(view.graph, {max(alone) + 1: 1.0}, rows)
    assert sum(beside.values()) == pytest.approx(1)
    assert {entity: beside[entity] / SHARE for entity in alone} == pytest.approx(alone)


def test_it_is_about_passages_as_they_stood(memory: Memory) -> None:
    noted = memory.add("The keeper is Clerk7.")
    between = datetime.now(UTC)
    updated = memory.update(noted.id, "The keeper is Clerk9.")
    for name, moment, clerk in (
        (noted.id, None, "Clerk9"),
        (updated.id, None, "Clerk9"),
        (noted.id, between, "Clerk7"),
    ):
        found = memory.recall("Which choir does that one lead?", 15, about=name, as_of=moment)
        assert next(p.title for p in found.passages if (p.title or "").startswith("Clerk")) == clerk


@pytest.mark.parametrize(
    ("about", "error"), [("nowhere", NotFoundError), (7, InvalidInputError), ([7], InvalidInputError)]
)
def test_what_is_not_there_is_told(memory: Memory, about: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        memory.recall(FOLLOW_UP, about=about)


def test_what_was_forgotten_is_not_there(memory: Memory) -> None:
    first = memory.recall("What does Ada Thorne run?", 1).passages[0]
    memory.forget(first.id)
    with pytest.raises(NotFoundError, match="no memory has the id"):
        memory.recall(FOLLOW_UP, about=first.id)
