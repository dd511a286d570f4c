"""Spaced replay: reviews with their log, uses, what became of passages and facts, strengths of edges."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0002"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("changes", sa.Column("detail", sa.JSON))
    op.create_table(
        "reviews",
        *_of_passage(
            "reviews",
            sa.Column("channel", sa.String(8), primary_key=True),
            sa.Column("last_review", Moment, nullable=False),
            sa.Column("due", Moment, nullable=False),
            sa.Column("stability", sa.Float, nullable=False),
            sa.Column("difficulty", sa.Float, nullable=False),
            sa.Column("step", sa.Integer, nullable=False),
            sa.Column("reviews", sa.Integer, nullable=False),
            sa.Column("lapses", sa.Integer, nullable=False),
            sa.Column("failures", sa.Integer, nullable=False),
            sa.Column("uses", sa.Integer, nullable=False),
            sa.Column("state", sa.String(8), nullable=False),
            sa.Column("attempts", sa.Integer, nullable=False),
            sa.Column("token", Number, nullable=False),
            sa.Column("lease_until", Moment),
        ),
        sqlite_with_rowid=False,
    )
    for column in ("due", "last_review"):
        columns = ["namespace", "channel", "state", column]
        op.create_index(f"ix_reviews_{'_'.join(columns)}", "reviews", columns)
    op.create_table(
        "review_log",
        sa.Column("number", Number, primary_key=True, autoincrement=True),
        sa.Column("namespace", sa.Integer, nullable=False),
        sa.Column("passage", Number, nullable=False),
        sa.Column("channel", sa.String(8), nullable=False),
        sa.Column("token", Number, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("grade", sa.Integer, nullable=False),
        sa.Column("predicted", sa.Float, nullable=False),
        sa.Column("reason", sa.String(8), nullable=False),
        sa.Column("rehearsed", sa.Boolean, nullable=False),
        sa.ForeignKeyConstraint(
            ["namespace", "passage"],
            ["passages.namespace", "passages.number"],
            name="fk_review_log_namespace_passage",
        ),
        sa.UniqueConstraint("namespace", "passage", "channel", "token", name="uq_review_log_namespace_passage"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_review_log_namespace_at", "review_log", ["namespace", "at"])
    op.create_table(
        "usages",
        *_of_passage(
            "usages",
            sa.Column("uses", sa.Integer, nullable=False),
            sa.Column("last_used_at", Moment, nullable=False),
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "statuses",
        *_of_passage(
            "statuses",
            sa.Column("archived_at", Moment),
            sa.Column("merged_into", sa.String(32)),
            sa.Column("invalid_at", Moment),
            sa.Column("flag", sa.String(32)),
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "validities",
        *_of_passage(
            "validities",
            sa.Column("fact", sa.String(32), primary_key=True),
            sa.Column("valid_from", Moment),
            sa.Column("invalid_at", Moment),
            sa.Column("by_passage", sa.String(32)),
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "strengths",
        *_of_passage(
            "strengths",
            sa.Column("entity", Number, primary_key=True),
            sa.Column("strength", sa.Float, nullable=False),
            sa.Column("pending", sa.Integer, nullable=False),
            sa.Column("at", Moment, nullable=False),
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cues",
        *_of_passage(
            "cues",
            sa.Column("key", sa.String(255), primary_key=True),
            sa.Column("name", sa.Text, nullable=False),
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "semantic_facts",
        sa.Column("namespace", sa.Integer, primary_key=True),
        sa.Column("subject", Number, primary_key=True),
        sa.Column("relation", sa.String(255), primary_key=True),
        sa.Column("object", Number, primary_key=True),
        sa.Column("events", sa.Integer, nullable=False),
        sa.Column("sources", sa.Integer, nullable=False),
        sa.Column("promoted_at", Moment, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "schedules",
        sa.Column("namespace", sa.Integer, sa.ForeignKey("namespaces.number"), primary_key=True),
        sa.Column("wall", Moment, nullable=False),
        sa.Column("moment", Moment, nullable=False),
        sa.Column("overloaded_since", Moment),
        sa.Column("tidied", Number, nullable=False),
    )


def _of_passage(table: str, *columns: Any) -> list[Any]:
    return [
        sa.Column("namespace", sa.Integer, primary_key=True),
        sa.Column("passage", Number, primary_key=True),
        *columns,
        sa.ForeignKeyConstraint(
            ["namespace", "passage"],
            ["passages.namespace", "passages.number"],
            name=f"fk_{table}_namespace_passage",
        ),
    ]


def downgrade() -> None:
    for table in (
        "schedules", "semantic_facts", "cues", "strengths", "validities", "statuses", "usages", "review_log", "reviews",
    ):  # fmt: skip
        op.drop_table(table)
    op.drop_column("changes", "detail")
