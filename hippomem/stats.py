"""What `Memory.stats` tells: counts, bytes on disk, how far each view has followed the log."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from hippomem.hippocampus.view import View
from hippomem.storage import reads
from hippomem.storage.store import Store


def stats(store: Store, connection: Connection, namespace: int, view: View, views_bytes: int) -> dict[str, Any]:
    """The figures of one namespace; bytes are of the whole store, `views_bytes` those of its snapshots."""
    log = reads.last_sequence(connection, namespace)
    return {
        **reads.counts(connection, namespace),
        "edges": view.graph.edge_count(),
        "bytes": {"database": store.bytes_on_disk(), "views": views_bytes},
        "views": {name: {"applied": view.applied, "log": log} for name in ("graph", "vectors")},
        "encoder": store.info(connection, "encoder"),
    }
