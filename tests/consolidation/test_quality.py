"""The quality gate, and texts that only come back from where they went."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hippomem import InvalidInputError, Memory, Settings
from hippomem.consolidation.quality import Echoes, flag_of, said

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
        ("Ada can’t swim.", "ADA CAN'T SWIM", True),
        (f"Ada came with {GEAR} and a net", f"Ada came with {GEAR} and the net", True),
        ("Ada moved to Oslo in 2021.", "Ada moved to Oslo in 2022.", False),
        ("Room 12 is free all of Monday", "Room 13 is free all of Monday", False),
        ("Ada likes tea", "Ada likes no tea", False),
        (f"Ada came with {GEAR} and a net", f"Bea came with {GEAR} and a net", False),
        (f"Ada loves {GEAR} and the net", f"Ada hates {GEAR} and the net", False),
        (f"Ada can bring {GEAR}", f"Ada can't bring {GEAR}", False),
        ("The meeting moved from Tuesday to Thursday.", "The meeting moved from Thursday to Tuesday.", False),
        ("Paul owes Anna 20 euros.", "Anna owes Paul 20 euros.", False),
        ("The meeting is at 10:30 in room 4", "The meeting is at 4:30 in room 10", False),
        ("It was -5 degrees", "It was 5 degrees", False),
        ("Ada writes C", "Ada writes C#", False),
        ("It costs 1.5 €", "It costs 15 €", False),
        ("Ada takes vitamin A", "Ada takes vitamin", False),
        ("They met at noon.", "They met at noon?", False),
        ("京都は寒い", "東京は寒い", False),
    ],
)
def test_only_case_punctuation_and_articles_do_not_count(one: str, other: str, same: bool) -> None:
    assert (said(one) == said(other)) == same


def test_echoes_are_forgotten_after_a_while() -> None:
    echoes = Echoes(size=3)
    echoes.heard((str(i), f"Person{i} keeps {i} cats") for i in range(5))
    assert echoes.sources_of("person4 KEEPS 4 cats!") == ["4"]
    assert echoes.sources_of("Person0 keeps 0 cats") == []
    assert echoes.sources_of("Person4 keeps 5 cats") == []
    assert echoes.sources_of("") == []
    assert len(echoes._said) == len(echoes._ids) == 3


def test_what_is_recalled_again_and_again_is_not_forgotten_first() -> None:
    echoes = Echoes(size=3)
    for i in range(9):
        echoes.heard([("ada", "Ada keeps a goat"), (str(i), f"Person{i} keeps {i} cats")])
        assert echoes.sources_of("Ada keeps a goat.") == ["ada"]
    assert [bool(echoes.sources_of(f"Person{i} keeps {i} cats")) for i in range(9)] == [False] * 7 + [True] * 2


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
    memory.add("The rent is 1,240 euros.", title="Flat A", source="flats/a.md", session="monday")
    memory.recall("How much is the rent?")
    assert memory.add("The rent is 1,240 euros.", title="Flat B").created
    assert memory.add("The rent is 1,240 euros.", source="flats/b.md").created
    assert memory.add("The rent is 1,240 euros.", session="tuesday").created
    assert not memory.add("the rent is 1,240 euros", title="Flat A", session="monday").created
    off = fast(tmp_path / "off.db", settings=Settings(quality_gate=False))
    off.add("Ada moved to Oslo.", title="Ada")
    off.recall("Where did Ada move?")
    assert off.add("Ada moved to Oslo.").created


def test_what_says_the_opposite_in_the_same_words_is_kept(fast: Callable[..., Memory]) -> None:
    memory = fast()
    owed = memory.add("Paul owes Anna 20 euros.")
    assert memory.recall("Who owes whom?").passages
    back = memory.add("Anna owes Paul 20 euros.")
    assert back.created
    assert memory.consolidate()["tidy"].counts == {}
    assert {owed.id, back.id} <= {p.id for p in memory.recall("Who owes whom?").passages}


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
    with pytest.raises(InvalidInputError, match="undone already"):
        memory.undo(flag.sequence)
    memory.add("We use cookies. Accept all cookies.", triples=[("Acme", "uses", "cookies")])  # linked anew
    assert memory.consolidate()["tidy"].counts == {}
    assert memory.stats()["consolidation"]["flagged"] == 0
