"""Records in which no key is said to be the text: their text is what a person would read in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_TITLE_KEYS = ("title", "name", "headline", "heading", "subject")
_FIELDS = ("session", "occurred_at")
# Of a record that is cut into passages each carries the metadata: all of a large one would be stored many times over.
_METADATA_CHARS = 8000
_MOST_FIELDS = 50  # of one thing
_TITLE_CHARS = 200


def only_key(keys: Iterable[str]) -> str | None:
    """The key that is the text because there is no other, beside a title, a session and an `occurred_at`."""
    names = [name for name in keys if name.strip().lower() not in _FIELDS]
    others = [name for name in names if name.strip().lower() != "title"] or names
    return others[0] if len(others) == 1 else None


def is_named(record: Mapping[str, Any]) -> bool:
    """Whether texts are the fields of one thing, {"name": …, "bio": …}: they are few, and one is its title."""
    titles = (value for name, value in record.items() if name.strip().lower() in _TITLE_KEYS)
    return len(record) <= _MOST_FIELDS and any(isinstance(t, str) and len(t) <= _TITLE_CHARS for t in titles)


def as_read(record: Mapping[str, Any], beside: Iterable[str] = ()) -> dict[str, Any]:
    """The record with a `text`: a line for each value ("colour: red", "maker.town: Vardø"), of a list one for each
    item. And with a `title`, where it has none: the first text under one of _TITLE_KEYS. `beside` are keys, in small
    letters, that are no part of the text; nor are `session` and `occurred_at`, and what is empty.

    What else it holds comes along as far as it is no more than _METADATA_CHARS characters.
    """
    names = {name: name.strip().lower() for name, value in record.items() if not is_empty(value)}
    told = {name: record[name] for name in names if names[name] not in (*_FIELDS, *beside)}
    named = {names[name]: value for name, value in reversed(told.items())}
    titles = (named[key] for key in _TITLE_KEYS if isinstance(named.get(key), str))
    found = {"text": "\n".join(_lines(told)), **({} if "title" in named else {"title": next(titles, "")})}
    room = _METADATA_CHARS
    for name in names:
        size = len(str(record[name])) if name in told and names[name] != "title" else 0
        if size <= room:
            found[name] = record[name]
            room -= size
    return found


def is_empty(value: object) -> bool:
    """Whether there is nothing in a value."""
    return value is None or (isinstance(value, str) and not value.strip())


def _lines(value: object, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _lines(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _lines(item, path)
    elif not is_empty(value):
        text = str(value).strip()
        yield f"{' '.join(path.split())}: {text.lower() if isinstance(value, bool) else text}"
