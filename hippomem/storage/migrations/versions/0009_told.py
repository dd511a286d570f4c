"""The place among others of what was updated: its first number, and when it was recorded first.

Revision ID: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

FIRST = """
UPDATE passages SET
  told = (SELECT min(v.number) FROM versions AS v
          WHERE v.namespace = passages.namespace AND v.passage = passages.number AND v.number < passages.number),
  told_at = (SELECT min(v.recorded_at) FROM versions AS v
             WHERE v.namespace = passages.namespace AND v.passage = passages.number)
WHERE EXISTS (SELECT 1 FROM versions AS v WHERE v.namespace = passages.namespace AND v.passage = passages.number)
"""


def upgrade() -> None:
    op.add_column("passages", sa.Column("told", sa.BigInteger().with_variant(sa.Integer, "sqlite")))
    op.add_column("passages", sa.Column("told_at", sa.DateTime(timezone=True)))
    op.execute(FIRST)


def downgrade() -> None:
    op.drop_column("passages", "told_at")
    op.drop_column("passages", "told")
