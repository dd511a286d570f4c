"""Triples that an LLM extracted, from a file as HippoRAG writes it, for the passages of a corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hippomem import InvalidInputError, SourceError
from hippomem_eval.corpus import Corpus, squeezed
from hippomem_eval.files import read_json
from hippomem_eval.formats import text_of

Fact = tuple[str, str, str]
_LOST = "\ufffd"  # as which a character that no memory keeps was read


@dataclass(frozen=True, slots=True)
class OpenIE:
    """For each passage of the corpus, in its order, the well-formed triples, each once.

    `dropped` counts the malformed ones (not three non-empty texts), `elsewhere` the documents whose passage is not in
    the corpus, `missing` the passages that no document is about.
    """

    facts: tuple[tuple[Fact, ...], ...]
    dropped: int
    elsewhere: int
    missing: int

    @property
    def count(self) -> int:
        """How many triples are used."""
        return sum(map(len, self.facts))


def load_openie(path: Path, corpus: Corpus) -> OpenIE:
    """Read {"docs": [{"passage" or "title" and "text", "extracted_triples": [[s, p, o], …]}, …]}.

    An LLM's answers are used as far as they are usable: malformed triples are dropped and counted. Raises
    NotFoundError or SourceError for a file that is of another shape, InvalidInputError where none of its passages is
    in the corpus.
    """
    data = read_json(path)
    docs = data.get("docs") if isinstance(data, dict) else None
    if not isinstance(docs, list):
        raise SourceError(f'{path} is not an OpenIE file: expected {{"docs": [{{"extracted_triples": …}}]}}')
    places: dict[str, list[int]] = {}
    for place, record in enumerate(corpus.records):
        places.setdefault(squeezed(record.title + record.text), []).append(place)
    found: list[dict[Fact, None]] = [{} for _ in corpus.records]
    covered: set[int] = set()
    dropped = elsewhere = 0
    for index, doc in enumerate(docs):
        passage, triples = parts_of(doc, path, index)
        facts = [fact for fact in map(_fact, triples) if fact is not None]
        dropped += len(triples) - len(facts)
        at = places.get(squeezed(passage), [])
        elsewhere += not at
        covered.update(at)
        for place in at:
            found[place].update(dict.fromkeys(facts))
    if not covered:
        raise InvalidInputError(f"none of the {len(docs)} passages in {path} is in the corpus: they do not fit")
    return OpenIE(tuple(map(tuple, found)), dropped, elsewhere, len(corpus) - len(covered))


def parts_of(doc: object, path: Path, index: int) -> tuple[str, Sequence[object]]:
    """A document's passage, title and text together, and its triples as they are. Raises SourceError without them."""
    if not isinstance(doc, Mapping) or not isinstance(doc.get("extracted_triples"), list):
        raise SourceError(f"{path}: document {index} has no list of extracted_triples")
    passage = doc.get("passage")
    if not isinstance(passage, str):
        text = text_of(doc)
        if text is None:
            raise SourceError(f"{path}: document {index} has no passage")
        passage = str(doc.get("title") or "") + text
    return passage, doc["extracted_triples"]


def _fact(triple: Any) -> Fact | None:
    if not isinstance(triple, list) or len(triple) != 3:
        return None
    if not all(isinstance(part, str | int | float) and not isinstance(part, bool) for part in triple):
        return None
    subject, relation, object_ = (str(part).strip() for part in triple)
    is_broken = any(_LOST in part for part in (subject, relation, object_))
    return (subject, relation, object_) if all((subject, relation, object_)) and not is_broken else None
