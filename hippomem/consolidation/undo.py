"""Undoing one deed of consolidation, given by its line in the history. What was undone is not done again by itself; a
fact that stands again may be ended by what is said later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection

from hippomem.errors import InvalidInputError, NotFoundError
from hippomem.storage import edges, links, semantic, statuses, validities, writes
from hippomem.storage.entities import subjects_of


@dataclass(frozen=True, slots=True)
class _Deed:
    """What is to be undone, and where."""

    connection: Connection
    namespace: int
    number: int
    id: str
    detail: dict[str, Any]
    sequence: int
    at: datetime

    @property
    def why(self) -> str:
        return f"change {self.sequence} was undone"


def undo(connection: Connection, namespace: int, sequence: int, at: datetime) -> str:
    """Undo a change, as a change of its own. Returns the id of the passage.

    Raises NotFoundError where there is no such change or its passage is gone, InvalidInputError where it is not one of
    consolidation or was undone already.
    """
    row = statuses.change(connection, namespace, sequence)
    if row is None:
        raise NotFoundError(f"there is no change {sequence}: history gives the numbers")
    if row.action not in _UNDO:
        raise InvalidInputError(f"change {sequence} is of kind {row.action!r}: only {', '.join(_UNDO)} can be undone")
    if statuses.id_of(connection, namespace, row.passage) is None:
        raise NotFoundError(f"the passage of change {sequence} is gone")
    detail = dict(row.detail or {})
    _UNDO[row.action](_Deed(connection, namespace, row.passage, row.passage_id, detail, sequence, at))
    return str(row.passage_id)


def restore(
    connection: Connection, namespace: int, number: int, id_: str, why: str, at: datetime, undone: int | None = None
) -> bool:
    """Bring back an archived passage; what it was archived by is not to be done again where that is `undone`. False
    where it is not archived."""
    status = statuses.status_of(connection, namespace, [number]).get(number)
    if status is None or status.archived_at is None:
        return False
    statuses.set_status(connection, namespace, number, archived_at=None)
    statuses.forgive(connection, namespace, number)
    detail: dict[str, Any] = {"why": why} if undone is None else {"why": why, "undone": undone}
    statuses.log_change(connection, namespace, "restore", number, id_, at, detail)
    return True


def say_again(
    connection: Connection, namespace: int, number: int, id_: str, at: datetime, is_dated: bool = False
) -> None:
    """What is said again in the same words holds: bring it back where consolidation archived it or ended its facts.
    These hold from now on, unless it `is_dated`: that happened when it did, and holds beside what was said until now.
    """
    why = "it was said again"
    status = statuses.status_of(connection, namespace, [number]).get(number)
    if status is not None and status.archived_at is not None and status.merged_into is not None:
        kept = writes.existing(connection, namespace, [status.merged_into])
        for other_id, other in kept.items():  # says it in its place
            say_again(connection, namespace, other, other_id, at, is_dated)
        if not any(links.brings_facts(connection, namespace, number, other) for other in kept.values()):
            return
    restore(connection, namespace, number, id_, why, at)
    known = validities.validities_of(connection, namespace, [number])
    new: dict[str, datetime] = {}
    for fact in validities.facts_in(connection, namespace, number):
        held = known.get((number, fact), validities.Validity())
        since = max(filter(None, (at, held.invalid_at)))
        if held.by_passage is not None and held.invalid_at is not None:
            values = {} if is_dated else {"valid_from": since, "by_passage": None}
            _revalidate(connection, namespace, number, id_, fact, why, at, **values)
        elif not is_dated and (held.by_passage is None or held.is_spared) and not _is_later(held.valid_from, at):
            new[fact] = since
    validities.hold_from(connection, namespace, number, new)


def _is_later(one: datetime | None, other: datetime) -> bool:
    return one is not None and one > other


def _archive(deed: _Deed) -> None:
    if not restore(deed.connection, deed.namespace, deed.number, deed.id, deed.why, deed.at, undone=deed.sequence):
        raise InvalidInputError(f"change {deed.sequence} was undone already: the passage is not archived")


def _invalidate(deed: _Deed) -> None:
    fact = deed.detail.get("fact", "")
    known = validities.validities_of(deed.connection, deed.namespace, [deed.number]).get((deed.number, fact))
    if known is None or known.invalid_at is None:
        raise InvalidInputError(f"change {deed.sequence} was undone already: the fact holds")
    if before := deed.detail.get("before"):
        by = deed.detail["by"]
        if statuses.is_refused(deed.connection, deed.namespace, deed.id, fact, by):
            raise InvalidInputError(f"change {deed.sequence} was undone already: the fact ended as it had before")
        if known.by_passage == by:
            had = asdict(validities.Validity.of_told(before))
            _revalidate(deed.connection, deed.namespace, deed.number, deed.id, fact, deed.why, deed.at, by, **had)
            return
    _revalidate(deed.connection, deed.namespace, deed.number, deed.id, fact, deed.why, deed.at)


def _revalidate(
    connection: Connection,
    namespace: int,
    number: int,
    id_: str,
    fact: str,
    why: str,
    at: datetime,
    refused: Any = None,
    **since: Any,
) -> None:
    """A fact holds `since` it was said again, or as long as it did before a passage was found to contradict it, which
    is `refused`; else it is spared from what was said until now."""
    values = {"invalid_at": None, **(since or {"valid_from": at, "by_passage": validities.SPARED})}
    validities.set_validity(connection, namespace, number, fact, **values)
    validities.settle(connection, namespace, number)
    detail = {"fact": fact, "why": why} | ({"by": refused} if refused else {})
    statuses.log_change(connection, namespace, "revalidate", number, id_, at, detail)


def _strengthen(deed: _Deed) -> None:
    before = deed.detail.get("before")
    if before is None:
        raise InvalidInputError(f"change {deed.sequence} undid another one: there is nothing to undo in it")
    if statuses.is_logged(deed.connection, deed.namespace, "strengthen", deed.id, deed.why):
        raise InvalidInputError(f"change {deed.sequence} was undone already")
    own = {int(entity): float(value) for entity, value in before.items() if float(value) != 1.0}
    edges.set_strengths(deed.connection, deed.namespace, deed.number, own, deed.at)
    statuses.log_change(deed.connection, deed.namespace, "strengthen", deed.number, deed.id, deed.at, {"why": deed.why})


def _flag(deed: _Deed) -> None:
    status = statuses.status_of(deed.connection, deed.namespace, [deed.number]).get(deed.number)
    if status is None or not status.flag:
        raise InvalidInputError(f"change {deed.sequence} was undone already: the passage is not flagged")
    statuses.set_status(deed.connection, deed.namespace, deed.number, flag="")
    statuses.log_change(deed.connection, deed.namespace, "flag", deed.number, deed.id, deed.at, {"why": deed.why})


def _decide(deed: _Deed, *, is_promoted: bool) -> None:
    """A fact is promoted from now on, or is not, however many say so."""
    connection, namespace, hash_ = deed.connection, deed.namespace, deed.detail.get("fact", "")
    known = semantic.all_semantic(connection, namespace)
    subjects = subjects_of(connection, namespace, [deed.number])
    pairs = [(subject, relation) for subject, relation, _ in links.objects_of(connection, namespace, subjects)]
    stated = (fact[1:4] for fact in links.facts_about(connection, namespace, pairs))
    fact = next((fact for fact in (*known, *stated) if validities.fact_id(*fact) == hash_), None)
    if fact is None:
        raise NotFoundError(f"nothing states the fact of change {deed.sequence} any more")
    if (fact in known and known[fact][2] != semantic.REFUSED) == is_promoted:
        state = "promoted" if is_promoted else "not promoted"
        raise InvalidInputError(f"change {deed.sequence} was undone already: the fact is {state}")
    support = semantic.support_of(connection, namespace, fact)[:2]
    decision = semantic.KEPT if is_promoted else semantic.REFUSED
    semantic.set_semantic(connection, namespace, fact, support, deed.at, decision)
    action, detail = "promote" if is_promoted else "demote", {"fact": hash_, "why": deed.why}
    statuses.log_change(connection, namespace, action, deed.number, deed.id, deed.at, detail)


_UNDO: dict[str, Callable[[_Deed], None]] = {
    "archive": _archive,
    "merge": _archive,
    "invalidate": _invalidate,
    "strengthen": _strengthen,
    "flag": _flag,
    "promote": partial(_decide, is_promoted=False),
    "demote": partial(_decide, is_promoted=True),
}
