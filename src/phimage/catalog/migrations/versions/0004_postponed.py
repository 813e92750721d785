"""Until when a job is postponed, and how often its source failed in a row"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
compatible_with = "0001"


def upgrade() -> None:
    """Add columns with constant defaults, which rewrites no row."""
    op.add_column("job", sa.Column("not_before", sa.Float(), nullable=False, server_default="0"))
    op.add_column("job", sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
