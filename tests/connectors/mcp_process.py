"""A server in a process of its own, on a memory without models: DB TRANSPORT [PORT]."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hippomem import Memory
from hippomem.testing import HashEncoder, capitals
from hippomem_mcp import create_server, serve_http, serve_stdio

if __name__ == "__main__":
    db, transport, *rest = sys.argv[1:]
    with Memory.open(db, encoder=HashEncoder(), pipeline=capitals()) as memory:
        server = create_server(memory, folders=[Path(db).parent / "notes"])
        if transport == "stdio":
            serve_stdio(server)
        else:
            serve_http(server, port=int(rest[0]), token=os.environ.get("HIPPOMEM_MCP_TOKEN"))
