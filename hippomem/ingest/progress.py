"""How far a long piece of work has come: on standard error, where that is a terminal, or told to a function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias

ProgressCallback: TypeAlias = Callable[[int, int | None, int], None]
StepCallback: TypeAlias = Callable[[str, int], None]


class ProgressBar:
    """How much of the input is read, passages so far, passages a second, time left. A context manager."""

    def __init__(self, shown: bool | ProgressCallback, doing: str = "ingesting") -> None:
        self._doing = doing
        self._shown = shown is True and _on_terminal()
        self._tell = shown if callable(shown) else None
        self._read = 0
        self._total: int | None = None
        self._bar: Any = None
        self._task: Any = None
        self._passages = 0

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, total: int | None) -> None:
        """Show the bar; `total` is the input's size in bytes, None where it is not known."""
        self._total = total
        if not self._shown:
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Remaining

        self._bar = Progress(
            TextColumn(self._doing),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[passages]} passages, {task.fields[rate]}/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            Remaining(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=total, passages=0, rate="–")
        self._bar.start()

    def advance(self, size: int, passages: int) -> None:
        """`size` more bytes are read, `passages` more are stored."""
        self._read += size
        self._passages += passages
        if self._tell is not None:
            self._tell(self._read, self._total, self._passages)
        if self._bar is None:
            return
        elapsed = self._bar.tasks[0].elapsed or 0.0
        rate = f"{self._passages / elapsed:.0f}" if elapsed > 1 and self._passages else "–"
        self._bar.update(self._task, advance=size, passages=self._passages, rate=rate)


class StepBar:
    """Which step of some work is on, and how many units are done. A context manager."""

    def __init__(self, doing: str, shown: bool | StepCallback) -> None:
        self._doing = doing
        self._shown = shown is True and _on_terminal()
        self._told = shown if callable(shown) else None
        self._status: Any = None

    def __enter__(self) -> StepBar:
        if self._shown:
            from rich.console import Console

            self._status = Console(stderr=True).status(self._doing)
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._status is not None:
            self._status.stop()

    def tell(self, step: str, units: int) -> None:
        """A step is on; so many units are done."""
        if self._told is not None:
            self._told(step, units)
        if self._status is not None:
            self._status.update(f"{self._doing}: {step}, {units:,} done" if units else f"{self._doing}: {step}")


def _on_terminal() -> bool:
    """Whether somebody can see standard error; a service may have none at all."""
    return sys.stderr is not None and sys.stderr.isatty()
