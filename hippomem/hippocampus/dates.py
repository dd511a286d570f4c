"""Dates by other ways to write them: who asks for October 6, 2022 means what memory calls 6 October 2022."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date

from hippomem.clock import MONTHS

LONGEST_DATE = 4  # words: "6th of October 2022"
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_DAY_FIRST = re.compile(rf"{_DAY} (?:of )?([a-z]+) (\d{{4}})")
_MONTH_FIRST = re.compile(rf"([a-z]+) {_DAY} (\d{{4}})")
_ISO = re.compile(r"(\d{4}) (\d{2}) (\d{2})")
_MONTHS = {name: number for number, month in enumerate(MONTHS, 1) for name in (month.lower(), month[:3].lower())}
_MONTHS["sept"] = 9


def date_keys(key: str) -> tuple[str, ...]:
    """The keys of a day as a passage's date and as texts write it, () where `key`, of plain text, is no day."""
    day = _read(key) if key[-1:].isdigit() else None
    if day is None:
        return ()
    month = MONTHS[day.month - 1].lower()
    return f"{day.day} {month} {day.year}", f"{month} {day.day} {day.year}"


def _read(key: str) -> date | None:
    with suppress(ValueError, KeyError):  # no such day, no such month
        if found := _ISO.fullmatch(key):
            return date(*map(int, found.groups()))
        if found := _DAY_FIRST.fullmatch(key):
            return date(int(found[3]), _MONTHS[found[2]], int(found[1]))
        if found := _MONTH_FIRST.fullmatch(key):
            return date(int(found[3]), _MONTHS[found[1]], int(found[2]))
    return None
