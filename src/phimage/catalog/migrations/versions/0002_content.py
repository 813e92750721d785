"""Adds the bytes of images, and quotas. Programs of schema 0001 continue"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
compatible_with = "0001"


LIVE = sa.text("until = 9223372036854775807")


def upgrade() -> None:
    """Add two versioned tables, and columns of jobs."""
    op.create_table(
        "content",
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_digest", sa.Text(), nullable=False),
        sa.Column("digest_origin", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("overrides", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("published", sa.BigInteger(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("image", "since", name=op.f("pk_content")),
    )
    op.create_index("uq_content_live", "content", ["image"], unique=True, sqlite_where=LIVE, postgresql_where=LIVE)
    op.create_index("ix_content_project_until", "content", ["project", "until"])
    op.create_table(
        "quota",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("most", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project", "since", name=op.f("pk_quota")),
    )
    op.create_index("uq_quota_live", "quota", ["project"], unique=True, sqlite_where=LIVE, postgresql_where=LIVE)
    op.add_column("job", sa.Column("project", sa.Text(), nullable=False, server_default=""))
    op.add_column("job", sa.Column("actor", sa.Text(), nullable=False, server_default=""))
    op.add_column("job", sa.Column("token", sa.Text(), nullable=False, server_default=""))
    op.add_column("job", sa.Column("reserved", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("ix_job_token", "job", ["token"])
