"""The first schema: documents, passages, analyses, the graph's entities, mentions and facts, and the log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "store_info",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_store_info"),
    )
    op.create_table(
        "namespaces",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.UniqueConstraint("name", name="uq_namespaces_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "documents",
        sa.Column("namespace", sa.Integer, sa.ForeignKey("namespaces.number"), primary_key=True),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("documents", sa.Integer, nullable=False),
        sa.Column("recorded_at", Moment, nullable=False),
    )
    op.create_table(
        "passages",
        sa.Column("number", Number, primary_key=True, autoincrement=True),
        sa.Column("namespace", sa.Integer, sa.ForeignKey("namespaces.number"), nullable=False),
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
        sa.UniqueConstraint("namespace", "id", name="uq_passages_namespace_id"),
        sa.UniqueConstraint("namespace", "number", name="uq_passages_namespace_number"),
        sqlite_autoincrement=True,
    )
    for column in ("source", "session", "content"):
        op.create_index(f"ix_passages_namespace_{column}", "passages", ["namespace", column])
    op.create_table(
        "analyses",
        sa.Column("namespace", sa.Integer, sa.ForeignKey("namespaces.number"), primary_key=True),
        sa.Column("content", sa.String(32), primary_key=True),
        sa.Column("encoder", sa.Integer, primary_key=True),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.Column("sentence_vectors", sa.LargeBinary, nullable=False),
        sa.Column("sentences", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "entities",
        sa.Column("number", Number, primary_key=True, autoincrement=True),
        sa.Column("namespace", sa.Integer, sa.ForeignKey("namespaces.number"), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.UniqueConstraint("namespace", "key", name="uq_entities_namespace_key"),
        sa.UniqueConstraint("namespace", "number", name="uq_entities_namespace_number"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "mentions",
        sa.Column("namespace", sa.Integer, primary_key=True),
        sa.Column("passage", Number, primary_key=True),
        sa.Column("entity", Number, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("lines", sa.BigInteger, nullable=False),
        sa.Column("titled", sa.Boolean, nullable=False),
        sa.ForeignKeyConstraint(["namespace", "passage"], ["passages.namespace", "passages.number"]),
        sa.ForeignKeyConstraint(["namespace", "entity"], ["entities.namespace", "entities.number"]),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_mentions_namespace_entity", "mentions", ["namespace", "entity"])
    op.create_table(
        "facts",
        sa.Column("namespace", sa.Integer, primary_key=True),
        sa.Column("passage", Number, primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("subject", Number, nullable=False),
        sa.Column("object", Number, nullable=False),
        sa.Column("subject_name", sa.Text, nullable=False),
        sa.Column("relation", sa.Text, nullable=False),
        sa.Column("object_name", sa.Text, nullable=False),
        sa.Column("extractor", sa.String(128), nullable=False),
        sa.ForeignKeyConstraint(["namespace", "passage"], ["passages.namespace", "passages.number"]),
        sa.ForeignKeyConstraint(["namespace", "subject"], ["entities.namespace", "entities.number"]),
        sa.ForeignKeyConstraint(["namespace", "object"], ["entities.namespace", "entities.number"]),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_facts_namespace_subject", "facts", ["namespace", "subject"])
    op.create_index("ix_facts_namespace_object", "facts", ["namespace", "object"])
    op.create_table(
        "changes",
        sa.Column("sequence", Number, primary_key=True, autoincrement=True),
        sa.Column("namespace", sa.Integer, sa.ForeignKey("namespaces.number"), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("passage", Number, nullable=False),
        sa.Column("passage_id", sa.String(32), nullable=False),
        sa.Column("previous", Number),
        sa.Column("previous_id", sa.String(32)),
        sa.Column("at", Moment, nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("extractor", sa.String(128)),
        sqlite_autoincrement=True,
    )
    for column in ("sequence", "passage_id", "previous_id"):
        op.create_index(f"ix_changes_namespace_{column}", "changes", ["namespace", column])


def downgrade() -> None:
    for table in (
        "changes", "facts", "mentions", "entities", "analyses", "passages", "documents", "namespaces", "store_info",
    ):  # fmt: skip
        op.drop_table(table)
