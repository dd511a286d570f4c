"""Rows of kilobytes in SQLite's ordinary tables: in those without a rowid they make trees of four branches a node.

Looking for vectors and adding some took several times as long, and more the more there were. What is freed in the file
is used again.

Revision ID: 0008
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

TABLES = ("analyses", "learning_vectors", "answers", "versions")
# In the order in which views read them.
IN_ORDER = """
INSERT INTO analyses SELECT a.*
FROM (SELECT namespace, content, min(number) AS first FROM passages GROUP BY namespace, content ORDER BY first) AS p
CROSS JOIN analyses_before AS a ON a.namespace = p.namespace AND a.content = p.content
"""


def upgrade() -> None:
    _make_anew("")


def downgrade() -> None:
    _make_anew(" WITHOUT ROWID")


def _make_anew(ending: str) -> None:
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    for table in TABLES:
        query = sa.text("SELECT type, sql FROM sqlite_master WHERE tbl_name = :table AND sql IS NOT NULL")
        made = connection.execute(query, {"table": table}).all()
        (created,) = (sql for kind, sql in made if kind == "table")
        op.rename_table(table, f"{table}_before")
        connection.exec_driver_sql(re.sub(r"\)\s*(WITHOUT ROWID)?\s*$", f"\n){ending}\n\n", created))
        if table == "analyses":
            op.execute(IN_ORDER)
        op.execute(f"INSERT OR IGNORE INTO {table} SELECT * FROM {table}_before")  # noqa: S608 - names of ours
        op.drop_table(f"{table}_before")
        for kind, sql in made:
            if kind == "index":
                connection.exec_driver_sql(sql)
