"""A checksum of vectors. Those that are there keep none: to write them all anew would take minutes and as much space.

Revision ID: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("analyses", sa.Column("checksum", sa.BigInteger))


def downgrade() -> None:
    op.drop_column("analyses", "checksum")
