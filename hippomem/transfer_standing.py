"""What became of passages and their facts, in an export: a line for each that is archived, merged, superseded or
flagged, of whose facts one has ended, or whose edges use has strengthened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from hippomem.consolidation.tidying import MOST_STRENGTH
from hippomem.storage import edges, statuses, validities, writes
from hippomem.storage.entities import entity_numbers
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
    strengths: Mapping[str, float] = field(default_factory=dict)  # of its edges, by the entity's key
    strengthened_at: datetime | None = None

    def write(self, connection: Connection, namespace: int, at: datetime) -> None:
        """Write it, where the passage is there and nothing is known of it yet. What hides the passage is logged, for
        whoever follows the log."""
        number = writes.existing(connection, namespace, [self.passage]).get(self.passage)
        if number is None or _is_known(connection, namespace, number):
            return

        def log(action: str, **what: Any) -> None:
            detail = {**what, "why": "it was so in the memory that was loaded"}
            statuses.log_change(connection, namespace, action, number, self.passage, at, detail)

        of_keys = entity_numbers(connection, namespace, {k for f in self.facts for k in (f.subject, f.object)})
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
        entities = entity_numbers(connection, namespace, self.strengths)
        if entities and self.strengthened_at is not None:
            own_edges = {entity: self.strengths[key] for key, entity in entities.items()}
            edges.set_strengths(connection, namespace, number, own_edges, self.strengthened_at)
            log("strengthen", before={str(entity): 1.0 for entity in own_edges})


def _is_known(connection: Connection, namespace: int, number: int) -> bool:
    """Whether anything became of it here; when its own triples hold came along with it."""
    known = statuses.status_of(connection, namespace, [number]).get(number)
    became = known is not None and replace(known, invalid_at=None, valid_from=None) != statuses.Status()
    beside = (validities.validities_of, edges.strengthened_at)
    return became or any(of(connection, namespace, [number]) for of in beside)


def standing_lines(connection: Connection, namespace: int, ids: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    """The lines of an export about these passages, given as number → id."""
    known = statuses.status_of(connection, namespace, ids)
    ended = validities.ended_facts(connection, namespace, ids)
    strengths = edges.strengths_of(connection, namespace, list(ids))
    at = edges.strengthened_at(connection, namespace, ids)
    for number in sorted(known.keys() | ended.keys() | strengths.keys()):
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
            "strengths": sorted(strengths.get(number, {}).items()),
            "strengthened_at": written(at.get(number)),
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
    strengths = {text_of(key): _strength_of(value) for key, value in item.get("strengths", ())}
    at = moment_of(item.get("strengthened_at"))
    return Standing(ids[text_of(item["passage"])], status, facts, strengths, at)


def _strength_of(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= MOST_STRENGTH:
        raise ValueError(f"{value!r:.40} is not the strength of an edge")
    return float(value)
