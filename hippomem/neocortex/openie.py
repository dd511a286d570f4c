"""Entities and triples from what a chat model wrote about a passage, as far as they are usable.

Open information extraction as in HippoRAG (arXiv 2405.14831), in one call for both where that makes two. An answer is a
stranger's text: nothing is evaluated, what is kept is short and printable, and what names nothing that the passage
writes is not kept at all. So a passage that talks a model into something, or another one in the same call, brings in
nothing but names and words of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hippomem.errors import MalformedAnswerError
from hippomem.neocortex.json_reader import as_number, read_json, unwrapped

PART_CHARS = 500  # of a name or a relation
MAX_TRIPLES = 500  # of one passage
_TRIPLES = ("triples", "named_triples", "extracted_triples", "facts", "fact", "relations")
_ENTITIES = ("entities", "named_entities", "extracted_entities")
_PARTS = (("subject", "head", "source"), ("relation", "predicate", "type"), ("object", "tail", "target"))
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_WORD = re.compile(r"\w+")

Fact = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Extracted:
    """What is usable of an answer, and how much is not: triples that are not three texts (`malformed`), that are there
    already (`repeated`), and entities and triples with a name that the passage does not write (`elsewhere`).
    `problem` says why nothing is, where that is so.
    """

    entities: tuple[str, ...] = ()
    triples: tuple[Fact, ...] = ()
    malformed: int = 0
    repeated: int = 0
    elsewhere: int = 0
    problem: str = ""

    @property
    def dropped(self) -> int:
        """All that was not kept, but repeats."""
        return self.malformed + self.elsewhere

    def as_json(self) -> str:
        """To be kept; `read_extraction` reads it."""
        kept = {"entities": self.entities, "triples": self.triples}
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def read_extraction(text: str) -> Extracted:
    """{"entities": […], "triples": [[subject, relation, object], …]} in an answer; never an exception."""
    try:
        return _extracted(read_json(text))
    except MalformedAnswerError as error:
        return Extracted(problem=str(error))


def read_extractions(text: str, count: int, is_cut: bool = False) -> list[Extracted]:
    """The same for each of `count` passages of one call, from {"passages": [{"number": 1, …}, …]}. Of one that `is_cut`
    off nobody knows how much of the last one is missing.
    """
    missing = Extracted(problem="the chat model's answer leaves this passage out")
    try:
        found = read_json(text)
    except MalformedAnswerError as error:
        return [Extracted(problem=str(error))] * count
    parts = found.get("passages") if isinstance(found, Mapping) else found
    parts = parts if isinstance(parts, list) else []
    own = [missing] * count
    for part in parts:
        number = as_number(part.get("number")) if isinstance(part, Mapping) else None
        # One that is there twice is none: which of the two is about the passage, nobody knows.
        if number is not None and 1 <= number <= count:
            is_new = own[number - 1] is missing
            own[number - 1] = _extracted(part) if is_new else replace(missing, problem="it is answered for twice")
            if is_cut and part is parts[-1]:
                own[number - 1] = replace(missing, problem="the chat model's answer ends in this passage")
    return own


def grounded(extracted: Extracted, title: str, text: str) -> Extracted:
    """Without what is not written there: a name is, as it stands or by half of its words."""
    whole = f"{title}\n{text}".casefold()
    words, squeezed = set(_WORD.findall(whole)), _squeezed(whole)

    def is_written(name: str) -> bool:
        low = name.casefold()
        parts = _WORD.findall(low)
        return bool(parts) and (_squeezed(low) in squeezed or 2 * sum(p in words for p in parts) >= len(parts))

    entities = tuple(filter(is_written, extracted.entities))
    triples = tuple(t for t in extracted.triples if is_written(t[0]) and is_written(t[2]))
    gone = len(extracted.entities) - len(entities) + len(extracted.triples) - len(triples)
    return replace(extracted, entities=entities, triples=triples, elsewhere=extracted.elsewhere + gone)


def _extracted(found: Any) -> Extracted:
    found = unwrapped(found, *_TRIPLES, *_ENTITIES)
    if isinstance(found, Mapping):
        by_name = {str(key).strip().casefold(): value for key, value in found.items()}
        triples, entities = _listed(by_name, _TRIPLES), _listed(by_name, _ENTITIES)
    else:
        triples, entities = (found if isinstance(found, list) else None), None
    if triples is None and entities is None:
        return Extracted(problem="the chat model's answer holds neither entities nor triples")
    facts: dict[Fact, None] = {}
    malformed = repeated = 0
    for item in triples or ():
        fact = _fact(item)
        if fact is None or (len(facts) >= MAX_TRIPLES and fact not in facts):
            malformed += 1
        elif fact in facts:
            repeated += 1
        else:
            facts[fact] = None
    names = dict.fromkeys(filter(None, map(_part, (entities or ())[:MAX_TRIPLES])))
    if malformed and not facts and not names:  # what the rules found is better than that
        return Extracted(problem="nothing in the chat model's answer is a triple of three short texts, or an entity")
    return Extracted(tuple(names), tuple(facts), malformed, repeated)


def _listed(by_name: Mapping[str, Any], names: Iterable[str]) -> list[Any] | None:
    return next((by_name[name] for name in names if isinstance(by_name.get(name), list)), None)


def _fact(item: Any) -> Fact | None:
    if isinstance(item, Mapping):
        by_name = {str(key).strip().casefold(): value for key, value in item.items()}
        item = [next((by_name[name] for name in names if name in by_name), None) for names in _PARTS]
    if not isinstance(item, Sequence) or isinstance(item, str) or len(item) != 3:
        return None
    subject, relation, object_ = map(_part, item)
    return (subject, relation, object_) if subject and relation and object_ else None


def _part(value: Any) -> str:
    """A name on one line, "" where it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > 4 * PART_CHARS:
        return ""
    line = " ".join(_UNPRINTABLE.sub(" ", value).split())
    return line if len(line) <= PART_CHARS else ""


def _squeezed(text: str) -> str:
    return "".join(text.split())
