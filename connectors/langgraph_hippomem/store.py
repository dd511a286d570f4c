"""A memory as a LangGraph store."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Literal

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    validate_op_namespace,
)

from hippomem import (
    Clock,
    ClosedError,
    HippomemError,
    InvalidInputError,
    Memory,
    NotFoundError,
    Passage,
    StoreAccessError,
    StoreBusyError,
    StoreFullError,
    SystemClock,
)
from hippomem_tools import as_query, checked_memory, forget_all, more_and_more
from langgraph_hippomem.filters import fits, matches
from langgraph_hippomem.items import (
    READ,
    ROOT,
    Namespace,
    Stored,
    below,
    documents_of,
    is_hit,
    is_record,
    namespace_of,
    source_of,
    stored_in,
)

_LOG = logging.getLogger(__name__)
SPARE = 3  # further passages that a search asks for, since several may be of one item


class HippomemStore(BaseStore):
    """Items live in the namespace of the memory, beside whatever else it holds, as passages that recall finds too.

    `fields` are the paths of a value that a search by meaning reads ("$": all of it), where `put` names none. `ttl`
    is LangGraph's configuration of time to live. `method` is how a search ranks: as `Memory.recall` does. The memory
    stays the caller's, who closes it. The store may be used from any thread; async calls run on one.

    Where it differs from LangGraph's InMemoryStore, and why, is told in connectors/README.md.
    """

    supports_ttl = True

    def __init__(
        self,
        memory: Memory,
        *,
        fields: Iterable[str] = ("$",),
        ttl: TTLConfig | None = None,
        method: Literal["graph", "dense"] = "graph",
        clock: Clock | None = None,
    ) -> None:
        self.memory = checked_memory(memory)
        self.ttl_config = ttl
        self._fields = tuple(fields)
        self._method: Literal["graph", "dense"] = method
        self._clock = clock or SystemClock()
        self._writing = threading.Lock()
        self._sweeper: threading.Thread | None = None
        self._stopping = threading.Event()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations: all reads see what was there before, of several writes to one item the last one counts.

        Writes of one call are one transaction (of hundreds, several), deletions another one after it. Raises
        InvalidNamespaceError (also for what bypasses `put` and `get`), and InvalidInputError for a value that is not
        JSON; then nothing was written.
        """
        ops = list(ops)
        for op in ops:
            validate_op_namespace(op)
        results: list[Result] = []
        puts: dict[str, PutOp] = {}
        for op in ops:
            if isinstance(op, GetOp):
                results.append(self._get(op))
            elif isinstance(op, SearchOp):
                results.append(self._search(op))
            elif isinstance(op, ListNamespacesOp):
                results.append(self._list(op))
            elif isinstance(op, PutOp):
                puts[source_of(op.namespace, op.key)] = op
                results.append(None)
            else:
                raise InvalidInputError(f"{op!r} is no operation of a store")
        if puts:  # who only reads waits for nobody
            with self._writing:
                self._write(puts)
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """`batch` on a thread."""
        return await asyncio.to_thread(self.batch, list(ops))

    # -- time to live ------------------------------------------------------------------------------------------------

    def sweep_ttl(self) -> int:
        """Remove the items whose time is over, and say how many. Until then they are there, but nothing shows them."""
        over = self._over(ROOT)
        with self._writing:  # what was put since then stays
            over = [source for source in over if self._over(source)]
            return forget_all(self.memory, over)  # another process may sweep too

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> None:
        """Sweep on a thread, at this interval or that of the `ttl` configuration; does nothing where there is none."""
        minutes = sweep_interval_minutes or (self.ttl_config or {}).get("sweep_interval_minutes")
        if minutes and not (self._sweeper and self._sweeper.is_alive()):
            self._stopping.clear()
            self._sweeper = threading.Thread(target=self._sweep, args=(60.0 * minutes,), daemon=True)
            self._sweeper.start()

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop sweeping. Returns False where the sweeper did not end within `timeout` seconds."""
        self._stopping.set()
        if self._sweeper is not None:
            self._sweeper.join(timeout)
            if self._sweeper.is_alive():
                return False
            self._sweeper = None
        return True

    def _sweep(self, seconds: float) -> None:
        while not self._stopping.wait(seconds):
            try:
                self.sweep_ttl()
            except ClosedError:
                return
            except HippomemError as error:  # such as a database that is busy: the next turn may do it
                _LOG.warning("items whose time is over could not be removed: %s", error)

    # -- the operations ----------------------------------------------------------------------------------------------

    def _get(self, op: GetOp) -> Item | None:
        if not op.namespace:
            return None
        stored = self._current(source_of(op.namespace, op.key))
        if stored is None:
            return None
        self._refresh([stored], op.refresh_ttl)
        return stored.as_item()

    def _search(self, op: SearchOp) -> list[SearchItem]:
        _check_page(op)
        place = below(op.namespace_prefix)
        wanted = op.offset + op.limit
        query = as_query(op.query or "", self.memory.settings.max_query_chars)
        ranked = self._found(query, place, op.filter, wanted) if query and wanted else []
        if len(ranked) < wanted:  # then come those that the search did not find, or all: the newest first
            known = {stored.id for stored, _ in ranked}
            left = [s for s in self._all(place, op.filter) if s.id not in known]
            left.sort(key=lambda s: (s.namespace, s.key))
            left.sort(key=lambda s: s.updated_at, reverse=True)
            ranked += [(stored, None) for stored in left]
        page = ranked[op.offset : wanted]
        self._refresh([stored for stored, _ in page], op.refresh_ttl)
        return [stored.as_search_item(score) for stored, score in page]

    def _found(
        self, query: str, place: str, conditions: Mapping[str, Any] | None, wanted: int
    ) -> list[tuple[Stored, float | None]]:
        """Items by meaning, best first, with the score of their best passage; all of them, or `wanted` or more."""
        now = self._clock.now()
        known: dict[str, Stored | None] = {}
        found: dict[str, tuple[Stored, float | None]] = {}
        # Deep: consolidation looks at all namespaces, and what is put into one must hide nothing of another.
        limits: dict[str, Any] = {"source": place, "method": self._method, "deep": True}
        for passages in more_and_more(self.memory, query, wanted + SPARE, **limits):
            found = {}
            for passage in passages:
                if len(found) == wanted:
                    break
                if not is_hit(passage):
                    continue
                if passage.source not in known:
                    known[passage.source] = stored_in(passage) if is_record(passage) else self._current(passage.source)
                stored = known[passage.source]
                if stored and not _is_over(stored, now) and matches(stored.value, conditions):
                    found.setdefault(stored.id, (stored, passage.score))
            if len(found) == wanted:
                break
        return list(found.values())

    def _list(self, op: ListNamespacesOp) -> list[Namespace]:
        _check_page(op)
        sources: dict[Namespace, list[str]] = {}
        for source in self.memory.sources(ROOT):
            sources.setdefault(namespace_of(source), []).append(source)
        inside: dict[Namespace, list[str]] = {}
        for namespace, items in sources.items():
            if all(fits(namespace, one) for one in op.match_conditions or ()):
                inside.setdefault(namespace[: op.max_depth], []).extend(items)
        # Items are only read until one shows that a namespace is there: the time of all of them may be over.
        kept = (namespace for namespace in sorted(inside) if any(map(self._current, inside[namespace])))
        return list(islice(kept, op.offset, op.offset + op.limit))

    def _write(self, puts: Mapping[str, PutOp]) -> None:
        now = self._clock.now()
        documents = []
        for source, op in puts.items():
            if op.value is not None:
                paths = () if op.index is False else self._fields if op.index is None else op.index
                before = self._current(source)
                record = {
                    "created_at": (before.created_at if before else now).isoformat(),
                    "updated_at": now.isoformat(),
                    "ttl": _checked_ttl(op.ttl),
                }
                documents += documents_of(op.namespace, op.key, op.value, paths, record)
        if documents:
            report = self.memory.ingest(documents)
            if report.failed:
                raise InvalidInputError(f"{report.failed[0].source}: {report.failed[0].reason}")
        gone = [source for source, op in puts.items() if op.value is None and self.memory.passages(source=source)]
        forget_all(self.memory, gone)  # of two that delete an item at once, the later one finds nothing

    # -- items -------------------------------------------------------------------------------------------------------

    def _all(self, place: str, conditions: Mapping[str, Any] | None = None) -> Iterator[Stored]:
        """The items of a place whose time is not over and whose values meet the conditions."""
        now = self._clock.now()
        for stored in _items(self.memory.passages(source=place)):
            if not _is_over(stored, now) and matches(stored.value, conditions):
                yield stored

    def _current(self, source: str) -> Stored | None:
        """The item that a source is, None where there is none or its time is over."""
        return next(self._all(source), None)

    def _over(self, place: str) -> list[str]:
        """The sources of the items of a place whose time is over."""
        now = self._clock.now()
        items = _items(self.memory.passages(source=place))
        return [source_of(s.namespace, s.key) for s in items if _is_over(s, now)]

    def _refresh(self, items: Iterable[Stored], wanted: bool) -> None:
        """Begin the time of items anew: they were read."""
        ids = [stored.id for stored in items if wanted and stored.ttl is not None]
        if not ids:
            return
        # When it was read and not when it will be over: the item may be another by now, with a time of its own.
        about = {READ: self._clock.now().isoformat()}
        for some in (ids, *([id_] for id_ in ids)):
            try:
                self.memory.annotate(some, about)
            except NotFoundError:  # one was written or removed meanwhile: the others one by one
                continue
            except (StoreAccessError, StoreBusyError, StoreFullError) as error:
                # What was read is given all the same.
                _LOG.warning("the time of items that were read could not begin anew: %s", error)
                return
            if some is ids:
                return


def _check_page(op: SearchOp | ListNamespacesOp) -> None:
    if op.limit < 0 or op.offset < 0:
        raise InvalidInputError("limit and offset must be at least 0")


def _items(passages: Iterable[Passage]) -> list[Stored]:
    """The items among passages. While a large batch is being written there may be an earlier record of one as well."""
    newest: dict[str, Stored] = {}
    for passage in passages:
        if is_record(passage):
            stored = stored_in(passage)
            if passage.source not in newest or newest[passage.source].updated_at <= stored.updated_at:
                newest[passage.source] = stored
    return list(newest.values())


def _is_over(stored: Stored, now: datetime) -> bool:
    return stored.ttl is not None and now - stored.read_at >= timedelta(minutes=stored.ttl)


def _checked_ttl(ttl: float | None) -> float | None:
    try:
        timedelta(minutes=0 if ttl is None else ttl)
    except (OverflowError, TypeError, ValueError):
        raise InvalidInputError(f"ttl must be a number of minutes, not {ttl!r}") from None
    return ttl
