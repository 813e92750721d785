"""Making, checking and changing the schema of a database.

Old and new programs work side by side on one database while it is upgraded. Each step in `migrations/versions` says with
`compatible_with` which is the oldest schema whose programs can go on beside it; the database keeps the newest of those in
`head.oldest`. A program starts on its own schema and on a newer one that allows it, and stops working when a step comes that
does not.

Alembic is imported where it is used: most starts find their schema and do without it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from sqlalchemy import Connection, Text, column, inspect, select, table, update

from phimage.catalog import tables
from phimage.catalog.engine import Database
from phimage.catalog.waits import not_now
from phimage.errors import ServiceUnavailable, SetupError
from phimage.waiting import Patience

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import Script

LOCK_SECONDS = 1
"""How long a step on PostgreSQL waits for a table, while everybody who wants it waits behind."""
TRIES = 10
PAUSE_SECONDS = 1.0

_FOLDER = Path(__file__).parent / "migrations"
_ALEMBIC = table("alembic_version", column("version_num", Text))


def _config(connection: Connection | None, further: Sequence[Path] = ()) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", os.pathsep.join(map(str, (_FOLDER / "versions", *further))))
    config.attributes["connection"] = connection
    return config


def newest() -> str:
    """The schema version that this program works with."""
    return tables.SCHEMA


def version(database: Database) -> str | None:
    """The schema version of a database; None when it is empty."""
    with database.read() as connection:
        return version_of(connection)


def version_of(connection: Connection) -> str | None:
    """The same, inside a transaction."""
    if not inspect(connection).has_table(_ALEMBIC.name):
        return None
    found: str | None = connection.execute(select(_ALEMBIC.c.version_num)).scalar_one_or_none()
    return found


class Status(Struct, frozen=True):
    """What a database has: its schema, and the oldest schema whose programs may work with it. None and "" when it is empty."""

    version: str | None
    oldest: str


def status(database: Database) -> Status:
    """What a database has."""
    with database.read() as connection:
        found = version_of(connection)
        has = found is not None and "oldest" in {column["name"] for column in inspect(connection).get_columns("head")}
        oldest = connection.execute(select(tables.head.c.oldest)).scalar_one() if has else found or ""
        return Status(found, oldest)


def upgrade(database: Database, further: Sequence[Path] = (), sleep: Callable[[float], None] = time.sleep) -> None:
    """Bring a database to the newest schema, in one transaction. Whoever comes second finds it done.

    Others may work on meanwhile: a table that is not free within LOCK_SECONDS is asked for again later, and if the database
    has patience, as long as that lasts. `further` are folders of steps beside the program's own.
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
    """The same, inside a transaction of the caller's, who must be alone."""
    from alembic import command

    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
    command.upgrade(_config(connection, further), "head")
    oldest = max(step.module.compatible_with for step in steps(further))
    connection.execute(update(tables.head).values(oldest=oldest))


def steps(further: Sequence[Path] = ()) -> list[Script]:
    """All steps, first to last."""
    from alembic.script import ScriptDirectory

    return list(ScriptDirectory.from_config(_config(None, further)).walk_revisions())[::-1]


def make_or_check(database: Database) -> None:
    """Make the schema in an empty database. Raises SetupError when there is one that this program cannot work with."""
    if version(database) is None:
        upgrade(database)
    check(database)


def check(database: Database) -> None:
    """Raises SetupError when the database has no schema, or one that this program cannot work with."""
    there = status(database)
    found, needed = there.version, there.oldest
    if found is None:
        raise SetupError("the database is empty: run `phimage serve` once")
    if found < newest():
        raise SetupError(f"the database has schema {found}, this phimage needs {newest()}: run `phimage db upgrade`")
    if needed > newest():
        raise SetupError(
            f"the database has schema {found}, which this phimage does not know: use the newer phimage"
            f" (it needs one of schema {needed} or newer, this one has {newest()})"
        )
