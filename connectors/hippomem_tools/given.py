"""What a connector is given."""

from __future__ import annotations

from hippomem import InvalidInputError, Memory


def checked_memory(memory: Memory) -> Memory:
    """The memory, where it is one. Raises InvalidInputError for what is none, such as a path or an AsyncMemory."""
    if not isinstance(memory, Memory):
        raise InvalidInputError(
            f"memory must be a hippomem.Memory, as Memory.open(…) gives it, not {type(memory).__name__}"
            " (a connector's own async methods run on threads)"
        )
    return memory
