"""mem0's AsyncMemory: the methods of its Memory, on threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, Self, TypeVar

import hippomem
from mem0_hippomem.memory import Memory

T = TypeVar("T")


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

    def __await__(self) -> Generator[Any, Any, Self]:
        """Itself, at once: programs for some versions of mem0 await `from_config`, those for others do not."""

        async def itself() -> Self:
            return self

        return itself().__await__()

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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
