"""What became of passages and their facts, in an export: a line for each that is archived, merged, superseded or
flagged, or of whose facts one has ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from hippomem.storage import statuses, validities, writes
from hippomem.transfer_fields import moment_of, text_of, written

STANDING = "standing"


@dataclass(frozen=True, slots=True)
class EndedFact:
    """A fact by the keys of its entities, from when to when it holds, and the passage that contradicts it."""

    subject: str
    relation: str
    object: str
    valid_from: datetime | None
    invalid_at: datetime | None
    by: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """A passage's status, with the ids that passages have here."""

    passage: str
    status: statuses.Status
    facts: tuple[EndedFact, ...]

    def write(self, connection: Connection, namespace: int, at: datetime) -> None:
        """Write it, where the passage is there and nothing is known of it yet. What hides the passage is logged, for
        whoever follows the log."""
        number = writes.existing(connection, namespace, [self.passage]).get(self.passage)
        if number is None or _is_known(connection, namespace, number):
            return

        def log(action: str, **what: str) -> None:
            detail = {**what, "why": "it was so in the memory that was loaded"}
            statuses.log_change(connection, namespace, action, number, self.passage, at, detail)

        of_keys = statuses.entity_numbers(connection, namespace, {k for f in self.facts for k in (f.subject, f.object)})
        for fact in self.facts:
            subject, object_ = of_keys.get(fact.subject), of_keys.get(fact.object)
            if subject is not None and object_ is not None:
                id_ = validities.fact_id(subject, fact.relation, object_)
                values = {"valid_from": fact.valid_from, "invalid_at": fact.invalid_at, "by_passage": fact.by}
                validities.set_validity(connection, namespace, number, id_, **values)
                if fact.invalid_at is not None:
                    log("invalidate", fact=id_)
        own = self.status
        if own != statuses.Status():
            values = {name: getattr(own, name) for name in statuses.Status.__dataclass_fields__}
            statuses.set_status(connection, namespace, number, **values)
            if own.archived_at is not None:
                log("merge" if own.merged_into else "archive")
        validities.settle(connection, namespace, number)


def _is_known(connection: Connection, namespace: int, number: int) -> bool:
    """Whether anything became of it here; when its own triples hold came along with it."""
    known = statuses.status_of(connection, namespace, [number]).get(number)
    became = known is not None and replace(known, invalid_at=None, valid_from=None) != statuses.Status()
    return became or bool(validities.validities_of(connection, namespace, [number]))


def standing_lines(connection: Connection, namespace: int, ids: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    """The lines of an export about these passages, given as number → id."""
    known = statuses.status_of(connection, namespace, ids)
    ended = validities.ended_facts(connection, namespace, ids)
    for number in sorted(known.keys() | ended.keys()):
        status = known.get(number, statuses.Status())
        yield {
            "type": STANDING,
            "passage": ids[number],
            "archived_at": written(status.archived_at),
            "merged_into": status.merged_into,
            "invalid_at": written(status.invalid_at),
            "valid_from": written(status.valid_from),
            "flag": status.flag,
            "facts": [
                [subject, relation, object_, written(v.valid_from), written(v.invalid_at), v.by_passage]
                for subject, relation, object_, v in ended.get(number, ())
            ],
        }


def standing_of(item: Mapping[str, Any], ids: Mapping[str, str]) -> Standing:
    """A line, checked; `ids` are those of the passages before it, as they are here. Raises ValueError, KeyError or
    TypeError where it cannot be."""

    def id_of(value: object) -> str | None:
        return None if value is None else ids.get(text_of(value), text_of(value))

    facts = tuple(
        EndedFact(text_of(s), text_of(r), text_of(o), moment_of(start), moment_of(end), id_of(by))
        for s, r, o, start, end, by in item["facts"]
    )
    flag = None if item["flag"] is None else text_of(item["flag"])[:32]
    status = statuses.Status(
        moment_of(item["archived_at"]), id_of(item["merged_into"]), moment_of(item["invalid_at"]), flag,
        moment_of(item.get("valid_from")),
    )  # fmt: skip
    return Standing(ids[text_of(item["passage"])], status, facts)
