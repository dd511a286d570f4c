"""Where torch computes, as a setting names it."""

from __future__ import annotations

from hippomem.errors import InvalidInputError
from hippomem.importing import import_whole


def check_device(device: str, setting: str) -> None:
    """Raises InvalidInputError, which names the setting, where torch cannot compute on `device` here. Loads torch."""
    import_whole("torch")
    import torch

    try:
        torch.zeros(1, device=device).sum().item()  # a device of no data ("meta") fails at this
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InvalidInputError(
            f"{setting}={device!r}: torch cannot compute there ({reason}). It may be cpu, or cuda, cuda:1, mps … "
            "where there is such a device and torch was built for it"
        ) from error
