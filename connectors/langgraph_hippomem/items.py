"""An item of a LangGraph store as passages of a memory, and back.

An item is one source, named by its namespace and key. The first passage of the source is its record: its metadata hold
the value, as JSON. Its text is what is to be found of the item; where that is long, or in several fields, further
passages of the source hold the rest. A record that is not to be found by meaning says only which item it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from langgraph.store.base import Item, SearchItem, get_text_at_path, tokenize_path

from hippomem import Document, InvalidInputError, Passage

ROOT = "langgraph:/"
RECORD = "langgraph"  # in the metadata of a record
READ = "read_at"  # beside it: changed alone when an item is read that has a time to live
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
BRIEF = 1000  # characters of a text that goes into the record itself
LEVELS = 30  # of a value: metadata may have 32, and two are the record's

Namespace = tuple[str, ...]
Index = Literal[False] | list[str] | None


@dataclass(frozen=True, slots=True)
class Stored:
    """An item as it is stored. `ttl` is in minutes, from when it was last read, or else written."""

    id: str
    namespace: Namespace
    key: str
    value: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    ttl: float | None
    read_at: datetime

    def as_item(self) -> Item:
        """As `get` gives it."""
        return Item(
            value=self.value,
            key=self.key,
            namespace=self.namespace,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )

    def as_search_item(self, score: float | None) -> SearchItem:
        """As `search` gives it."""
        return SearchItem(self.namespace, self.key, self.value, self.created_at, self.updated_at, score)


def source_of(namespace: Namespace, key: str) -> str:
    """The source that an item is."""
    return below(namespace) + (_escaped(key) or "%")  # a source that ended with a slash would stand for all below it


def below(prefix: Namespace) -> str:
    """What the sources of all items in a namespace, and in those inside it, begin with."""
    return ROOT + "".join(_escaped(label) + "/" for label in prefix)


def namespace_of(source: str) -> Namespace:
    """The namespace of the item that a source is."""
    return tuple(_unescaped(part) for part in source.removeprefix(ROOT).split("/")[:-1])


def documents_of(
    namespace: Namespace,
    key: str,
    value: Mapping[str, Any],
    paths: Iterable[str],
    record: Mapping[str, Any],
) -> list[Document]:
    """What is stored for an item. `record` is kept with the value. Raises InvalidInputError for what cannot be."""
    source = source_of(namespace, key)
    _check(source, value)  # before its texts are drawn from it, which would fail in many ways
    texts = [text for text in dict.fromkeys(_texts(value, paths)) if any(map(str.isalnum, text))]
    is_brief = bool(texts) and len(texts[0]) <= BRIEF
    first = texts.pop(0) if is_brief else f"Item {key or 'without a key'} of {', '.join(namespace)}"
    kept = {"value": value, "is_text": is_brief, **record}
    rest = [Document(text=text, source=source, metadata={RECORD: {}}) for text in texts]
    return [Document(text=first, source=source, whole=True, metadata={RECORD: kept}), *rest]


def _check(source: str, value: Any) -> None:
    """Whether a memory takes the value as metadata: the ingest would refuse it alone, and write what came with it."""
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"{source}: the value must be a dict, not {type(value).__name__}")
    try:
        text = json.dumps([source, value], allow_nan=False, ensure_ascii=False)
        text.encode()
        _check_nested(value, LEVELS)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{source}: the value is not JSON that can be stored: {error}") from None
    if _NUL.search(text):
        raise InvalidInputError(f"{source}: the key or the value holds NUL characters")


def _check_nested(value: Any, levels: int) -> None:
    if levels < 0:
        raise ValueError(f"it is nested more than {LEVELS} deep")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is no str")
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            _check_nested(inner, levels - 1)


def is_record(passage: Passage) -> bool:
    """Whether a passage holds an item's value."""
    return bool(passage.metadata.get(RECORD))


def is_hit(passage: Passage) -> bool:
    """Whether finding a passage by its text is finding its item."""
    return not is_record(passage) or bool(passage.metadata[RECORD]["is_text"])


def stored_in(passage: Passage) -> Stored:
    """The item of a record."""
    record = passage.metadata[RECORD]
    key = passage.source.rsplit("/", 1)[1]
    return Stored(
        id=passage.id,
        namespace=namespace_of(passage.source),
        key="" if key == "%" else _unescaped(key),
        value=record["value"],
        created_at=datetime.fromisoformat(record["created_at"]),
        updated_at=datetime.fromisoformat(record["updated_at"]),
        ttl=record["ttl"],
        read_at=datetime.fromisoformat(passage.metadata.get(READ, record["updated_at"])),
    )


def _texts(value: Mapping[str, Any], paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if path == "$":
            yield "\n".join(_told(dict(value)))
        else:
            yield from get_text_at_path(value, tokenize_path(path))


def _told(value: Any, name: str = "") -> Iterator[str]:
    """A whole value as text: a line for each thing in it, with its name; a single text is itself."""
    if isinstance(value, Mapping):
        inside = [(str(key), item) for key, item in value.items() if item not in (None, "", [], {})]
        alone = len(inside) == 1 and isinstance(inside[0][1], str)
        for key, item in inside:
            yield from _told(item, name if alone else f"{name} {key}".strip())
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _told(item, name)
    elif value is not None:
        yield f"{name}: {value}" if name else str(value)


def _escaped(label: str) -> str:
    try:
        label.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"a key or namespace holds lone surrogates: {label!r}") from None
    return label.replace("%", "%25").replace("/", "%2F")


def _unescaped(part: str) -> str:
    return part.replace("%2F", "/").replace("%25", "%")
