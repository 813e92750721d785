"""The schema of a database: made once, whole, the same on every database, and never guessed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import Connection, inspect, text

from phimage.catalog import indexes, schema, schema_text
from phimage.catalog.engine import Database
from phimage.catalog.key_encryption import KeyEncryption
from phimage.catalog.places import ZONES
from phimage.catalog.revisions import head
from phimage.catalog.views import Catalog
from phimage.errors import ServiceUnavailable, SetupError
from tests.conftest import MASTER_KEY, NewDatabase, Reopen, opened
from tests.examples import author, zone


def test_an_empty_database_has_no_version_and_gets_the_newest(empty_database: Database) -> None:
    assert schema.version(empty_database) is None

    schema.create_or_check(empty_database)

    assert schema.version(empty_database) == schema.newest()
    with empty_database.read() as connection:
        assert head(connection) == 0


def test_making_the_schema_again_changes_nothing(empty_database: Database) -> None:
    schema.create_or_check(empty_database)
    schema.create_or_check(empty_database)
    schema.upgrade(empty_database)

    with empty_database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM head")).scalar_one() == 1


def test_the_migrations_make_exactly_the_tables_that_the_program_uses(empty_database: Database) -> None:
    schema.create_or_check(empty_database)

    with empty_database.read() as connection:
        assert list(indexes.differences(connection)) == []


def described(connection: Connection) -> dict[str, Any]:
    """All that a database says of its tables, with the rows that a new one has."""
    found = inspect(connection)
    indexes = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index'"
        if connection.dialect.name == "sqlite"
        else "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    )
    return {
        "columns": {
            table: [(column["name"], str(column["type"]), column["nullable"], column["default"]) for column in columns]
            for (_, table), columns in found.get_multi_columns().items()
        },
        "keys": {table: found.get_pk_constraint(table) for table in found.get_table_names()},
        "indexes": sorted(map(tuple, connection.execute(text(indexes)))),
        "rows": [tuple(connection.execute(text(f"SELECT * FROM {table}")).one()) for table in ("head", "alembic_version")],
    }


def test_a_new_database_is_the_one_that_the_migrations_make(empty_database: Database, new_database: NewDatabase) -> None:
    schema.create_or_check(empty_database)

    with new_database() as url, opened(url) as migrated, migrated.write_alone() as connection:
        schema.migrate(connection)
        expected = described(connection)
    with empty_database.read() as connection:
        assert described(connection) == expected


def test_the_text_of_a_new_database_is_that_of_the_migrations() -> None:
    for dialect in get_args(schema_text.Dialect):
        committed = "".join(f"{statement};\n\n" for statement in schema_text.statements(dialect))
        assert committed == schema_text.text_of_migrations(dialect), "write the text anew with `make schema`"


def mark(database: Database, version: str, oldest: str) -> None:
    with database.write() as connection:
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{version}'"))
        connection.execute(text(f"UPDATE head SET oldest = '{oldest}'"))


def test_a_schema_of_a_newer_program_is_refused_if_it_says_so(empty_database: Database) -> None:
    schema.create_or_check(empty_database)
    mark(empty_database, "9999", "9998")

    with pytest.raises(SetupError, match=r"9999 and needs a phimage of schema 9998.*use the newer phimage"):
        schema.create_or_check(empty_database)


def test_a_schema_of_a_newer_program_that_allows_this_one_is_good_enough(empty_database: Database) -> None:
    schema.create_or_check(empty_database)
    mark(empty_database, "9999", schema.newest())

    schema.create_or_check(empty_database)

    assert schema.version(empty_database) == "9999"


def test_an_older_schema_is_refused_with_the_command_that_helps(empty_database: Database) -> None:
    schema.create_or_check(empty_database)
    mark(empty_database, "0001", "0001")

    with pytest.raises(SetupError, match="run `phimage db upgrade`"):
        schema.create_or_check(empty_database)


def test_every_step_says_beside_which_programs_it_can_be() -> None:
    steps = list(schema.migrations())
    assert [step.revision for step in steps] == sorted(step.revision for step in steps)
    assert steps[-1].revision == schema.newest()
    for step in steps:
        assert step.module.compatible_with <= step.revision


def write_step(folder: Path, number: str, after: str, compatible_with: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{number}_later.py").write_text(
        f'''"""A later step"""
import sqlalchemy as sa
from alembic import op

revision, down_revision, compatible_with = "{number}", "{after}", "{compatible_with}"


def upgrade():
    """Go on."""
    {body}
'''
    )


@pytest.fixture
def own(empty_database: Database) -> Catalog:
    """A catalogue whose schema a test may change: its database is used for nothing else."""
    schema.create_or_check(empty_database)
    return Catalog(empty_database, KeyEncryption(MASTER_KEY, os.urandom))


def test_a_program_works_on_beside_a_later_schema_that_allows_it(own: Catalog, reopen: Reopen, tmp_path: Path) -> None:
    write_step(
        tmp_path / "later",
        "8001",
        schema.newest(),
        "0001",
        'op.add_column("zone", sa.Column("hint", sa.Text(), server_default=""))',
    )
    ours = reopen(own)
    assert ours.now(wait=True).topology().zones == {}

    schema.upgrade(own.database, [tmp_path / "later"])

    with ours.change(author()) as change:
        ZONES.put(change, zone())
    ours.refresh()
    assert list(reopen(ours).now(wait=True).topology().zones) == [zone().id]


def test_a_program_stops_before_it_writes_to_a_schema_that_does_not_allow_it(
    own: Catalog, reopen: Reopen, tmp_path: Path
) -> None:
    write_step(tmp_path / "later", "8002", schema.newest(), "8002", "pass")
    ours = reopen(own)

    schema.upgrade(own.database, [tmp_path / "later"])

    with pytest.raises(ServiceUnavailable, match="schema 8002 or newer"), ours.change(author()) as change:
        ZONES.put(change, zone())
    with pytest.raises(ServiceUnavailable, match="schema 8002"):
        ours.refresh()
    with pytest.raises(ServiceUnavailable, match="schema 8002"):
        ours.now(wait=True).topology()
    with own.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM zone")).scalar_one() == 0


def test_a_step_that_finds_a_table_busy_lets_go_and_tries_again(
    own: Catalog, dialect: str, reopen: Reopen, tmp_path: Path
) -> None:
    if dialect != "postgresql":
        pytest.skip("SQLite's writers wait for each other")
    write_step(tmp_path / "later", "8003", schema.newest(), "0001", 'op.add_column("zone", sa.Column("hint", sa.Text()))')
    reading = reopen(own).database.read()
    reading.__enter__().execute(text("SELECT * FROM zone"))
    pauses = []

    def end_reading(seconds: float) -> None:
        pauses.append(seconds)
        reading.__exit__(None, None, None)

    schema.upgrade(own.database, [tmp_path / "later"], end_reading)

    assert len(pauses) == 1
    assert schema.version(own.database) == "8003"


def test_processes_that_make_the_schema_at_the_same_time_do_not_disturb_each_other(empty_database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(schema.create_or_check, empty_database) for _ in range(4)]:
            done.result()
    assert schema.version(empty_database) == schema.newest()
