"""Adds labels, deprecation times and successors of images. Programs of schema 0006 continue"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
compatible_with = "0006"


def upgrade() -> None:
    """Add three columns and an index."""
    op.add_column("image", sa.Column("deprecation_time", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("image", sa.Column("successor", sa.Text(), nullable=False, server_default=""))
    op.add_column("image", sa.Column("labels", sa.Text(), nullable=False, server_default="{}"))
    dated = sa.text("deprecation_time > 0")
    op.create_index("ix_image_deprecation_time", "image", ["deprecation_time"], sqlite_where=dated, postgresql_where=dated)
