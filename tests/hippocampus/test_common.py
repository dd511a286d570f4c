"""Titles that are common nouns are found from texts that write them in small letters; crowding makes room for them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hippomem import Memory, Recipe
from hippomem.hippocampus.common import is_common, spelled, text_keys, title_keys
from hippomem.testing import HashEncoder, capitals


def _open() -> Memory:
    return Memory.open(":memory:", encoder=HashEncoder(), pipeline=capitals())


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Politician", "Oskar Lind was a politician."),
        ("Politician", "Two politicians met."),  # whatever the ending
        ("Record producer", "Ida Falk, record producer and singer."),
        ("Model (person)", "She worked as a model."),
        ("Lighthouse keeper (work)", "The lighthouse keepers left."),
        ("Singer-songwriter", "a singer-songwriter from Oslo"),
    ],
)
def test_a_text_has_the_key_of_a_common_title(title: str, text: str) -> None:
    keys = title_keys(title)
    assert all(map(is_common, keys))
    assert keys & text_keys(["", text]).keys()
    found = (keys & text_keys(["", text]).keys()).pop()
    assert text_keys(["", text])[found] == 2  # the first line of the text
    assert spelled(found, text) in text.replace("-", " ")


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Politician", "The Politician is a novel."),  # a name, by its capital
        ("Grey Heron", "a grey heron"),  # both words are capitalised: a name
        ("Will", "he will"),  # a stop word in small letters says nothing
        ("History of the world", "the history of the world"),  # too long
        ("", "nothing"),
        ("1984", "in 1984"),
        ("北京大学", "北京大学"),  # no capitals, so nothing to tell by
    ],
)
def test_other_titles_do_not(title: str, text: str) -> None:
    if title not in {"Politician", "Will"}:
        assert not title_keys(title)
    assert not title_keys(title) & text_keys(["", text]).keys()


def test_the_way_to_a_common_title_is_told_and_goes_with_it() -> None:
    with _open() as memory:
        memory.add("Oskar Lind of Bergen was a cooper all his life.", title="Oskar Lind")
        cooper = memory.add("Somebody who makes barrels, casks and buckets out of staves.", title="Cooper")
        memory.add("Vardø freezes in January, and nobody minds.", title="Vardø")
        recall = memory.recall("What did Oskar Lind do?", k=2)
        assert [p.title for p in recall.passages] == ["Oskar Lind", "Cooper"]
        assert recall.paths[1].text.endswith(", which names cooper → “Cooper”")
        assert (
            memory.recall("What did Oskar Lind do?", k=1, recipe=Recipe(title_hop=0)).passages[0].title == "Oskar Lind"
        )
        graph = memory.graph()
        assert graph.has_edge(recall.passages[0].id, "entity:cooper")
        assert all("kind" in data for _, data in graph.nodes(data=True))
        assert memory.doctor().ok
        memory.forget(cooper.id)
        assert not any("cooper" in node for node in memory.graph().nodes)
        assert memory.doctor().ok


def test_a_speaker_is_no_common_noun() -> None:
    with _open() as memory:
        moment = datetime(2024, 5, 1, tzinfo=UTC)
        memory.add("I planted a rose today.", source="Ida", session="one", occurred_at=moment)
        memory.add("Nice!", source="Rose", title="Rose", session="one", occurred_at=moment)
        assert not any(key.startswith("~") for key in _keys(memory))
        memory.add("A shrub with thorns.", title="Rose")
        assert any(key.startswith("~") for key in _keys(memory))


def test_turns_do_not_crowd() -> None:
    with _open() as memory:
        moment = datetime(2024, 5, 1, tzinfo=UTC)
        for what in ("fish", "boats", "rain", "tea"):
            memory.add(f"I like {what}.", title="Ida", source="Ida", session="one", occurred_at=moment)
        assert {p.causes["crowding"] for p in memory.recall("What does Ida like?", k=4).passages} == {0.0}


def _keys(memory: Memory) -> list[str]:
    with memory._synced() as (view, _):
        return [view.graph.keys.key(node) for node in range(view.graph.nodes)]


def test_what_is_told_twice_makes_room() -> None:
    with _open() as memory:
        for what in ("was born in Oslo", "studied in Bergen", "wrote about fish", "died at sea"):
            memory.add(f"Ida Falk {what}.", title=f"Ida Falk ({what.split()[-1]})")
        memory.add("Ida Falk loved this town for its harbour.", title="Bergen")
        question = "Where did Ida Falk live?"
        with_it = memory.recall(question, k=5)
        without = memory.recall(question, k=5, recipe=Recipe(crowding=0))
        crowded = [p.causes["crowding"] for p in with_it.passages if p.title.startswith("Ida")]
        assert sorted(crowded) == [-3.0, -3.0, 0.0, 0.0]
        assert all(
            ("stands back: passages that lead are about the same" in p.why) == (p.causes["crowding"] < 0)
            for p in with_it.passages
        )
        assert {p.id for p in with_it.passages} == {p.id for p in without.passages}
        places = [[p.title for p in found.passages].index("Bergen") for found in (with_it, without)]
        assert places[0] < places[1]
        # The two that lead are the same: only what comes after them makes room.
        assert [p.id for p in with_it.passages[:2]] == [p.id for p in without.passages[:2]]


def test_of_more_than_fifty_too_the_third_and_all_after_it_make_room() -> None:
    with _open() as memory:
        for number in range(70):
            memory.add(f"Ida Falk went to sea {number} times.", title=f"voyage {number} of Ida Falk")
        found = memory.recall("Where did Ida Falk go?", k=70).passages
        assert [p.causes["crowding"] for p in found] == [0.0] * 2 + [-3.0] * 68


@pytest.mark.parametrize("k", [1, 5, 20, 69])
def test_a_few_of_more_than_fifty_are_the_first_of_all(k: int) -> None:
    with _open() as memory:
        for number in range(130):
            memory.add(f"Ida Falk went to sea {number} times.", title=f"voyage {number} of Ida Falk")
        found, every = (memory.recall("Where did Ida Falk go?", k=n) for n in (k, 130))
        assert [p.id for p in found.passages] == [p.id for p in every.passages[:k]]
        assert found.paths == every.paths[:k]
