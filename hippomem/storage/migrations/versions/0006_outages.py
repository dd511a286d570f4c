"""That the server of a model fails, and how often each job met with that.

Revision ID: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("jobs", sa.Column("faults", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "outages",
        sa.Column("model", sa.String(255), primary_key=True),
        sa.Column("since", Moment, nullable=False),
        sa.Column("until", Moment, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("token", Number, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("outages")
    op.drop_column("jobs", "faults")
