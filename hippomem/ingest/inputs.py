"""What an ingest is given: paths, and records of several kinds, each made a Document or the reason why it is none."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from hippomem.errors import InvalidInputError
from hippomem.ingest.decode import as_stored, is_storable, is_storable_json
from hippomem.ingest.fields import BadRecord, document_of, emptiness
from hippomem.ingest.triples import read_triples
from hippomem.types import Document, Failure, File

Input: TypeAlias = "str | os.PathLike[str] | File | Document | Mapping[str, Any]"


def sorted_out(inputs: Input | Iterable[Input]) -> tuple[list[str | File], Iterable[object]]:
    """Paths, and the rest. A stream of records is not read ahead, so paths come alone or in a list."""
    if isinstance(inputs, str | os.PathLike | File):
        return [_path(inputs)], ()
    if isinstance(inputs, Document | Mapping):
        return [], (inputs,)
    if isinstance(inputs, list | tuple):
        paths = [_path(i) for i in inputs if isinstance(i, str | os.PathLike | File)]
        return paths, [i for i in inputs if not isinstance(i, str | os.PathLike | File)]
    if isinstance(inputs, Iterable) and not isinstance(inputs, bytes | bytearray):
        return [], inputs
    raise InvalidInputError(
        f"ingest takes a path, a Document, a dict with a text, or an iterable of these, not {type(inputs).__name__}"
    )


def _path(given: str | os.PathLike[str] | File) -> str | File:
    return given if isinstance(given, File) else os.fspath(given)


def usable(record: object, index: int) -> Document | Failure:
    """The Document that a record is, or why it cannot be stored."""
    name = f"records#{index}"
    try:
        return _usable(record, name, index)
    except Exception as error:  # whatever a stranger's object raises when it is shown
        return BadRecord(name, f"cannot be read ({type(error).__name__}: {error})")


def _usable(record: object, name: str, index: int) -> Document | Failure:
    if isinstance(record, str | os.PathLike | File):  # what glob.iglob gives are no texts to remember
        return Failure(name, "is a path: paths are given alone or in a list, and texts in a dict, as {'text': …}")
    if isinstance(record, Document):
        document = record
        name = record.source if isinstance(record.source, str) and record.source else f"document {index}"
    else:
        source = ""
        if isinstance(record, Mapping):
            if not all(isinstance(key, str) for key in record):
                return Failure(name, "has keys that are not strings")
            record = dict(record)
            source = record["source"] if isinstance(record.get("source"), str) else ""
        found = document_of(record, source or "records", index)
        if isinstance(found, Failure):
            return found
        document = replace(found, source=source)
    try:
        if document.triples is not None:
            document = replace(document, triples=read_triples(document.triples))  # which may be read only once
    except InvalidInputError as error:
        return BadRecord(name, str(error))
    problem = _problem(document)
    if problem:
        return BadRecord(name, problem)
    reason = emptiness(document.text)
    return Failure(name, reason) if reason else document


def _problem(document: Document) -> str | None:
    texts = {"text": document.text, "title": document.title, "source": document.source, "session": document.session}
    for what, text in texts.items():
        if not isinstance(text, str) and (text is not None or what != "session"):
            return f"{what} is not a str but {type(text).__name__}"
    try:
        metadata = json.dumps(as_stored(document.metadata), ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        return f"metadata is not JSON: {error}"
    if not all(is_storable(text or "") for text in texts.values()) or not is_storable_json(metadata):
        return "holds NULs or lone surrogates"
    if document.occurred_at is not None:
        if not isinstance(document.occurred_at, datetime):
            return f"occurred_at is not a datetime but {type(document.occurred_at).__name__}"
        if document.occurred_at.tzinfo is None:
            return "occurred_at has no time zone"
        try:
            document.occurred_at.astimezone(UTC)
        except OverflowError:  # within a day of the years 1 and 9999
            return "occurred_at is out of range"
    return None
