"""mem0's Memory, each method a call or two of hippomem's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Self

import hippomem
from hippomem import Change, InvalidInputError, NotFoundError, Passage, RecalledPassage
from hippomem_tools import as_query, checked_memory, forget_all, more_and_more
from mem0_hippomem.given import Messages, check, day_of, moment_of, said
from mem0_hippomem.scopes import ROOT, SCOPES, below, is_in, matches, scope_of, source_of

KEY = "mem0"  # in a passage's metadata: whose it is, who said it, until when; once updated, its first id and moment
AGAIN = "-"  # in the id of a text that was said again after the memory that it made had been updated
ENDS = "expiration_date"  # beside whose it is: the last day on which it is shown
_KEEP: Any = object()


class MemoryNotFoundError(NotFoundError, ValueError):
    """No memory has this id: with mem0 that is a ValueError."""


class Memory:
    """What mem0's class does, with the same names. `options` are those of `hippomem.Memory.open`.

    Nothing is rewritten by a model on the way in: each message is remembered as it was said, at once (`infer`,
    `prompt` and `memory_type` change nothing), and `score` is hippomem's, not a similarity between 0 and 1 (so
    `threshold` is not applied). What cannot be done raises hippomem's errors, which are ValueErrors for bad arguments
    and unknown ids.
    """

    def __init__(self, memory: hippomem.Memory | None = None, **options: Any) -> None:
        self.memory = checked_memory(memory) if memory is not None else hippomem.Memory.open(**options)

    @classmethod
    def from_config(cls, config_dict: Mapping[str, Any]) -> Self:
        """Open what `config_dict["hippomem"]` says, as options of `hippomem.Memory.open`. What configures mem0's own
        stores and models is not needed, and passed over."""
        return cls(**config_dict.get("hippomem", {}))

    def add(
        self,
        messages: Messages,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        timestamp: datetime | float | str | None = None,
        expiration_date: date | str | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """Remember a text, a message, or the messages of a conversation; none of them where one cannot be stored.

        After its `expiration_date` (YYYY-MM-DD, in UTC) a memory is only shown where it is asked for
        (`show_expired=True`, `get`).
        """
        scope = scope_of({"user_id": user_id, "agent_id": agent_id, "run_id": run_id})
        moment, last = moment_of(timestamp), day_of(expiration_date)
        if not isinstance(metadata, Mapping | None):
            raise InvalidInputError(f"metadata must be a dict, not {metadata!r}")
        results = []
        texts = list(said(messages))
        for text, who in texts:
            for part in (text, *who.values()):
                check(part, self.memory.settings.max_text_chars)
        place, session = source_of(scope), scope.get("run_id")
        for text, who in texts:
            about = {**(metadata or {}), KEY: {**scope, **who} | ({ENDS: last} if last else {})}
            event = self.memory.add(text, source=place, session=session, metadata=about, occurred_at=moment)
            id_ = self._own_id(event) if event.created else _id(event)
            if not event.created:
                self._show_until(event, last)
            results.append({"id": id_, "memory": text, "event": "ADD" if event.created else "NONE"})
        return {"results": results}

    def search(
        self,
        query: str,
        *,
        top_k: int | None = None,
        filters: Mapping[str, Any] | None = None,
        show_expired: bool = False,
        **given: Any,
    ) -> dict[str, Any]:
        """What answers a question, best first; `filters` name whose memories, and conditions on their metadata. Of a
        message that is too long for a question the end is asked. Whatever consolidation archived or found contradicted
        is searched, too.
        """
        wanted, conditions = _asked(filters, given)
        limit = _limit(top_k, given)
        query = as_query(query, self.memory.settings.max_query_chars)
        found: list[RecalledPassage] = []
        # Deep: consolidation looks at the memories of all, and what one user says must end nothing of another's.
        limits: dict[str, Any] = {"source": below(wanted), "session": wanted.get("run_id"), "deep": True}
        for passages in more_and_more(self.memory, query, max(limit, 1), **limits):
            found = [p for p in passages if _fits(p, wanted, conditions, show_expired)]
            if len(found) >= limit:
                break
        return {"results": [_record(p) | {"score": p.score} for p in found[:limit]]}

    def get(self, memory_id: str) -> dict[str, Any] | None:
        """A memory by its id, None where there is none."""
        passage = self._found(memory_id)
        return _record(passage) if passage else None

    def get_all(
        self,
        *,
        filters: Mapping[str, Any] | None = None,
        top_k: int | None = None,
        show_expired: bool = False,
        **given: Any,
    ) -> dict[str, Any]:
        """All memories of somebody, oldest first."""
        wanted, conditions = _asked(filters, given)
        found = [p for p in self.memory.passages(source=below(wanted)) if _fits(p, wanted, conditions, show_expired)]
        return {"results": [_record(p) for p in found[: _limit(top_k, given)]]}

    def update(
        self,
        memory_id: str,
        text: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        expiration_date: date | str | None = _KEEP,
        data: str | None = None,
    ) -> dict[str, str]:
        """Change the text, the metadata, the `expiration_date` (None: it has none), or all of them. The id stays."""
        text = text if text is not None else data
        if text is None and metadata is None and expiration_date is _KEEP:
            raise InvalidInputError("text, metadata or expiration_date is needed")
        last = {} if expiration_date is _KEEP else {ENDS: day_of(expiration_date)}
        before = self._known(memory_id)
        current, record = before.id, _record(before)
        about = {**before.metadata[KEY], "id": record["id"], "created_at": record["created_at"]}
        if text is not None:
            # First what it goes on to be known by: others may look for it, or this process be killed, in between.
            self.memory.annotate(current, {KEY: about})
            current = self.memory.update(current, text).id
        if metadata is not None or last:
            self.memory.annotate(current, {**(metadata or {}), KEY: about | last})
        return {"message": "Memory updated successfully!"}

    def delete(self, memory_id: str) -> dict[str, str]:
        """Remove a memory for good."""
        self.memory.forget(self._known(memory_id))
        return {"message": "Memory deleted successfully!"}

    def delete_all(
        self, user_id: str | None = None, agent_id: str | None = None, run_id: str | None = None
    ) -> dict[str, str]:
        """Remove all memories of somebody for good."""
        wanted = scope_of({"user_id": user_id, "agent_id": agent_id, "run_id": run_id})
        found = self.memory.passages(source=below(wanted))
        forget_all(self.memory, [p.id for p in found if _fits(p, wanted, {}, True)])
        return {"message": "Memories deleted successfully!"}

    def history(self, memory_id: str) -> list[dict[str, Any]]:
        """What happened to a memory, oldest first; nothing where there never was one by this id."""
        first, since = _parts(memory_id)
        try:
            told_of = [c for c in self.memory.history(first) if c.action in _EVENTS]
        except NotFoundError:
            return []
        changes: list[Change] = []
        known_as, start = first, int(since) if since.isdecimal() else 0
        for change in told_of:  # of all that ever had one of its texts
            if (change.previous_id or change.id) == known_as and change.sequence >= start:
                changes.append(change)
                known_as = change.id
                if change.action == "forget" and (since or any(c.action == "update" for c in changes)):
                    break  # what has the text next has an id of its own
        current = self.get(memory_id)
        told = []
        for place, change in enumerate(changes):
            event = _EVENTS[change.action]
            later = (c.text for c in changes[place + 1 :] if c.action == "update")
            new = None if event == "DELETE" else next(later, current and current["memory"])
            entry = {"id": f"{change.sequence}", "memory_id": memory_id, "old_memory": change.text, "new_memory": new}
            at = {"created_at": change.at.isoformat(), "updated_at": change.at.isoformat()}
            told.append(entry | {"event": event, "is_deleted": event == "DELETE"} | at)
        return told

    def reset(self) -> None:
        """Remove the memories of everybody. What was remembered otherwise than by this class stays."""
        forget_all(self.memory, [p.id for p in self.memory.passages(source=ROOT)])

    def close(self) -> None:
        """Close the memory."""
        self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _known(self, memory_id: str) -> Passage:
        passage = self._found(memory_id)
        if passage is None:
            raise MemoryNotFoundError(f"no memory has the id {memory_id!r}")
        return passage

    def _found(self, memory_id: str) -> Passage | None:
        """The memory that is known by an id. Its text, and so hippomem's id of it, may long be others."""
        try:
            passage = self.memory.get(_parts(memory_id)[0])
        except NotFoundError:
            return None
        if KEY not in passage.metadata or _id(passage) == memory_id:
            return passage if KEY in passage.metadata else None
        others = self.memory.passages(source=passage.source)  # the same text, said by the same
        return next((p for p in others if KEY in p.metadata and _id(p) == memory_id), None)

    def _own_id(self, event: Passage) -> str:
        """An id that only this new memory has: the one that its text gives it may be of one that was updated since."""
        changes = self.memory.history(event.id)
        if not any(change.action == "update" for change in changes):
            return event.id
        id_ = f"{event.id}{AGAIN}{changes[-1].sequence}"
        self.memory.annotate(event.id, {KEY: {**event.metadata[KEY], "id": id_}})
        return id_

    def _show_until(self, event: Passage, last: str | None) -> None:
        """What is said again is shown for as long as either time that it was said it was to be."""
        about = event.metadata[KEY]
        if about.get(ENDS) and (last is None or last > about[ENDS]):
            self.memory.annotate(event.id, {KEY: about | {ENDS: last}})


_EVENTS = {"add": "ADD", "update": "UPDATE", "forget": "DELETE"}


def _asked(filters: Mapping[str, Any] | None, given: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Whose memories, and the conditions that they must meet; ids may be among the filters or the arguments."""
    if not isinstance(filters, Mapping | None):
        raise InvalidInputError(f"filters are a dict, not {filters!r}")
    conditions = dict(filters or {})
    anybody = {name: "*" for name in SCOPES if conditions.get(name) == "*"}  # only here: as an argument it is a name
    ids = {name: conditions.pop(name, given.get(name)) for name in SCOPES if name not in anybody}
    scope = {} if anybody and not any(ids.values()) else scope_of(ids)
    return scope, conditions


def _parts(memory_id: str) -> tuple[str, str]:
    """hippomem's id of the text that made a memory, and where that was said before, since when it is this one."""
    if not isinstance(memory_id, str):
        raise InvalidInputError(f"memory_id must be a str, not {type(memory_id).__name__}")
    first, _, since = memory_id.partition(AGAIN)
    return first, since


def _limit(top_k: int | None, given: Mapping[str, Any]) -> int:
    limit = top_k if top_k is not None else given.get("limit")
    if limit is None:
        return 20
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise InvalidInputError(f"top_k must be a whole number of at least 0, not {limit!r}")
    return limit


def _fits(passage: Passage, wanted: Mapping[str, str], conditions: Mapping[str, Any], show_expired: bool) -> bool:
    about = passage.metadata.get(KEY)
    if about is None or not is_in(about, wanted):
        return False
    if not show_expired and (about.get(ENDS) or "9999") < datetime.now(UTC).date().isoformat():
        return False
    return not conditions or matches({**passage.metadata, **_record(passage)}, conditions)


def _id(passage: Passage) -> str:
    """The first id of a memory, by which it goes on to be known."""
    return str(passage.metadata[KEY].get("id", passage.id))


def _record(passage: Passage) -> dict[str, Any]:
    about = passage.metadata[KEY]
    moment = passage.recorded_at.isoformat() if passage.recorded_at else None
    return {
        "id": _id(passage),
        "memory": passage.text,
        "hash": hashlib.md5(passage.text.encode(), usedforsecurity=False).hexdigest(),
        "metadata": {key: value for key, value in passage.metadata.items() if key != KEY} or None,
        "created_at": about.get("created_at", moment),
        "updated_at": moment,
        **{name: about[name] for name in (*SCOPES, "role", "actor_id", ENDS) if about.get(name) is not None},
    }
