"""Adds the nonces of signatures, the last use of keys and their expiry. Programs of schema 0006 continue"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
compatible_with = "0006"


def upgrade() -> None:
    """Add two tables and a column."""
    op.create_table(
        "nonce",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "nonce", name=op.f("pk_nonce")),
    )
    op.create_index("ix_nonce_time", "nonce", ["time"])
    op.create_table(
        "key_use",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_key_use")),
    )
    op.add_column("key", sa.Column("expires", sa.BigInteger(), nullable=False, server_default="0"))
