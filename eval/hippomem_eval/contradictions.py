"""`hippomem eval contradictions`: are facts that changed found, and are those left alone that did not?

Two made-up towns of the same size. In one, some people move, change their work or marry again, and later notes say so;
in the other nobody does. Both hold what looks like a contradiction and is none: relations with many objects, facts said
again, names written longer, and a few people who truly have two of what others have one of. Nothing of a fact's kind
is told to the memory: functionality is what it measures.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hippomem import Document, InvalidInputError, Memory
from hippomem.testing import HashEncoder, capitals

START = datetime(2020, 1, 1, tzinfo=UTC)
FUNCTIONAL = ("lives in", "works for", "is married to", "was born in", "reports to")
CHANGING = FUNCTIONAL[:3]
MANY = ("visited", "knows", "likes", "has written about")
SECOND = 0.02  # of those with a functional relation truly have a second object of it
LONGER = 0.05  # are named at more length later
AGAIN = 0.10  # are said again later


@dataclass(frozen=True, slots=True)
class Told:
    """A note: one fact, told on a day."""

    subject: str
    relation: str
    object: str
    day: int

    @property
    def text(self) -> str:
        """As a sentence."""
        return f"{self.subject} {self.relation} {self.object}."


def town(people: int, changed: float, seed: int) -> tuple[list[Told], set[tuple[str, str, str]]]:
    """The notes about a town in the order of their telling, and the facts of them that a later one ended."""
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    notes: list[Told] = []
    ended: set[tuple[str, str, str]] = set()
    for number in range(people):
        name = f"Person{number} {_name(rng)}"
        for relation in FUNCTIONAL:
            first = Told(name, relation, f"{_name(rng)} {_name(rng)}", rng.randrange(500))
            notes.append(first)
            draw = rng.random()
            if relation in CHANGING and draw < changed:
                notes.append(Told(name, relation, f"{_name(rng)} {_name(rng)}", first.day + rng.randrange(1, 500)))
                ended.add((name, relation, first.object))
            elif draw > 1 - SECOND:
                notes.append(Told(name, relation, f"{_name(rng)} {_name(rng)}", first.day + rng.randrange(1, 500)))
            elif draw > 1 - SECOND - LONGER:
                notes.append(Told(name, relation, f"{first.object} {_name(rng)}", first.day + rng.randrange(1, 500)))
            elif draw > 1 - SECOND - LONGER - AGAIN:
                notes.append(Told(name, relation, first.object, first.day + rng.randrange(1, 500)))
        for relation in MANY:
            times = rng.randrange(1, 4)
            notes += [Told(name, relation, f"{_name(rng)} {_name(rng)}", rng.randrange(1000)) for _ in range(times)]
    notes.sort(key=lambda note: (note.day, note.text))
    return notes, ended


def measure_contradictions(people: int = 150, changed: float = 0.15, seeds: int = 3) -> dict[str, Any]:
    """Precision and recall on towns with changes; false invalidations, of all facts, on towns without."""
    if people < 10 or not 0 < changed < 1 or seeds < 1:
        raise InvalidInputError("it takes 10 people, a share of changes between 0 and 1, and a seed")
    with_changes = [_live(people, changed, seed) for seed in range(seeds)]
    without = [_live(people, 0.0, seed) for seed in range(seeds)]
    right = sum(one["right"] for one in with_changes)
    found = sum(one["found"] for one in with_changes)
    return {
        "people": people,
        "seeds": seeds,
        "facts": sum(one["facts"] for one in with_changes),
        "planted": sum(one["planted"] for one in with_changes),
        "precision": right / found if found else None,
        "recall": right / sum(one["planted"] for one in with_changes),
        "false_without_changes": sum(o["found"] for o in without) / sum(o["facts"] for o in without),
        "facts_without_changes": sum(one["facts"] for one in without),
    }


def _live(people: int, changed: float, seed: int) -> dict[str, int]:
    notes, ended = town(people, changed, seed)
    with TemporaryDirectory() as folder:
        db = Path(folder) / "town.db"
        with Memory.open(db, encoder=HashEncoder(), pipeline=capitals()) as memory:
            memory.ingest(
                Document(
                    text=note.text,
                    source=f"note {number}",
                    occurred_at=START + timedelta(days=note.day),
                    triples=[(note.subject, note.relation, note.object)],
                )
                for number, note in enumerate(notes)
            )
            while not memory.consolidate()["tidy"].is_done:
                pass
            gone = {passage.text for passage in memory.passages() if passage.invalid_at is not None}
    found = {(n.subject, n.relation, n.object) for n in notes if n.text in gone}
    return {
        "facts": len({(n.subject, n.relation, n.object) for n in notes}),
        "planted": len(ended),
        "found": len(found),
        "right": len(found & ended),
    }


def _name(rng: random.Random) -> str:
    return "".join(rng.choice("bdfgklmnprstv") + rng.choice("aeiou") for _ in range(3)).capitalize()


def as_text(measured: dict[str, Any]) -> str:
    """For people."""
    precision = "–" if measured["precision"] is None else f"{measured['precision']:.3f}"
    return (
        f"{measured['planted']} changed facts among {measured['facts']}: precision {precision}, recall "
        f"{measured['recall']:.3f}\nfalse invalidations where nothing changed: "
        f"{100 * measured['false_without_changes']:.2f} % of {measured['facts_without_changes']} facts\n"
    )
