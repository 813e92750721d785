"""Adds the bytes that jobs received and that they did not have to store. Programs of schema 0006 continue"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
compatible_with = "0006"


def upgrade() -> None:
    """Add two columns with constant defaults, which rewrites no row."""
    op.add_column("job", sa.Column("sent", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("job", sa.Column("reused", sa.BigInteger(), nullable=False, server_default="0"))
