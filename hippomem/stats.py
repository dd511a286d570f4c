"""What `Memory.stats` tells: counts, bytes on disk, how far each view has followed the log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from hippomem.consolidation.replay_time import ReplayTime
from hippomem.hippocampus.view import View
from hippomem.storage import jobs, learning, ledger, outages, reads, reviews, statuses
from hippomem.storage.store import Store

LAST_INGESTS = 10


def stats(
    store: Store, connection: Connection, namespace: int, view: View, views_bytes: int, now: datetime
) -> dict[str, Any]:
    """The figures of one namespace; bytes are of the whole store, `views_bytes` those of its snapshots.

    `chat_models` is the ledger: calls by outcome, tokens, seconds and dollars of each model and purpose; `ingests` the
    same for the last ingests by the id of their report, and for what came by none. `cost` is None where that of no call
    is known, and otherwise without the `calls_of_unknown_cost`; a lost call is one whose process died before it heard
    of it. `outages` are the models whose server fails: since when, what for, and when it is asked again.
    """
    log = reads.last_sequence(connection, namespace)
    # After a leap of the clock, rounds spread what it would make due.
    due_by = ReplayTime.after(reviews.schedule(connection, namespace), now).moment
    return {
        **reads.counts(connection, namespace),
        "edges": view.graph.edge_count(),
        **learning.counts(connection, namespace),
        "consolidation": {
            **reviews.review_counts(connection, namespace, due_by),
            **statuses.status_counts(connection, namespace),
        },
        "bytes": {"database": store.bytes_on_disk(connection), "views": views_bytes},
        "views": {name: {"applied": view.applied, "log": log} for name in ("graph", "vectors")},
        "encoder": store.info(connection, "encoder"),
        "jobs": jobs.counts(connection, namespace),
        "outages": {
            model: {
                "since": outage.since,
                "asked_again_at": outage.until,
                "failures": outage.failures,
                "reason": outage.reason,
            }
            for model, outage in outages.current(connection, now).items()
        },
        "chat_models": ledger.totals(connection, namespace, "model", "purpose"),
        "ingests": ledger.totals(connection, namespace, "ingest")[-LAST_INGESTS:],
    }
