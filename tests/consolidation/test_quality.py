"""The quality gate, and texts that only come back from where they went."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hippomem import Memory, Settings
from hippomem.consolidation.quality import Echoes, flag_of, says_the_same

GEAR = "boat, rope, hook, lamp, oar, sail, anchor, chart"


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("ok, thanks!", "no information"),
        ("…", "no information"),
        ("the the of and", "no information"),
        ("spam spam spam " * 20, "no information"),
        ("We use cookies. Accept all cookies. Privacy policy.", "boilerplate"),
        ("© 2024 Acme. All rights reserved. Page 3 of 9", "boilerplate"),
        ("Ada moved to Oslo in 2021.", None),
        ("北京大学在北京。", None),
        ("Москва слезам не верит", None),
        ("The board met in May and chose Ada Thorne to lead the works at Gannet Point. Back to top", None),
        ("Ask Ada about the cookie policy that Northlight Labs wrote for its bakery in Bergen last winter", None),
    ],
)
def test_junk_is_told_from_what_says_something(text: str, flag: str | None) -> None:
    assert flag_of(text) == flag


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Ada moved to Oslo in 2021.", "  ada moved to oslo, in 2021", True),
        ("Ada moved to Oslo in 2021.", "Ada moved to Oslo in 2022.", False),
        ("Room 12 is free all of Monday", "Room 13 is free all of Monday", False),
        ("Ada likes tea", "Ada likes no tea", False),
        (f"Ada came with {GEAR} and a net", f"Ada came with {GEAR} and net", True),
        (f"Ada came with {GEAR} and a net", f"Bea came with {GEAR} and a net", False),
    ],
)
def test_the_same_is_told_from_what_differs_in_a_name_or_a_number(one: str, other: str, same: bool) -> None:
    assert says_the_same(one, other) == same
    assert says_the_same(other, one) == same


def test_echoes_are_forgotten_after_a_while() -> None:
    echoes = Echoes(size=3)
    echoes.heard((str(i), f"Person{i} keeps {i} cats") for i in range(5))
    assert echoes.source_of("person4 KEEPS 4 cats!") == "4"
    assert echoes.source_of("Person0 keeps 0 cats") is None
    assert echoes.source_of("Person4 keeps 5 cats") is None
    assert echoes.source_of("") is None
    assert len(echoes._words) == 3


@pytest.mark.parametrize("rounds", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_rounds_of_recalling_and_adding_again_leave_the_store_as_it_was(
    fast: Callable[..., Memory], rounds: int
) -> None:
    memory = fast()
    people = "Ada Bea Cid Dov Eve".split()
    for i in range(20):
        memory.add(
            f"{people[i % 5]} told {people[(i + 1) % 5]} about Harbour{i}.", title=f"Note {i}", source=f"s{i % 3}"
        )
    before = {name: memory.stats()[name] for name in ("passages", "entities", "facts", "edges", "views")}
    known = {p.id for p in memory.recall("Ada", 50).passages}
    for round_ in range(rounds):
        found = memory.recall(f"What did {people[round_ % 5]} tell of Harbour{round_ % 20}?", 2).passages
        again = found[round_ % 2].text
        text = (again, again.upper(), f"  {again} ", again.rstrip("."))[round_ % 4]
        event = memory.add(text, session=f"loop {round_ % 7}")
        assert not event.created
        assert event.id in known
    assert {name: memory.stats()[name] for name in before} == before
    assert memory.doctor().ok


def test_what_brings_something_of_its_own_is_no_echo(fast: Callable[..., Memory], tmp_path: Path) -> None:
    memory = fast()
    memory.add("Ada moved to Oslo.", title="Ada")
    memory.recall("Where did Ada move?")
    assert memory.add("Ada moved to Bergen.").created
    memory.recall("Where did Ada move?")
    assert memory.add("Ada moved to Oslo.", occurred_at=datetime(2021, 1, 1, tzinfo=UTC)).created
    assert memory.add("Ada moved to Oslo.", metadata={"from": "Bea"}).created
    assert memory.add("Ada moved to Oslo", triples=[("Ada", "lives in", "Oslo")]).created
    off = fast(tmp_path / "off.db", settings=Settings(quality_gate=False))
    off.add("Ada moved to Oslo.", title="Ada")
    off.recall("Where did Ada move?")
    assert off.add("Ada moved to Oslo.").created


def test_junk_is_flagged_found_and_unflagged_for_good(fast: Callable[..., Memory]) -> None:
    memory = fast()
    junk = memory.add("We use cookies. Accept all cookies.")
    memory.add("Ada moved to Oslo.")
    assert memory.consolidate()["tidy"].counts == {"flagged": 1}
    assert memory.stats()["consolidation"]["flagged"] == 1
    assert junk.id in {p.id for p in memory.recall("cookies", 5).passages}
    (flag,) = [change for change in memory.history(junk.id) if change.action == "flag"]
    assert flag.detail == {"why": "boilerplate"}
    memory.undo(flag.sequence)
    memory.add("We use cookies. Accept all cookies.", triples=[("Acme", "uses", "cookies")])  # linked anew
    assert memory.consolidate()["tidy"].counts == {}
    assert memory.stats()["consolidation"]["flagged"] == 0
