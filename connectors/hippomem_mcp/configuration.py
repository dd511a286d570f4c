"""What a desktop client needs to know to start the server."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def client_configuration(
    db: str, namespace: str, *, url: str | None = None, folders: Sequence[Path] = (), llm: str | None = None
) -> dict[str, Any]:
    """The `mcpServers` entry of a client's configuration: a command to start, or the `url` of a server that runs.

    Paths in it are absolute: clients start their servers wherever they like.
    """
    if url is not None:
        return {"mcpServers": {"hippomem": {"type": "http", "url": url}}}
    program = shutil.which("hippomem")
    command, first = (program, []) if program else (sys.executable, ["-m", "hippomem.cli"])
    db = db if "://" in db or db == ":memory:" else str(Path(db).absolute())
    arguments = [*first, "mcp", "--db", db, "--namespace", namespace]
    arguments += [part for folder in folders for part in ("--folder", str(folder.absolute()))]
    arguments += ["--llm", llm] if llm else []
    return {"mcpServers": {"hippomem": {"command": command, "args": arguments}}}
