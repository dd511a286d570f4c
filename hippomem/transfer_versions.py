"""What passages were before updates, in an export: a line for each version, with its vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from hippomem.storage import versions, writes
from hippomem.storage.rows import NewPassage
from hippomem.transfer_fields import fact_line, moment_of, text_of

VERSION = "version"


@dataclass(frozen=True, slots=True)
class EarlierVersion:
    """A version, with the id that its passage has here."""

    was: NewPassage
    of: str
    valid_from: datetime
    hidden_from: datetime | None
    superseded_at: datetime

    def write(self, connection: Connection, namespace: int, encoder: int) -> None:
        """Write it, where its passage is there and does not have it yet. The log tells of its update, so that history
        does and its id goes on to name the passage."""
        was = self.was
        number = writes.existing(connection, namespace, [self.of]).get(self.of)
        if number is None or versions.is_kept(connection, namespace, number, was.id, self.superseded_at):
            return
        writes.add_analyses(connection, namespace, encoder, [was])
        values = {name: getattr(was, name) for name in (*versions.COPIED, "content")}
        values |= {
            "metadata": dict(was.metadata),
            "recorded_at": was.recorded_at or self.valid_from,
            "valid_from": self.valid_from,
            "hidden_from": self.hidden_from,
            "superseded_at": self.superseded_at,
            "mentions": [[m.key, m.name, m.lines, m.titled] for m in was.links.mentions],
            "facts": [([*fact_line(f.triple), None, None])[:6] for f in was.links.facts],
        }
        versions.take_over(connection, namespace, number, values)
        writes.log_update(connection, namespace, number, self.of, was, self.superseded_at)


def version_of(item: Mapping[str, Any], was: NewPassage, ids: Mapping[str, str]) -> EarlierVersion:
    """A line, checked; `was` is the passage in it, `ids` are those of the passages before it, as they are here. Raises
    ValueError, KeyError or TypeError where it cannot be."""
    valid_from, superseded_at = moment_of(item["valid_from"]), moment_of(item["superseded_at"])
    if valid_from is None or superseded_at is None:
        raise ValueError("a version without its times")
    return EarlierVersion(was, ids[text_of(item["of"])], valid_from, moment_of(item["hidden_from"]), superseded_at)
