"""From text to what the store keeps of it: one pass of the extractor and one of the encoder over each passage."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from hippomem.clock import date_in_words, month_in_words
from hippomem.hippocampus.grams import grams
from hippomem.hippocampus.keys import entity_key, title_names
from hippomem.neocortex.checked_encoder import CheckedEncoder
from hippomem.neocortex.extraction import Extraction, LocalExtractor
from hippomem.storage.chunks import chunks
from hippomem.storage.rows import LAST_BIT, Analysis, FactRow, Links, MentionRow, NewPassage, has_validity, said
from hippomem.types import Passage, Triple


@dataclass(frozen=True, slots=True)
class Learned:
    """What a chat model found in a passage: triples, which take the place of the rules', and names."""

    triples: tuple[Triple, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """A title and a text to read; `is_encoded` where there are vectors of them already."""

    title: str
    text: str
    is_encoded: bool = False


@dataclass(frozen=True, slots=True)
class Understood:
    """What a text holds, and its vectors, unless there were some already."""

    extraction: Extraction
    analysis: Analysis | None = None


@dataclass(slots=True)
class Analyser:
    """Fills in what a `NewPassage` lacks, `batch` passages at a time: the vectors of one depend in their last digits on
    those computed with it. `seconds` adds up what each part took, by the clock and of CPU time.
    """

    encoder: CheckedEncoder
    extractor: LocalExtractor
    batch: int
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("extract", "encode", "cpu_extract", "cpu_encode"), 0.0)
    )

    def complete(
        self,
        passages: Sequence[NewPassage],
        encoded: Iterable[str] = (),
        triples: Sequence[Sequence[Triple]] | None = None,
        learned: Mapping[str, Learned] | None = None,
        ahead: Mapping[str, Understood] | None = None,
    ) -> list[NewPassage]:
        """The passages with mentions, facts and vectors; contents in `encoded` have theirs in the store already.

        `triples` are the user's own, for each passage; `learned` what a chat model found in it, by id; `ahead` what was
        understood before, by content.
        """
        understood = dict(ahead or {})
        known = set(encoded)

        def is_new(content: str) -> bool:
            return content not in understood or (understood[content].analysis is None and content not in known)

        for some in chunks(passages, self.batch):
            new = {p.content: Text(p.title, p.text, p.content in known) for p in some if is_new(p.content)}
            if new:  # else no model is loaded
                understood.update(zip(new, self.understand(list(new.values())), strict=True))  # each is read once
        own = triples or [()] * len(passages)
        read_by_model = learned or {}
        return [
            replace(
                p,
                links=links_of(
                    p.title,
                    p.text,
                    understood[p.content].extraction,
                    t,
                    setting_names(p.session, p.occurred_at),
                    read_by_model.get(p.id),
                ),
                analysis=None if p.content in known else understood[p.content].analysis,
            )
            for p, t in zip(passages, own, strict=True)
        ]

    def understand(self, texts: Sequence[Text]) -> list[Understood]:
        """One pass of the extractor and one of the encoder over texts, as one batch."""
        with self._timed("extract"):
            found = list(self.extractor.extract([t.text for t in texts], [t.title for t in texts]))
        with self._timed("encode"):
            analyses = iter(self._encode([(t, f) for t, f in zip(texts, found, strict=True) if not t.is_encoded]))
        return [Understood(f, None if t.is_encoded else next(analyses)) for t, f in zip(texts, found, strict=True)]

    def links(
        self, passages: Sequence[Passage], own: Sequence[Sequence[Triple]], learned: Sequence[Learned]
    ) -> list[Links]:
        """What ties stored passages into the graph, with the user's own triples and what a chat model found."""
        with self._timed("extract"):
            read = list(self.extractor.extract([p.text for p in passages], [p.title for p in passages]))
        return [
            links_of(p.title, p.text, found, triples, setting_names(p.session, p.occurred_at), new)
            for p, found, triples, new in zip(passages, read, own, learned, strict=True)
        ]

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        began, cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds[part] += time.perf_counter() - began
        self.seconds[f"cpu_{part}"] += time.process_time() - cpu

    def _encode(self, read: Sequence[tuple[Text, Extraction]]) -> list[Analysis]:
        if not read:
            return []
        texts = [titled(t.title, t.text) for t, _ in read]
        spans = [titled_spans(t.title, found.sentences) for t, found in read]
        return [
            Analysis(e.vector, e.sentences.astype(np.float16), np.array(found.sentences, np.int32).reshape(-1, 2))
            for (_, found), e in zip(read, self.encoder.encode_passages(texts, spans), strict=True)
        ]


def titled(title: str, text: str) -> str:
    """A passage as it is encoded."""
    return f"{title}\n{text}" if title else text


def titled_spans(title: str, sentences: Iterable[Sequence[int]]) -> list[tuple[int, int]]:
    """Where a title, if there is one, and the sentences of a text stand in that."""
    shift = len(titled(title, ""))
    return ([(0, len(title))] if title else []) + [(start + shift, end + shift) for start, end in sentences]


def setting_names(session: str | None, occurred_at: datetime | None) -> list[str]:
    """The entities that say when and in which conversation: "session 3", "8 May 2023", "May 2023"."""
    names = [session] if session else []
    if occurred_at is not None:
        names += [date_in_words(occurred_at), month_in_words(occurred_at)]
    return names


def links_of(
    title: str,
    text: str,
    extraction: Extraction,
    triples: Sequence[Triple] = (),
    setting: Sequence[str] = (),
    learned: Learned | None = None,
) -> Links:
    """What ties a passage into the graph: its title's names, the names found in it, those of the user's triples and of
    what a chat model `learned`, and those of its `setting`, which count as said once, in the title line.
    """
    stated = list(triples)
    # Where a user says when something holds, no other reading of the same two names says that it always does.
    timed = {_names(t) for t in triples if has_validity(t)}
    own = {_parts(t) for t in triples}
    read = (t for t in (learned.triples if learned else extraction.triples) if _parts(t) not in own)
    stated += [t for t in read if not timed or _names(t) not in timed]
    found: dict[str, MentionRow] = {}

    def add(name: str, lines: int, titled: bool = False) -> None:
        key = entity_key(name)
        if not key:
            return
        known = found.get(key)
        if known is None:
            found[key] = MentionRow(key, " ".join(name.split()), lines, titled)
        else:
            found[key] = replace(known, lines=known.lines | lines, titled=known.titled or titled)

    for name in title_names(title) if title else ():
        add(name, 1, titled=True)
    for name in setting:
        add(name, 1)
    for mention in extraction.mentions:
        add(mention.name, 1 << min(mention.line, LAST_BIT))
    if triples or learned:
        written = grams(["", *(text[start:end] for start, end in extraction.sentences)])
        for triple in (*triples, *(learned.triples if learned else ())):
            for name in (triple.subject, triple.object):
                # Where the text writes the name otherwise, it counts as said once, in the first sentence.
                add(name, written.get(entity_key(name), 1 << 1))
        for name in learned.names if learned else ():
            if lines := written.get(entity_key(name)):
                add(name, lines)
    facts = []
    for triple in {said(triple): triple for triple in stated}.values():
        subject, object_ = entity_key(triple.subject), entity_key(triple.object)
        if subject in found and object_ in found and subject != object_:
            facts.append(FactRow(subject, object_, triple))
    return Links(tuple(found[key] for key in sorted(found)), tuple(facts))


def _names(triple: Triple) -> tuple[str, str]:
    return entity_key(triple.subject), entity_key(triple.object)


def _parts(triple: Triple) -> tuple[str, str, str]:
    return triple.subject, triple.relation, triple.object
