"""The slow map on disk: one file. It is only ever a shortcut."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hippomem.neocortex.neural_memory.memory import MapState

if TYPE_CHECKING:
    from hippomem.neocortex.neural_memory.memory import NeuralMemory

FORMAT = 1
ABOUT = "about"


class MapFile:
    """The slow map of one namespace in `folder`; `marks` tell which store, encoder and options it is of."""

    def __init__(self, folder: Path, marks: dict[str, Any]) -> None:
        self.folder = folder
        self.path = folder / "map.npz"
        self._marks = {"format": FORMAT, **marks}

    def packed(self, memory: NeuralMemory) -> bytes:
        """What the file is to hold; nothing where the map is dampened: what is kept must be what the log says."""
        if memory.stale:
            return b""
        state = memory.snapshot()
        about = {
            **self._marks,
            "applied": memory.applied,
            "mark": memory.mark,
            "count": state.count,
            "replayed": sorted(state.replayed.items()),
            "absorbed": sorted(state.absorbed),
        }
        arrays = {f"map.{name}": array for name, array in state.arrays.items()} | {"sums": state.sums}
        held = io.BytesIO()
        np.savez(held, allow_pickle=False, **{ABOUT: np.frombuffer(json.dumps(about).encode(), np.uint8)}, **arrays)
        return held.getvalue()

    def drop(self) -> None:
        """Remove it, where it is there: it holds what is forgotten."""
        with suppress(OSError):
            self.path.unlink()

    def load(self, memory: NeuralMemory) -> tuple[int, str] | None:
        """Give `memory` the kept map; the log's sequence and mark that it holds. None, and nothing has changed, where
        there is no usable file.
        """
        before = memory.snapshot()
        try:
            with np.load(io.BytesIO(self.path.read_bytes()), allow_pickle=False) as found:
                about = json.loads(bytes(found[ABOUT]).decode())
                if {name: about.get(name) for name in self._marks} != self._marks:
                    return None
                arrays = {name[4:]: found[name] for name in found.files if name.startswith("map.")}
                state = MapState(
                    arrays,
                    np.array(found["sums"], np.float32),
                    float(about["count"]),
                    {int(number): int(times) for number, times in about["replayed"]},
                    {int(number) for number in about["absorbed"]},
                )
            if state.sums.shape != before.sums.shape or not all(np.isfinite(a).all() for a in arrays.values()):
                return None
            memory.rollback(state)
            return int(about["applied"]), str(about["mark"])
        except Exception:  # whatever is wrong with it, nothing is lost
            memory.rollback(before)
            return None
