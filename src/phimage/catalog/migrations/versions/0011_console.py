"""Adds the login codes and the sessions of the console. Programs of schema 0006 continue"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
compatible_with = "0006"


def upgrade() -> None:
    """Add two tables."""
    op.create_table(
        "login_code",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_login_code")),
    )
    op.create_index("ix_login_code_expires", "login_code", ["expires"])
    op.create_table(
        "console_session",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_console_session")),
    )
    op.create_index("ix_console_session_key", "console_session", ["key"])
    op.create_index("ix_console_session_used", "console_session", ["used"])
