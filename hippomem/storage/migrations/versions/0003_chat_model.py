"""What a chat model is asked to do, what it answered, and what that cost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("number", Number, primary_key=True, autoincrement=True),
        sa.Column("namespace", sa.Integer, sa.ForeignKey("namespaces.number"), nullable=False),
        sa.Column("passage", Number, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("prompt", sa.String(32), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("content", sa.String(32), nullable=False),
        sa.Column("ingest", sa.String(32)),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", Moment, nullable=False),
        sa.Column("token", Number, nullable=False),
        sa.Column("reason", sa.Text),
        sa.ForeignKeyConstraint(
            ["namespace", "passage"], ["passages.namespace", "passages.number"], name="fk_jobs_namespace_passage"
        ),
        sa.UniqueConstraint("namespace", "passage", "kind", "prompt", "model", name="uq_jobs_namespace_passage"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_namespace_state", "jobs", ["namespace", "state", "due_at"])
    op.create_index("ix_jobs_token", "jobs", ["token"])
    op.create_table(
        "calls",
        sa.Column("number", Number, primary_key=True, autoincrement=True),
        sa.Column("namespace", sa.Integer, sa.ForeignKey("namespaces.number"), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("ingest", sa.String(32)),
        sa.Column("outcome", sa.String(8), nullable=False),
        sa.Column("began_at", Moment, nullable=False),
        sa.Column("expected_tokens", sa.Integer, nullable=False),
        sa.Column("input_tokens", sa.Integer, nullable=False),
        sa.Column("output_tokens", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("cost", sa.Float),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_calls_namespace_model", "calls", ["namespace", "model"])
    op.create_index("ix_calls_began_at", "calls", ["began_at"])
    op.create_table(
        "answers",
        sa.Column("namespace", sa.Integer, sa.ForeignKey("namespaces.number"), primary_key=True),
        sa.Column("content", sa.String(32), primary_key=True),
        sa.Column("prompt", sa.String(32), primary_key=True),
        sa.Column("model", sa.String(255), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_answers_content", "answers", ["content"])
