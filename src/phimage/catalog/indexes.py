"""The indexes of the tables, and how a database differs from them and from the tables. Migrations make both.

The indexes are not in `tables`, because for the condition of an index SQLAlchemy imports both dialects with all their drivers.
"""

from __future__ import annotations

from collections.abc import Iterator

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Index, Table, text

from phimage.catalog import tables


def _live(table: Table) -> None:
    """At most one row of a key is valid at any revision."""
    keys = [column for column in table.primary_key if column.name != "since"]
    live = text(f"until = {tables.LIVE}")
    Index(f"uq_{table.name}_live", *keys, unique=True, sqlite_where=live, postgresql_where=live)


def _index(table: Table, *columns: str) -> None:
    Index(f"ix_{table.name}_{'_'.join(columns)}", *(table.c[name] for name in columns))


def differences(connection: Connection) -> Iterator[str]:
    """How the tables and indexes of a database differ from the program's."""
    yield from map(str, compare_metadata(MigrationContext.configure(connection), tables.metadata))


for versioned in tables.metadata.tables.values():
    if "since" in versioned.c:
        _live(versioned)
for owned in (tables.user, tables.key, tables.project, tables.membership):
    _index(owned, "account", "until")
_index(tables.image, "project", "until")
_index(tables.image_bytes, "project", "until")
_index(tables.revision, "time")
_index(tables.change, "scope", "revision")
_index(tables.nonce, "time")
_index(tables.login_code, "expires")
_index(tables.console_session, "key")
_index(tables.console_session, "used")
_index(tables.job, "image")
_index(tables.job, "state", "created")
_index(tables.job, "token")
_index(tables.host, "project", "until")
_index(tables.host, "image", "until")
_index(tables.host_key, "host")
_index(tables.host_order, "host")
_index(tables.host_order, "state")
_index(tables.host_order, "image")
_dated = text("deprecation_time > 0")
Index("ix_image_deprecation_time", tables.image.c.deprecation_time, sqlite_where=_dated, postgresql_where=_dated)
