"""mem0's Memory and AsyncMemory, each method a call or two of hippomem's."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

import hippomem
from hippomem import InputTooLargeError, InvalidInputError, InvalidTextError, NotFoundError, Passage
from mem0_hippomem.scopes import ROOT, SCOPES, below, is_in, matches, scope_of, source_of

T = TypeVar("T")

KEY = "mem0"  # in a passage's metadata: whose it is, who said it, and after an update its first id and moment
AGAIN = "-"  # in the id of a text that was said again after the memory that it made had been updated
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
Messages = str | Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Memory:
    """What mem0's class does, with the same names. `options` are those of `hippomem.Memory.open`.

    Nothing is rewritten by a model on the way in: each message is remembered as it was said, at once (`infer`,
    `prompt` and `memory_type` change nothing), and `score` is hippomem's, not a similarity between 0 and 1 (so
    `threshold` is not applied). What cannot be done raises hippomem's errors, which are ValueErrors for bad arguments.
    """

    def __init__(self, memory: hippomem.Memory | None = None, **options: Any) -> None:
        self.memory = memory if memory is not None else hippomem.Memory.open(**options)

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
        **_: Any,
    ) -> dict[str, Any]:
        """Remember a text, a message, or the messages of a conversation; none of them where one cannot be stored."""
        scope = scope_of({"user_id": user_id, "agent_id": agent_id, "run_id": run_id})
        moment = _moment(timestamp)
        results = []
        said = list(_said(messages))
        for text in itertools.chain(*said):
            _check(text, self.memory.settings.max_text_chars)
        for role, text in said:
            about = {**(metadata or {}), KEY: {**scope, "role": role}}
            event = self.memory.add(text, source=source_of(scope), session=run_id, metadata=about, occurred_at=moment)
            id_ = self._own_id(event) if event.created else _id(event)
            results.append({"id": id_, "memory": text, "event": "ADD" if event.created else "NONE"})
        return {"results": results}

    def search(
        self, query: str, *, top_k: int | None = None, filters: Mapping[str, Any] | None = None, **given: Any
    ) -> dict[str, Any]:
        """What answers a question, best first; `filters` name whose memories, and conditions on their metadata."""
        wanted, conditions = _asked(filters, given)
        limit = _limit(top_k, given)
        k = max(limit, 1)
        while True:
            passages = self.memory.recall(query, k, source=below(wanted)).passages
            found = [p for p in passages if _fits(p, wanted, conditions)]
            if len(found) >= limit or len(passages) < k:
                return {"results": [_record(p) | {"score": p.score} for p in found[:limit]]}
            k *= 4

    def get(self, memory_id: str) -> dict[str, Any] | None:
        """A memory by its id, None where there is none."""
        passage = self._found(memory_id)
        return _record(passage) if passage else None

    def get_all(
        self, *, filters: Mapping[str, Any] | None = None, top_k: int | None = None, **given: Any
    ) -> dict[str, Any]:
        """All memories of somebody, oldest first."""
        wanted, conditions = _asked(filters, given)
        found = [p for p in self.memory.passages(source=below(wanted)) if _fits(p, wanted, conditions)]
        return {"results": [_record(p) for p in found[: _limit(top_k, given)]]}

    def update(
        self,
        memory_id: str,
        text: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        data: str | None = None,
    ) -> dict[str, str]:
        """Change the text, the metadata, or both. The id stays."""
        text = text if text is not None else data
        if text is None and metadata is None:
            raise InvalidInputError("text or metadata is needed")
        before = self._known(memory_id)
        current = before.id
        if text is not None:
            current = self.memory.update(current, text).id
        record = _record(before)
        about = {
            **(metadata or {}),
            KEY: {**before.metadata[KEY], "id": record["id"], "created_at": record["created_at"]},
        }
        self.memory.annotate(current, about)
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
        self._forget([p for p in self.memory.passages(source=below(wanted)) if _fits(p, wanted, {})])
        return {"message": "Memories deleted successfully!"}

    def history(self, memory_id: str) -> list[dict[str, Any]]:
        """What happened to a memory, oldest first."""
        first, _, since = memory_id.partition(AGAIN)
        changes = [c for c in self.memory.history(first) if c.action in _EVENTS]
        if since.isdecimal():
            changes = [c for c in changes if c.sequence >= int(since)]
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
        self._forget(list(self.memory.passages(source=ROOT)))

    def close(self) -> None:
        """Close the memory."""
        self.memory.close()

    def _known(self, memory_id: str) -> Passage:
        passage = self._found(memory_id)
        if passage is None:
            raise NotFoundError(f"no memory has the id {memory_id!r}")
        return passage

    def _found(self, memory_id: str) -> Passage | None:
        """The memory that is known by an id. Its text, and so hippomem's id of it, may long be others."""
        try:
            passage = self.memory.get(memory_id.partition(AGAIN)[0])
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

    def _forget(self, passages: list[Passage]) -> None:
        if passages:
            self.memory.forget(passages)


def _on_thread(method: Callable[..., T]) -> Callable[..., Awaitable[T]]:
    async def run(self: AsyncMemory, *args: Any, **kwargs: Any) -> T:
        return await asyncio.to_thread(method, self.sync, *args, **kwargs)

    run.__doc__ = f"Memory.{method.__name__} on a thread."
    return run


class AsyncMemory:
    """The same methods, to await; each runs on a thread."""

    def __init__(self, memory: hippomem.Memory | None = None, **options: Any) -> None:
        self.sync = Memory(memory, **options)

    @classmethod
    def from_config(cls, config_dict: Mapping[str, Any]) -> Self:
        """As Memory.from_config."""
        return cls(**config_dict.get("hippomem", {}))

    add = _on_thread(Memory.add)
    search = _on_thread(Memory.search)
    get = _on_thread(Memory.get)
    get_all = _on_thread(Memory.get_all)
    update = _on_thread(Memory.update)
    delete = _on_thread(Memory.delete)
    delete_all = _on_thread(Memory.delete_all)
    history = _on_thread(Memory.history)
    reset = _on_thread(Memory.reset)
    close = _on_thread(Memory.close)


_EVENTS = {"add": "ADD", "update": "UPDATE", "forget": "DELETE"}


def _said(messages: Messages) -> Iterator[tuple[str, str]]:
    """Who said what. Raises InvalidInputError for what are no messages; what only a system says is passed over."""
    if isinstance(messages, str):
        yield "user", messages
        return
    for message in [messages] if isinstance(messages, Mapping) else messages:
        content = message.get("content", message) if isinstance(message, Mapping) else message
        if content is message or not isinstance(content, str | list | tuple | None):
            raise InvalidInputError(f"messages are texts, or dicts with role and content, not {message!r}")
        if isinstance(content, list | tuple):  # of parts, such as texts and images
            content = "\n".join(str(p["text"]) for p in content if isinstance(p, Mapping) and p.get("type") == "text")
        if content and content.strip() and message.get("role") != "system":  # there is none where it only calls tools
            yield str(message.get("role", "user")), content


def _check(text: str, limit: int) -> None:
    """Raises what `hippomem.Memory.add` would, before the messages ahead of this one are stored."""
    if len(text) > limit:
        raise InputTooLargeError(
            f"a message has {len(text):,} characters, at most {limit:,} are taken: shorten it, or raise max_text_chars "
            "(HIPPOMEM_MAX_TEXT_CHARS)"
        )
    if _UNSTORABLE.search(text):
        raise InvalidTextError("a message holds NULs or lone surrogates, which no database can keep: remove them first")


def _asked(filters: Mapping[str, Any] | None, given: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Whose memories, and the conditions that they must meet; ids may be among the filters or the arguments."""
    if not isinstance(filters, Mapping | None):
        raise InvalidInputError(f"filters are a dict, not {filters!r}")
    conditions = dict(filters or {})
    anybody = {name: "*" for name in SCOPES if conditions.get(name) == "*"}  # only here: as an argument it is a name
    ids = {name: conditions.pop(name, given.get(name)) for name in SCOPES if name not in anybody}
    scope = {} if anybody and not any(ids.values()) else scope_of(ids)
    return scope, conditions


def _limit(top_k: int | None, given: Mapping[str, Any]) -> int:
    limit = top_k if top_k is not None else given.get("limit")
    if limit is None:
        return 20
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise InvalidInputError(f"top_k must be a whole number of at least 0, not {limit!r}")
    return limit


def _fits(passage: Passage, wanted: Mapping[str, str], conditions: Mapping[str, Any]) -> bool:
    about = passage.metadata.get(KEY)
    if about is None or not is_in(about, wanted):
        return False
    return not conditions or matches({**passage.metadata, **_record(passage), **about}, conditions)


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
        **{name: about[name] for name in (*SCOPES, "role") if name in about},
    }


def _moment(timestamp: datetime | float | str | None) -> datetime | None:
    """A moment as mem0 takes it: seconds since 1970, ISO 8601, or a datetime. Without a zone it counts as UTC."""
    try:
        if isinstance(timestamp, int | float):
            return datetime.fromtimestamp(timestamp, UTC)
        moment = datetime.fromisoformat(timestamp) if isinstance(timestamp, str) else timestamp
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInputError(f"timestamp {timestamp!r} is no moment: {error}") from None
    return moment.replace(tzinfo=UTC) if isinstance(moment, datetime) and moment.tzinfo is None else moment
