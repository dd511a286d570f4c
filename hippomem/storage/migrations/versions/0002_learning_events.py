"""What feedback teaches: learning events with their vectors and useful passages, and rehearsals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0003"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Moment = sa.DateTime(timezone=True)
EVENT = ["learning_events.namespace", "learning_events.number"]


def upgrade() -> None:
    op.create_table(
        "learning_events",
        sa.Column("number", Number, primary_key=True, autoincrement=True),
        sa.Column("namespace", sa.Integer, sa.ForeignKey("namespaces.number"), nullable=False),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("query", sa.Text, nullable=False),
        sa.Column("confidence", sa.Float, nullable=False),
        sa.Column("evidence", sa.LargeBinary),
        sa.Column("recorded_at", Moment, nullable=False),
        sa.UniqueConstraint("namespace", "id", name="uq_learning_events_namespace_id"),
        sa.UniqueConstraint("namespace", "number", name="uq_learning_events_namespace_number"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "learning_vectors",
        sa.Column("namespace", sa.Integer, primary_key=True),
        sa.Column("event", Number, primary_key=True),
        sa.Column("encoder", sa.Integer, primary_key=True),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["namespace", "event"], EVENT),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "learning_targets",
        sa.Column("namespace", sa.Integer, primary_key=True),
        sa.Column("event", Number, primary_key=True),
        sa.Column("passage", Number, primary_key=True),
        sa.ForeignKeyConstraint(["namespace", "event"], EVENT),
        sa.ForeignKeyConstraint(["namespace", "passage"], ["passages.namespace", "passages.number"]),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_learning_targets_namespace_passage", "learning_targets", ["namespace", "passage"])
    op.create_table(
        "rehearsals",
        sa.Column("number", Number, primary_key=True, autoincrement=True),
        sa.Column("namespace", sa.Integer, sa.ForeignKey("namespaces.number"), nullable=False),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("events", sa.JSON, nullable=False),
        sa.Column("absorbed", sa.JSON, nullable=False),
        sa.Column("recorded_at", Moment, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_rehearsals_namespace_number", "rehearsals", ["namespace", "number"])


def downgrade() -> None:
    for table in ("rehearsals", "learning_targets", "learning_vectors", "learning_events"):
        op.drop_table(table)
