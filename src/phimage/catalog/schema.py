"""The schema of a database: creates, checks and upgrades it.

During an upgrade, old and new programs work on one database. Each migration in `migrations/versions` names with
`compatible_with` the oldest schema whose programs can continue; `head.oldest` is the newest of these. A program starts on its
own schema and on a newer one that allows it, and stops when a migration excludes it.

An empty database gets the newest schema from a text of SQL. Alembic is imported where it is used: for upgrades alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from msgspec import Struct
from sqlalchemy import Connection, Text, column, inspect, select, table, update

from phimage.catalog import schema_text, tables
from phimage.catalog.engine import Database
from phimage.catalog.waits import not_now
from phimage.errors import ServiceUnavailable, SetupError
from phimage.waiting import Patience

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import Script

LOCK_SECONDS = 1
"""Seconds that a migration on PostgreSQL waits for a table lock. All other users of the table queue behind it."""
TRIES = 10
PAUSE_SECONDS = 1.0

_ALEMBIC = table("alembic_version", column("version_num", Text))


def configuration(connection: Connection | None, further: Sequence[Path] = (), output: TextIO | None = None) -> Config:
    """Alembic's configuration. `further` are folders of migrations beside the program's own; `output` receives SQL text."""
    from alembic.config import Config

    folder = schema_text.FOLDER
    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", os.pathsep.join(map(str, (folder / "versions", *further))))
    config.attributes["connection"] = connection
    return config


def newest() -> str:
    """The schema version of this program."""
    return tables.SCHEMA


def version(database: Database) -> str | None:
    """The schema version of a database; None if it is empty."""
    with database.read() as connection:
        return version_of(connection)


def version_of(connection: Connection) -> str | None:
    """The schema version inside a transaction; None if the database is empty."""
    if not inspect(connection).has_table(_ALEMBIC.name):
        return None
    found: str | None = connection.execute(select(_ALEMBIC.c.version_num)).scalar_one_or_none()
    return found


class Status(Struct, frozen=True):
    """The schema of a database, and the oldest schema whose programs may use it. None and "" if it is empty."""

    version: str | None
    oldest: str


def status(database: Database) -> Status:
    """The status of a database."""
    with database.read() as connection:
        found = version_of(connection)
        has = found is not None and "oldest" in {column["name"] for column in inspect(connection).get_columns("head")}
        oldest = connection.execute(select(tables.head.c.oldest)).scalar_one() if has else found or ""
        return Status(found, oldest)


def upgrade(database: Database, further: Sequence[Path] = (), sleep: Callable[[float], None] = time.sleep) -> None:
    """Upgrade a database to the newest schema, in one transaction. Does nothing if another process has done it.

    Other programs may run meanwhile: if a table is not free within LOCK_SECONDS, the upgrade is retried, with patience as long
    as that lasts. `further` are folders of migrations beside the program's own.
    """

    def attempt() -> None:
        with database.write_alone() as connection:
            upgrade_on(connection, further)

    if database.patience is not None:
        _upgrade_patiently(database, database.patience, attempt)
        return
    for left in reversed(range(TRIES)):
        try:
            attempt()
            return
        except ServiceUnavailable:
            if not left:
                raise
        sleep(PAUSE_SECONDS)


def _upgrade_patiently(database: Database, patience: Patience, attempt: Callable[[], None]) -> None:
    def locked() -> None:
        try:
            attempt()
        except ServiceUnavailable as error:
            failure = not_now(error.__cause__) if isinstance(error.__cause__, Exception) else None
            if failure is None:
                raise
            raise failure from error

    patience.persist(database.describe(), locked)


def upgrade_on(connection: Connection, further: Sequence[Path] = ()) -> None:
    """Upgrade inside the caller's transaction, which must exclude other upgrades."""
    if version_of(connection) is None and not further:
        # docs/decisions.md#a-new-database-gets-a-text
        for statement in schema_text.statements(connection.dialect.name):
            connection.exec_driver_sql(statement)
    else:
        migrate(connection, further)


def migrate(connection: Connection, further: Sequence[Path] = ()) -> None:
    """Run the migrations that a database lacks, like `upgrade_on`."""
    from alembic import command

    if connection.dialect.name == "postgresql":
        # docs/decisions.md#indexes-are-built-inside-the-transaction
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
    command.upgrade(configuration(connection, further), "head")
    connection.execute(update(tables.head).values(oldest=oldest_beside(migrations(further))))


# docs/decisions.md#the-schema-expands-first-and-contracts-a-release-later
def oldest_beside(steps: Sequence[Script]) -> str:
    """The oldest schema whose programs may use a database after these migrations."""
    oldest: str = max(step.module.compatible_with for step in steps)
    return oldest


def migrations(further: Sequence[Path] = ()) -> list[Script]:
    """All migrations, first to last."""
    from alembic.script import ScriptDirectory

    return list(ScriptDirectory.from_config(configuration(None, further)).walk_revisions())[::-1]


def create_or_check(database: Database) -> None:
    """Create the schema in an empty database. Raises SetupError if there is a schema that this program cannot use."""
    if version(database) is None:
        upgrade(database)
    check(database)


def check(database: Database) -> None:
    """Raises SetupError if the database has no schema, or one that this program cannot use."""
    there = status(database)
    found, needed = there.version, there.oldest
    if found is None:
        raise SetupError("the database is empty: run `phimage serve` once")
    if found < newest():
        raise SetupError(f"the database has schema {found}, this phimage needs {newest()}: run `phimage db upgrade`")
    if needed > newest():
        raise SetupError(
            f"the database has schema {found} and needs a phimage of schema {needed} or newer; this one has {newest()}:"
            " use the newer phimage"
        )
