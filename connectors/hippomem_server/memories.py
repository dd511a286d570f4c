"""The memories that a server has open: one a namespace, opened when first asked for, the last used of them kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Lock

from hippomem import ClosedError, Memory

Opened = Callable[[str], Memory]


@dataclass
class _Held:
    memory: Memory
    users: int = 0


class Memories:
    """Memories by namespace, for any thread. At most `most` stay open besides those in use; `opened` opens one."""

    def __init__(self, opened: Opened, most: int) -> None:
        self._opened, self._most = opened, most
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._lock = Lock()
        self._opening = Lock()
        self._released = Condition(self._lock)
        self._closed = False

    @contextmanager
    def use(self, namespace: str) -> Iterator[Memory]:
        """The memory of a namespace, which stays open meanwhile. Raises ClosedError once all are closed, and what
        opening it raises.
        """
        held = self._taken(namespace)
        try:
            yield held.memory
        finally:
            with self._lock:
                held.users -= 1
                self._released.notify_all()
                stale = self._stale()
            for memory in stale:
                memory.close()

    def close(self) -> None:
        """Close them all, once nobody uses them."""
        with self._lock:
            self._closed = True
            self._released.wait_for(lambda: not any(held.users for held in self._held.values()))
            held = [one.memory for one in self._held.values()]
            self._held.clear()
        for memory in held:
            memory.close()

    def _taken(self, namespace: str) -> _Held:
        if (held := self._known(namespace)) is not None:
            return held
        with self._opening:  # one after the other: two of the same namespace would be one too many
            if (held := self._known(namespace)) is not None:
                return held
            held = _Held(self._opened(namespace), users=1)
            with self._lock:
                if not self._closed:
                    self._held[namespace] = held
                    return held
            held.memory.close()
            raise ClosedError("this server is stopping")

    def _known(self, namespace: str) -> _Held | None:
        with self._lock:
            if self._closed:
                raise ClosedError("this server is stopping")
            held = self._held.get(namespace)
            if held is not None:
                held.users += 1
                self._held.move_to_end(namespace)
            return held

    def _stale(self) -> list[Memory]:
        """Those that are too many, taken out: of what nobody uses, the longest unused. The lock is held."""
        idle = [name for name, held in self._held.items() if not held.users]
        return [self._held.pop(name).memory for name in idle[: max(len(self._held) - self._most, 0)]]
