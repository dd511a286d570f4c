"""A server in a process of its own, on memories without models: DB [TOKENS [HOST]]. It prints its address and token."""

from __future__ import annotations

import sys
from pathlib import Path

from hippomem import Memory
from hippomem.testing import HashEncoder, capitals
from hippomem_server import serve

if __name__ == "__main__":
    db, *tokens = sys.argv[1:]
    encoder, pipeline = HashEncoder(), capitals()
    serve(
        lambda name: Memory.open(db, namespace=name, encoder=encoder, pipeline=pipeline),
        host=tokens[1] if len(tokens) > 1 else "127.0.0.1",
        port=0,
        tokens=Path(tokens[0]) if tokens else None,
        told=lambda url, token: print(url, token, flush=True),  # noqa: T201
    )
