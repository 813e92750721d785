"""Runs the migrations on the connection that `schema` provides; without one, writes their SQL for `schema_text`."""

from __future__ import annotations

from alembic import context

from phimage.catalog.tables import metadata

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    dialect_name=attributes.get("dialect"),
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
