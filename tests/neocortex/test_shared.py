"""A model is in memory once, however many memories are open, and no longer than one of them is."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from hippomem.neocortex.shared import shared_in_use


class _Model:
    made = 0

    def __init__(self) -> None:
        _Model.made += 1


def test_a_model_is_shared_while_somebody_has_it(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"one")
    (folder / "dangling").symlink_to(tmp_path / "nothing")
    before = _Model.made

    def model(kind: str = "torch") -> _Model:
        return shared_in_use(kind, str(folder), _Model)

    first = model()
    assert model() is first
    assert model("onnx int8") is not first
    assert shared_in_use("torch", "another/model", _Model) is not first
    gc.collect()
    assert model() is first
    (folder / "weights").write_bytes(b"two")
    os.utime(folder / "weights", ns=(0, 0))
    second = model()
    assert second is not first
    assert model() is second
    assert _Model.made == before + 4
    del first, second
    gc.collect()
    model()
    assert _Model.made == before + 5
