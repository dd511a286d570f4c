"""Facts are read by what they are about, and all of them where that is more than a statement takes."""

from __future__ import annotations

from hippomem import Memory, Triple
from hippomem.storage import links
from hippomem.testing import HashEncoder, capitals


def test_facts_about_some_entities() -> None:
    with Memory.open(":memory:", encoder=HashEncoder(), pipeline=capitals()) as memory:
        told = (Triple("Ada", "leads", "Northlight Labs"), Triple("Bea", "met", "Ada"), Triple("Bea", "left", "Oslo"))
        memory.add("Ada leads Northlight Labs. Bea met Ada. Bea left Oslo.", triples=told)
        with memory._synced() as (view, connection):
            number = int(view.numbers[0])

            def about(*keys: str) -> set[str]:
                found = links.facts_of(connection, memory._number, [number], keys)
                return {f"{f.subject} {f.relation}" for facts in found.values() for f in facts if f.extractor == "user"}

            assert about("oslo") == {"Bea left"}
            assert about("ada", "northlight labs") == {"Ada leads", "Bea met"}
            assert about("nobody") == about() == set()
            assert about("oslo", *(f"name {n}" for n in range(40_000))) == {"Ada leads", "Bea met", "Bea left"}
