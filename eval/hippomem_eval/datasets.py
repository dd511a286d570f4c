"""A data set: questions with gold passages, and the corpus they are asked over, from published files."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hippomem import InvalidInputError, SourceError
from hippomem_eval.corpus import Corpus
from hippomem_eval.files import read_json
from hippomem_eval.formats import Gold, Question, Record, context_of, join_sentences, question_of, record_of, text_of
from hippomem_eval.numbering import numbered

__all__ = ["Corpus", "Dataset", "Gold", "Question", "Record", "load_corpus", "load_dataset"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Questions that the corpus can answer, with the gold that is in it.

    `unanswerable` counts the questions that were left out because no gold of theirs is in the corpus, `missing_gold`
    the gold passages that the kept questions lost; where there is a limit, as far as its last question.
    """

    questions: tuple[Question, ...]
    corpus: Corpus
    unanswerable: int = 0
    missing_gold: int = 0


def load_dataset(questions: Path, corpus: Path | None = None, *, limit: int | None = None) -> Dataset:
    """Read a pair of files, or one file in which every question brings its context along.

    Without `corpus`, the corpus is the union of the contexts of all questions. `limit` keeps the first questions that
    can be answered, the corpus stays whole. Raises NotFoundError or SourceError for a file that cannot be used,
    InvalidInputError where no gold passage at all is in the corpus: the files do not belong together.
    """
    if limit is not None and limit < 1:
        raise InvalidInputError(f"limit must be at least 1, not {limit}")
    records = _question_records(questions)
    with _naming(questions):
        asked = _with_unique_ids([question_of(record, index) for index, record in enumerate(records)])
        contexts = () if corpus else tuple(_union(records))
    if not corpus and not contexts:
        raise InvalidInputError(f"{questions} brings no context along: give the corpus file too")
    passages = load_corpus(corpus) if corpus else Corpus(contexts)
    return _pair(asked, passages, questions, corpus, limit)


def load_corpus(path: Path) -> Corpus:
    """The passages of a file: a list of {title, text}, {"docs": [...]}, or {title: [sentences]}.

    Records with an empty text are left out, as ingest does. Raises NotFoundError or SourceError.
    """
    data = read_json(path)
    with _naming(path):
        records = tuple(record for record in _passages_in(data) if record.text.strip())
    if not records:
        raise SourceError(f"{path} holds no passages")
    return Corpus(records)


def write_corpus(corpus: Corpus, path: Path) -> None:
    """Write the corpus as a list of {title, text}, which `Memory.ingest` reads; the same bytes for the same corpus."""
    records = [{"title": record.title, "text": record.text} for record in corpus.records]
    path.write_text(json.dumps(records, ensure_ascii=False, indent=0), encoding="utf-8")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None


def _question_records(path: Path) -> list[Any]:
    data = read_json(path)
    if isinstance(data, dict):
        is_one = bool({"question", "input"} & data.keys())
        data = [data] if is_one else next((v for k, v in data.items() if k in ("data", "questions")), None)
    if not isinstance(data, list):
        raise SourceError(f"{path} is not a list of questions")
    if not data:
        raise SourceError(f"{path} holds no questions")
    return data


def _passages_in(data: Any) -> Iterator[Record]:
    if isinstance(data, dict):
        docs = data.get("docs")
        if not isinstance(docs, list):
            yield from _titled(data)
            return
        data = docs
    if not isinstance(data, list):
        raise SourceError("is neither a list of passages nor {title: sentences}")
    for index, item in enumerate(data):
        if isinstance(item, dict) and "question" in item and text_of(item) is None:
            raise SourceError("holds questions where passages were expected: are the two files swapped?")
        yield dataclasses.replace(record_of(item, index), given=item)


def _titled(data: Mapping[str, Any]) -> Iterator[Record]:
    for title, value in data.items():
        if isinstance(value, str):
            yield Record(title, value)
        elif isinstance(value, list) and all(isinstance(sentence, str) for sentence in value):
            yield Record(title, join_sentences(value))
        else:
            raise SourceError(f"the passage {title[:50]!r} is neither a text nor a list of sentences")


def _union(records: list[Any]) -> Iterator[Record]:
    passages = itertools.chain.from_iterable(context_of(record, index) for index, record in enumerate(records))
    return (passage for passage in dict.fromkeys(passages) if passage.text.strip())


def _with_unique_ids(questions: list[Question]) -> list[Question]:
    """Results are kept by id."""
    ids = numbered([question.id for question in questions])
    return [dataclasses.replace(question, id=id_) for question, id_ in zip(questions, ids, strict=True)]


def _pair(asked: list[Question], corpus: Corpus, questions: Path, path: Path | None, limit: int | None) -> Dataset:
    kept: list[Question] = []
    unanswerable = missing = 0
    for question in asked:
        if len(kept) == limit:
            break
        gold = frozenset(gold for gold in question.gold if corpus.gold_places(gold))
        if gold:
            kept.append(dataclasses.replace(question, gold=gold))
            missing += len(question.gold) - len(gold)
        else:
            unanswerable += 1
    if not kept:
        raise InvalidInputError(
            f"no gold passage of the {len(asked)} questions in {questions} is among the {len(corpus)} passages of "
            f"{path or 'their contexts'}: the files do not belong together"
        )
    return Dataset(tuple(kept), corpus, unanswerable, missing)
