"""The schema of a database: made once, whole, the same on every database, and never guessed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from phimage.catalog import schema
from phimage.catalog.engine import Database
from phimage.catalog.revisions import head
from phimage.catalog.tables import metadata
from phimage.errors import SetupError


def test_an_empty_database_has_no_version_and_gets_the_newest(empty_database: Database) -> None:
    assert schema.version(empty_database) is None

    schema.make_or_check(empty_database)

    assert schema.version(empty_database) == schema.newest()
    with empty_database.read() as connection:
        assert head(connection) == 0


def test_making_the_schema_again_changes_nothing(empty_database: Database) -> None:
    schema.make_or_check(empty_database)
    schema.make_or_check(empty_database)
    schema.upgrade(empty_database)

    with empty_database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM head")).scalar_one() == 1


def test_the_migrations_make_exactly_the_tables_that_the_program_uses(empty_database: Database) -> None:
    schema.make_or_check(empty_database)

    with empty_database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_schema_of_a_newer_program_is_refused(empty_database: Database) -> None:
    schema.make_or_check(empty_database)
    with empty_database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SetupError, match=r"9999.*use the newer phimage"):
        schema.make_or_check(empty_database)


def test_processes_that_make_the_schema_at_the_same_time_do_not_disturb_each_other(empty_database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(schema.make_or_check, empty_database) for _ in range(4)]:
            done.result()
    assert schema.version(empty_database) == schema.newest()
