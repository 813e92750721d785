"""Making and checking the schema of a database."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from phimage.catalog.engine import Database
from phimage.errors import SetupError


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def newest() -> str:
    """The schema version that this program works with."""
    found = ScriptDirectory.from_config(_config(None)).get_current_head()
    assert found is not None
    return found


def version(database: Database) -> str | None:
    """The schema version of a database; None when it is empty."""
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(database: Database) -> None:
    """Bring a database to the newest schema, in one transaction. Whoever comes second finds it done."""
    with database.write_alone() as connection:
        command.upgrade(_config(connection), "head")


def make_or_check(database: Database) -> None:
    """Make the schema in an empty database. Raises SetupError when there is one that this program does not know."""
    found = version(database)
    if found is None:
        upgrade(database)
    elif found != newest():
        known = {script.revision for script in ScriptDirectory.from_config(_config(None)).walk_revisions()}
        if found in known:
            raise SetupError(f"the database has schema {found}, this phimage needs {newest()}: run `phimage db upgrade`")
        raise SetupError(f"the database has schema {found}, which this phimage does not know: use the newer phimage")
