"""Indexes for what is asked when a passage goes: what gave way to it, and what it was before.

Revision ID: 0007
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

COLUMNS = {"statuses": "merged_into", "validities": "by_passage", "versions": "id"}


def upgrade() -> None:
    for table, column in COLUMNS.items():
        op.create_index(f"ix_{table}_namespace_{column}", table, ["namespace", column])


def downgrade() -> None:
    for table, column in COLUMNS.items():
        op.drop_index(f"ix_{table}_namespace_{column}", table)
