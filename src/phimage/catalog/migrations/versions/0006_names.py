"""Renames tables, columns and roles to the names of the code. Programs of earlier schemas cannot continue"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

# docs/decisions.md#names-change-once-before-010
revision = "0006"
down_revision = "0005"
compatible_with = "0006"

LIVE = 2**63 - 1


def upgrade() -> None:
    """Rename. Rows of past revisions are renamed, too, so that `/rev/N/` answers stay the same."""
    op.drop_index("uq_content_live", "content")
    op.drop_index("ix_content_project_until", "content")
    op.rename_table("content", "image_bytes")
    if op.get_context().dialect.name == "postgresql":  # SQLite stores the name of a primary key in the table's SQL
        op.execute("ALTER INDEX pk_content RENAME TO pk_image_bytes")
    op.alter_column("image_bytes", "wanted", new_column_name="target_state")
    live = sa.text(f"until = {LIVE}")
    op.create_index("uq_image_bytes_live", "image_bytes", ["image"], unique=True, sqlite_where=live, postgresql_where=live)
    op.create_index("ix_image_bytes_project_until", "image_bytes", ["project", "until"])
    op.alter_column("key", "sealed", new_column_name="encrypted")
    op.alter_column("quota", "most", new_column_name="max_bytes")
    op.execute("UPDATE change SET noun = 'image_bytes' WHERE noun = 'content'")
    op.execute("UPDATE membership SET role = 'editor' WHERE role = 'operator'")
