"""One record of a published question file, whichever data set it is from, to one Question.

Known: MuSiQue and HippoRAG's lists (`paragraphs` marked `is_supporting`), HotpotQA and 2WikiMultihopQA
(`supporting_facts`, or `supporting_titles` alone), PopQA as in HippoRAG 2 (`possible_answers`), Natural Questions as
in HippoRAG 2 (`contexts` marked `is_supporting`, `reference`), as in DPR (`positive_ctxs`, all of which are gold) and
as in KILT (`input`, and `output` with the titles of its `provenance`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hippomem import SourceError

# In the order in which hippomem's ingest looks for them: both must take the same text for a record.
TEXT_KEYS = ("text", "content", "body", "passage", "page_content", "paragraph_text")
_ANSWER_KEYS = ("answer", "gold_ans", "answer_aliases", "possible_answers", "reference", "answers")
_DPR_KEYS = ("positive_ctxs", "negative_ctxs", "hard_negative_ctxs")


@dataclass(frozen=True, slots=True)
class Record:
    """A passage as a data set gives it; `given` is the record of a corpus file that it was read from."""

    title: str
    text: str
    given: Mapping[str, Any] | str | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Gold:
    """A passage that a question needs. Without a text, every passage of that title will do."""

    title: str
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its accepted answers, and the passages that answer it."""

    id: str
    text: str
    answers: tuple[str, ...]
    gold: frozenset[Gold]


def question_of(record: object, index: int) -> Question:
    """The question in a record. One marked as not answerable has no gold. Raises SourceError for an unknown shape."""
    if not isinstance(record, Mapping):
        raise SourceError(f"record {index} is not an object")
    text = record.get("question", record.get("input"))
    if not isinstance(text, str) or not text.strip():
        hint = " (it has a text: is this the corpus?)" if text_of(record) is not None else ""
        raise SourceError(f"record {index} has no question{hint}")
    gold = _gold(record, index)
    if record.get("answerable") is False:
        # MuSiQue's unanswerable half: part of what it marks as supporting was taken away on purpose.
        gold = frozenset()
    return Question(str(record.get("id", record.get("_id", index))), text.strip(), _answers(record), gold)


def context_of(record: Mapping[str, Any], index: int) -> Iterator[Record]:
    """The passages that a question brings along, supporting or not. Raises SourceError for an unknown shape."""
    for title, sentences in _pairs(record.get("context", ()), "context", index):
        if not isinstance(sentences, str) and not _is_texts(sentences):
            raise SourceError(f"record {index}: the context {title!r} is neither a text nor a list of sentences")
        yield Record(title, sentences if isinstance(sentences, str) else join_sentences(sentences))
    for name in ("paragraphs" if "paragraphs" in record else "contexts", *_DPR_KEYS):
        for paragraph in _objects(record, name, index):
            yield record_of(paragraph, index)


def record_of(item: object, index: int) -> Record:
    """A passage from an object with a text and perhaps a title. Raises SourceError without a text."""
    text = text_of(item) if isinstance(item, Mapping) else item if isinstance(item, str) else None
    if text is None:
        raise SourceError(f"record {index} has a passage without a text (one of {', '.join(TEXT_KEYS)})")
    title = item.get("title") if isinstance(item, Mapping) else None
    return Record("" if title is None else str(title), text)


def text_of(item: Mapping[str, Any]) -> str | None:
    """The text of a passage: the first of TEXT_KEYS that holds one; an empty one only where there is no other."""
    texts = [item[key] for key in TEXT_KEYS if isinstance(item.get(key), str)]
    return next((text for text in texts if text.strip()), texts[0] if texts else None)


def join_sentences(sentences: Sequence[str]) -> str:
    """One text. HotpotQA's sentences carry their leading spaces, 2WikiMultihopQA's do not."""
    text = ""
    for sentence in sentences:
        glue = " " if text and not text[-1].isspace() and sentence and not sentence[0].isspace() else ""
        text += glue + sentence
    return text


def _gold(record: Mapping[str, Any], index: int) -> frozenset[Gold]:
    if "supporting_facts" in record:
        return frozenset(Gold(title) for title, _ in _pairs(record["supporting_facts"], "supporting_facts", index))
    if "supporting_titles" in record:
        titles = record["supporting_titles"]
        if not _is_texts(titles):
            raise SourceError(f"record {index}: supporting_titles is not a list of titles")
        return frozenset(map(Gold, titles))
    if "paragraphs" in record or "contexts" in record:
        # HippoRAG's rule: where nothing is marked, the question's paragraphs are its gold.
        items = _objects(record, "paragraphs" if "paragraphs" in record else "contexts", index)
        return _as_gold([item for item in items if item.get("is_supporting", True)], index)
    if "positive_ctxs" in record:
        return _as_gold(_objects(record, "positive_ctxs", index), index)
    if "output" in record:
        sources = [s for item in _objects(record, "output", index) for s in _objects(item, "provenance", index)]
        return frozenset(Gold(source["title"]) for source in sources if isinstance(source.get("title"), str))
    raise SourceError(
        f"record {index} names no gold passages: expected supporting_facts, supporting_titles, paragraphs, contexts, "
        "positive_ctxs or output"
    )


def _as_gold(items: Sequence[Mapping[str, Any]], index: int) -> frozenset[Gold]:
    passages = [record_of(item, index) for item in items]
    return frozenset(Gold(passage.title, passage.text) for passage in passages)


def _objects(record: Mapping[str, Any], name: str, index: int) -> list[Mapping[str, Any]]:
    items = record.get(name) or []
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise SourceError(f"record {index}: {name} is not a list of objects")
    return items


def _pairs(items: object, name: str, index: int) -> Iterator[tuple[str, Any]]:
    if not isinstance(items, list | tuple):
        raise SourceError(f"record {index}: {name} is not a list")
    for item in items:
        if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], str):
            raise SourceError(f"record {index}: {name} holds {str(item)[:50]!r} where [title, …] was expected")
        yield item[0], item[1]


def _answers(record: Mapping[str, Any]) -> tuple[str, ...]:
    answers: list[str] = []
    for key in _ANSWER_KEYS:
        value = record.get(key)
        if isinstance(value, str) and value.startswith("[") and key == "possible_answers":
            value = _list_in(value)
        given = [value] if isinstance(value, str | int | float) else value
        answers += map(str, given) if isinstance(given, list) else []
    outputs = record.get("output")
    for item in outputs if isinstance(outputs, list) else ():
        if isinstance(item, Mapping) and isinstance(item.get("answer"), str):
            answers.append(item["answer"])
    return tuple(dict.fromkeys(answers))


def _list_in(text: str) -> object:
    """PopQA keeps its lists as JSON in a string."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
