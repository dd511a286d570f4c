"""When facts hold, as users say; what passages were before updates; facts whose promotion was undone.

Revision ID: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("facts", sa.Column("valid_from", Moment))
    op.add_column("facts", sa.Column("invalid_at", Moment))
    op.add_column("statuses", sa.Column("valid_from", Moment))
    op.add_column("semantic_facts", sa.Column("decision", sa.String(8)))
    op.create_table(
        "versions",
        sa.Column("namespace", sa.Integer, primary_key=True),
        sa.Column("number", Number, primary_key=True, autoincrement=False),
        sa.Column("passage", Number, nullable=False),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("start", sa.Integer, nullable=False),
        sa.Column("end", sa.Integer, nullable=False),
        sa.Column("session", sa.Text),
        sa.Column("occurred_at", Moment),
        sa.Column("recorded_at", Moment, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("content", sa.String(32), nullable=False),
        sa.Column("valid_from", Moment, nullable=False),
        sa.Column("hidden_from", Moment),
        sa.Column("superseded_at", Moment, nullable=False),
        sa.Column("mentions", sa.JSON, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["namespace", "passage"],
            ["passages.namespace", "passages.number"],
            name="fk_versions_namespace_passage",
        ),
        sqlite_with_rowid=False,
    )
    for column in ("passage", "superseded_at", "content"):
        op.create_index(f"ix_versions_namespace_{column}", "versions", ["namespace", column])


def downgrade() -> None:
    op.drop_table("versions")
    op.drop_column("semantic_facts", "decision")
    op.drop_column("statuses", "valid_from")
    op.drop_column("facts", "invalid_at")
    op.drop_column("facts", "valid_from")
