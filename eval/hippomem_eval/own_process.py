"""What is measured is measured in a process of its own, where nothing is shared or warm. It is given job.json in a
folder, and leaves result.json there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hippomem import HippomemError, SourceError
from hippomem_eval.results import write_json


def measure_in_own_process(
    program: str, job: Mapping[str, Any], folder: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The result of `python -m hippomem_eval.PROGRAM ARGUMENTS… FOLDER`. Raises SourceError where it fails."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    write_json(folder / "job.json", job)
    command = [sys.executable, "-m", f"hippomem_eval.{program}", *arguments, str(folder.resolve())]
    done = subprocess.run(  # noqa: S603
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=os.environ | (env or {}), check=False
    )
    if done.returncode or not result.exists():
        raise SourceError(f"the measuring process failed with exit code {done.returncode}: see its message above")
    measured: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    for file in (result, folder / "job.json"):
        file.unlink()
    return measured


def serve_job(folder: Path, measure: Callable[[dict[str, Any]], Mapping[str, Any]]) -> int:
    """The other side: the exit code; 1, and a line on standard error, where hippomem raises."""
    try:
        result = measure(json.loads((folder / "job.json").read_text(encoding="utf-8")))
    except HippomemError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:  # the parent tells of it
        return 130
    write_json(folder / "result.json", result)
    return 0
