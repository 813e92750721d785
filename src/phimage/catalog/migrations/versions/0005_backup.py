"""Adds holds on garbage collection, and the times of backups. Programs of schema 0001 continue"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
compatible_with = "0001"


def upgrade() -> None:
    """Add two tables."""
    op.create_table(
        "hold",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold")),
    )
    op.create_table(
        "backup",
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("finished", sa.Float(), nullable=False),
        sa.Column("verified", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_backup")),
    )
