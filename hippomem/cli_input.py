"""From what was typed to what the library takes. Wrong usage is typer.BadParameter: exit code 2."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

import typer

from hippomem.errors import InvalidTextError, NotFoundError


def text_of(argument: str) -> str:
    """The text itself, or standard input for "-". Raises InvalidTextError where that is not UTF-8."""
    if argument != "-":
        return argument
    if sys.stdin is None:  # whoever started this has closed it
        raise InvalidTextError("there is no standard input to read")
    try:
        # The last line feed ends the line, as echo writes it; it is not part of the text.
        return sys.stdin.buffer.read().decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise InvalidTextError(f"standard input is not UTF-8 (byte {error.start})") from None


def moment_of(text: str | None, option: str) -> datetime | None:
    """A moment in ISO 8601 with its time zone: guessing one misdates memories."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{option} {text!r} is not a moment in ISO 8601: 2024-05-01T12:00Z") from None
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{option} {text!r} has no time zone: 2024-05-01T12:00Z, 2024-05-01T12:00+02:00")
    return moment


def object_of(text: str | None) -> dict[str, Any] | None:
    """A JSON object."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"--metadata is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter('--metadata is not a JSON object: {"name": "value"}')
    return value


def triple_of(text: str) -> tuple[str, str, str]:
    """Subject, relation and object from `subject|relation|object`."""
    parts = [part.strip() for part in text.split("|")]
    if len(parts) != 3 or not all(parts):
        raise typer.BadParameter(f"--triple {text!r} is not subject|relation|object")
    return parts[0], parts[1], parts[2]


def database(db: str | None) -> str:
    """The database of --db, the environment or hippomem.toml. Raises InvalidInputError for settings that are wrong."""
    from hippomem.settings import load_settings

    return load_settings(db=db).db


def existing_database(db: str | None) -> str:
    """`database`, which must be there: what only reads is no reason to make one. Raises NotFoundError."""
    from hippomem.storage import engine

    found = engine.database(name := database(db))
    if not found.exists():
        raise NotFoundError(f"there is no database {found.name}: hippomem add and hippomem ingest make one")
    return name
