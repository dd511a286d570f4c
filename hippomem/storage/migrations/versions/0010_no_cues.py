"""Without the names that a repair would have added to passages: none ever lacked one.

Revision ID: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.drop_table("cues")


def downgrade() -> None:
    op.create_table(
        "cues",
        sa.Column("namespace", sa.Integer, primary_key=True),
        sa.Column("passage", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
