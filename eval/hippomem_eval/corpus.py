"""The passages that are searched, and which of them a recalled passage or a gold passage is."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hippomem import Document
from hippomem.ingest.fields import document_of
from hippomem_eval.formats import Gold, Record


@dataclass(frozen=True)
class Corpus:
    """The passages of a data set, in order. They are known by their place in it, counted from 0.

    Titles and texts are compared without whitespace: ingest strips it at the ends, and two releases of one data set
    differ in how they join sentences.
    """

    records: tuple[Record, ...]

    def __len__(self) -> int:
        return len(self.records)

    def documents(self, source: str) -> Iterator[Document | Mapping[str, Any] | str]:
        """What `Memory.ingest` is to remember of the file called `source`: the passages as they were read here, with
        what else their records say. A record that cannot be stored comes as it is, for the ingest to refuse.
        """
        for place, record in enumerate(self.records):
            given = record.given or {"title": record.title, "text": record.text}
            document = document_of(given, source, place)
            if isinstance(document, Document):
                yield replace(document, title=record.title.strip(), text=record.text)
            else:
                yield given

    def places_of(self, title: str, text: str) -> frozenset[int]:
        """The passages that a recalled text is, or is a part of: ingest splits very long ones."""
        texts, text = self._texts.get(squeezed(title), {}), squeezed(text)
        if text in texts or not text:
            return texts.get(text, frozenset())
        return frozenset().union(*(places for whole, places in texts.items() if text in whole))

    def gold_places(self, gold: Gold) -> frozenset[int]:
        """The passages that fulfil `gold`; empty where the corpus has none."""
        texts = self._texts.get(squeezed(gold.title), {})
        return frozenset().union(*texts.values()) if gold.text is None else texts.get(squeezed(gold.text), frozenset())

    @cached_property
    def _texts(self) -> Mapping[str, Mapping[str, frozenset[int]]]:
        """title -> text -> places. Of a corpus without titles all texts are under one."""
        places: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        for place, record in enumerate(self.records):
            places[squeezed(record.title)][squeezed(record.text)].add(place)
        return {title: {text: frozenset(found) for text, found in texts.items()} for title, texts in places.items()}


def squeezed(text: str) -> str:
    """A text without its spaces, by which a passage is known."""
    return "".join(unicodedata.normalize("NFC", text).split())
