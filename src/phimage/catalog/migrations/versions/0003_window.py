"""Which programs may work with the database, beside the newest revision, where a writer reads it anyway"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
compatible_with = "0001"


def upgrade() -> None:
    """Add a column with a constant default, which rewrites no row."""
    op.add_column("head", sa.Column("oldest", sa.Text(), nullable=False, server_default="0001"))
