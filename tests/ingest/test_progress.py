"""How far long work has come: drawn on standard error where that is a terminal, told to a function anywhere."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from hippomem import Memory


class _Terminal(io.StringIO):
    is_terminal = True

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_is_drawn_on_a_terminal_alone(
    fast: Callable[..., Memory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal := _Terminal())
    terminal.is_terminal = is_terminal
    notes = tmp_path / "notes"
    notes.mkdir()
    for name in ("Ada", "Ina", "Ole"):
        (notes / f"{name}.txt").write_text(f"{name} went to Vardø.", encoding="utf-8")
    dump = tmp_path / "dump.jsonl"

    def drawn(doing: str) -> bool:
        text = terminal.getvalue()
        terminal.seek(0)
        terminal.truncate()
        return doing in text if text else False

    memory = fast()
    memory.estimate(notes, progress=True)
    assert drawn("estimating") is is_terminal
    memory.ingest(notes, progress=True)
    assert drawn("3 passages") is is_terminal
    memory.consolidate(progress=True)
    assert drawn("consolidating: ") is is_terminal
    assert memory.doctor(progress=True).ok
    assert drawn("checking: ") is is_terminal
    memory.export(dump)
    Memory.load(dump, tmp_path / "other.db", settings=memory.settings, progress=True).close()
    assert drawn("importing: ") is is_terminal
