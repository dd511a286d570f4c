"""What a chat model found in passages that are stored, and how it joins the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from hippomem.analyse import Learned
from hippomem.errors import StoreBusyError
from hippomem.neocortex.openie import Extracted, grounded, read_extraction
from hippomem.storage import jobs, ledger, links, reads, writes
from hippomem.storage.jobs import OWN_EXTRACTORS, Work
from hippomem.storage.rows import said
from hippomem.types import Passage, Triple

if TYPE_CHECKING:
    from hippomem.writing import Writer

ATTEMPTS = 5  # at a write that others interfere with
EXTRACT = "extract"  # the kind of its jobs
EXTRACTOR_CHARS = 128


def as_learned(found: Extracted, model: str) -> Learned:
    """The usable part of an answer, with the model as its extractor."""
    extractor = model[:EXTRACTOR_CHARS]
    return Learned(tuple(Triple(*fact, extractor) for fact in found.triples), found.entities)


def learned_of(connection: Connection, namespace: int, numbers: Mapping[str, int]) -> dict[str, Learned]:
    """For those of these passages (id → number) that a model has read, what it found: by its kept answer, and where
    there is none, as after an import, by the facts that it left.
    """
    if not numbers:
        return {}
    read = jobs.read_by(connection, namespace, EXTRACT, numbers.values())
    passages = reads.by_number(connection, namespace, list(numbers.values()))
    facts = links.facts_of(connection, namespace, list(numbers.values()))
    contents = reads.contents_of(connection, namespace, numbers.values())
    found: dict[str, Learned] = {}
    for id_, number in numbers.items():
        passage = passages.get(number)
        theirs = tuple(fact for fact in facts.get(number, ()) if fact.extractor not in OWN_EXTRACTORS)
        if passage is not None and number in read:
            prompt, model = read[number]
            content = contents[number]
            kept = ledger.answered(connection, namespace, prompt, model, [content], everywhere=False)
            if content in kept:
                found[id_] = as_learned(grounded(read_extraction(kept[content]), passage.title, passage.text), model)
                continue
            found[id_] = Learned(theirs)
        elif theirs:
            found[id_] = Learned(theirs)
    return found


def learn(writer: Writer, token: int, found: Sequence[tuple[Work, Learned]]) -> set[int]:
    """Put what a model found in the place of what the rules found, for the jobs that the claim still holds, which are
    done with it: one transaction. Returns the numbers of these. The user's own triples stay.
    """
    for _ in range(ATTEMPTS):
        with writer.store_.read() as connection:
            passages, before = _state(connection, writer.number, found)
        there = [(work, learned) for work, learned in found if work.passage in passages]
        linked = writer.analyser.links(
            [passages[work.passage] for work, _ in there],
            [before.get(work.passage, []) for work, _ in there],
            [learned for _, learned in there],
        )
        with writer.store_.write() as connection:
            held = jobs.held(connection, token)
            still = [(work, own) for (work, _), own in zip(there, linked, strict=True) if work.number in held]
            again = _state(connection, writer.number, [(work, Learned()) for work, _ in still])[1]
            if {number: list(map(said, own)) for number, own in again.items()} != {
                work.passage: list(map(said, before[work.passage])) for work, _ in still if work.passage in before
            }:
                continue  # the user has brought triples meanwhile
            now = writer.clock.now()
            for work, own in still:
                writes.relink(connection, writer.number, work.passage, work.passage_id, own, now)
            done = {work.number for work, _ in still}
            jobs.finish(connection, token, done)
            return done
    raise StoreBusyError("others keep changing the triples of what was extracted: try again later")


def _state(
    connection: Connection, namespace: int, found: Sequence[tuple[Work, Learned]]
) -> tuple[dict[int, Passage], dict[int, list[Triple]]]:
    """The passages that are there, and the user's own triples of them."""
    numbers = [work.passage for work, _ in found]
    facts = links.stated_in(connection, namespace, numbers)
    own = {number: [t for t in triples if t.extractor == "user"] for number, triples in facts.items()}
    return reads.by_number(connection, namespace, numbers), {n: triples for n, triples in own.items() if triples}
