"""Finding memories by where they came from: passages, sources, recall from some of them, forgetting several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from hippomem import AsyncMemory, Document, InvalidInputError, Memory, NotFoundError, SimulatedClock
from hippomem.storage.schema import passages

Opened = Callable[..., Memory]
NOTES = {
    "docs/a.md": "Ada Thorne keeps bees in Vardø.",
    "docs/deep/b.md": "Bea Lind keeps bees in Bergen.",
    "docs2/c.md": "Chiara Bassi keeps bees in Como.",
    "docs": "Dana Orr keeps bees in Dover.",
    "Docs/e.md": "Emil Holm keeps bees in Esbjerg.",
    "docs/": "Fatima Noor keeps bees in Fez.",
}


@pytest.fixture
def memory(fast: Opened) -> Memory:
    memory = fast()
    for source, text in NOTES.items():
        memory.add(text, source=source, session=source[:4])
    return memory


def test_sources_are_listed(memory: Memory) -> None:
    assert memory.sources() == tuple(sorted(NOTES))
    assert memory.sources("docs/") == ("docs/", "docs/a.md", "docs/deep/b.md")
    assert memory.sources("docs/deep/") == ("docs/deep/b.md",)
    assert memory.sources("nowhere/") == ()
    memory.add("A note from nowhere in particular.")
    assert memory.sources() == tuple(sorted(NOTES))
    assert memory.stats()["sources"] == len(NOTES)
    with pytest.raises(InvalidInputError, match="'docs/'"):
        memory.sources("docs")


def test_passages_are_listed_oldest_first(memory: Memory) -> None:
    assert [p.source for p in memory.passages()] == list(NOTES)
    assert [p.text for p in memory.passages(source="docs")] == [NOTES["docs"]]
    assert [p.source for p in memory.passages(source="docs/")] == ["docs/a.md", "docs/deep/b.md", "docs/"]
    assert [p.source for p in memory.passages(source="docs/", session="docs", limit=1, offset=1)] == ["docs/deep/b.md"]
    assert memory.passages(limit=0) == ()
    assert memory.passages(session="nobody's") == ()


def test_what_belongs_to_no_session_or_source(fast: Opened) -> None:
    clock = SimulatedClock()
    memory = fast(clock=clock)
    memory.add("Ada Thorne keeps bees.", session="monday", source="a")
    loose = {memory.add("Bea Lind keeps bees.", session="").text, memory.add("Chiara Bassi keeps bees.").text}
    memory.ingest(Document(text="Dana Orr keeps bees.", session=""))
    changed = memory.add("Emil Holm keeps bees.")
    moment = clock.now()
    clock.advance(timedelta(days=1))
    memory.update(changed.id, "Emil Holm keeps goats.")
    loose |= {"Dana Orr keeps bees.", "Emil Holm keeps goats."}

    def found(**limits: Any) -> set[str]:
        return {p.text for p in memory.recall("Who keeps bees?", 9, **limits).passages}

    assert {p.session for p in memory.passages(session="")} == {None}
    assert {p.text for p in memory.passages(session="")} == {p.text for p in memory.passages(source="")} == loose
    assert found(session="") == found(source="") == loose
    assert found(session="", as_of=moment) == loose - {"Emil Holm keeps goats."} | {"Emil Holm keeps bees."}
    assert found(session="monday") == {"Ada Thorne keeps bees."}
    with memory._store.write() as connection:  # as documents that said "" were written
        connection.execute(update(passages).where(passages.c.session.is_(None)).values(session=""))
    assert found(session="") == loose


@pytest.mark.parametrize(
    "wrong", [{"limit": -1}, {"offset": -1}, {"limit": 1.5}, {"offset": True}, {"source": 7}, {"session": "\0"}]
)
def test_what_cannot_be_listed(memory: Memory, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        memory.passages(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["graph", "dense"])
def test_recall_from_some_sources(memory: Memory, method: str) -> None:
    def found(source: str | None) -> set[str]:
        return {p.source for p in memory.recall("Who keeps bees?", 10, source=source, method=method).passages}  # type: ignore[arg-type]

    assert found(None) == set(NOTES)
    assert found("docs/") == {"docs/", "docs/a.md", "docs/deep/b.md"}
    assert found("docs") == {"docs"}
    assert found("nowhere") == set()


def test_a_folder_is_forgotten_with_all_below_it(memory: Memory) -> None:
    assert memory.forget("docs/").passages == 3
    assert set(memory.sources()) == {"docs", "docs2/c.md", "Docs/e.md"}
    assert memory.doctor().ok
    with pytest.raises(NotFoundError):
        memory.forget("docs/")


def test_an_ingested_folder_is_forgotten_and_ingested_anew(fast: Opened, tmp_path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "notes"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.md").write_text("Ada Thorne keeps bees.")
    (folder / "deep" / "b.md").write_text("Bea Lind keeps bees.")
    memory = fast()
    memory.ingest(folder)
    assert memory.forget(f"{folder}/").passages == 2
    assert memory.ingest(folder).passages == 2


def test_several_are_forgotten_at_once_or_none(memory: Memory) -> None:
    ids = [p.id for p in memory.passages()]
    with pytest.raises(NotFoundError, match="nothing"):
        memory.forget([ids[0], "nothing"])
    assert len(memory.passages()) == len(NOTES)
    gone = memory.forget([ids[0], "docs2/c.md", memory.passages()[3], ids[0]])
    assert gone.ids == (ids[0], ids[2], ids[3])
    assert memory.forget([]).passages == 0
    assert memory.doctor().ok


def test_metadata_follows_the_source(fast: Opened) -> None:
    memory = fast()
    text = "Ada Thorne keeps bees in Vardø."
    for year in (1, 2):
        memory.ingest(Document(text=text, source="a", metadata={"year": year}))
        (passage,) = memory.passages(source="a")
        assert passage.metadata == {"year": year}
    assert memory.recall("Who keeps bees?").passages[0].metadata == {"year": 2}
    assert len(memory.history(passage.id)) == 1
    assert memory.doctor().ok


def test_metadata_are_changed_key_by_key(memory: Memory) -> None:
    ids = [p.id for p in memory.passages()]
    memory.annotate(ids[0], {"pinned": True, "tags": ["a"]})
    one, two = memory.annotate([ids[0], ids[1]], {"pinned": None, "seen": 3})
    assert one == memory.get(ids[0])
    assert one.metadata == {"tags": ["a"], "seen": 3}
    assert two.metadata == {"seen": 3}
    assert memory.recall("Who keeps bees in Vardø?", 1).passages[0].metadata == {"tags": ["a"], "seen": 3}
    newer = memory.update(ids[0], "Ada Thorne keeps goats in Vardø.")
    assert memory.annotate(ids[0], {"seen": 4})[0].id == newer.id  # by the id that it had before
    assert memory.doctor().ok
    with pytest.raises(NotFoundError, match="nothing"):
        memory.annotate([ids[1], "nothing"], {"seen": 5})
    with pytest.raises(InvalidInputError, match="JSON"):
        memory.annotate(ids[1], {"seen": {1, 2}})
    assert memory.get(ids[1]).metadata == {"seen": 3}


def test_the_same_with_an_event_loop(fast: Opened) -> None:
    memory = fast()

    async def use() -> None:
        async with await AsyncMemory.open(":memory:", settings=memory.settings) as other:
            await other.add("Ada Thorne keeps bees.", source="docs/a.md")
            await other.add("Bea Lind keeps bees.", source="b.md")
            assert await other.sources("docs/") == ("docs/a.md",)
            (passage,) = await other.passages(source="docs/")
            found = await other.recall("Who keeps bees?", source="docs/")
            assert [p.id for p in found.passages] == [passage.id]
            assert (await other.annotate(passage.id, {"seen": 1}))[0].metadata == {"seen": 1}
            assert (await other.forget([passage, "b.md"])).passages == 2

    asyncio.run(use())
