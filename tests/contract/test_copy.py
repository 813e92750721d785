"""Moving a catalogue between databases (`maintenance.copy`): both ways, whole or not at all, and proven."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text

from phimage.catalog import schema
from phimage.catalog.engine import Database, database_url, open_database
from phimage.catalog.tables import metadata
from phimage.catalog.views import Catalog
from phimage.errors import SetupError
from phimage.maintenance.check import check
from phimage.maintenance.copy import copy, rows_to_copy
from phimage.model.ids import PublicKey
from tests.conftest import sqlite_first
from tests.contract.full import fill
from tests.postgresql import PostgreSQL

dialect = sqlite_first


@pytest.fixture
def source(catalog: Catalog) -> Catalog:
    fill(catalog)
    return catalog


@pytest.fixture
def target(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of the other kind than the source's."""
    if dialect == "postgresql":
        url = f"sqlite:///{tmp_path / 'copy.sqlite'}"
    else:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        url = server.url(server.create())
    database = open_database(database_url(url, tmp_path))
    yield database
    database.close()


def test_a_copy_is_the_same_catalogue_in_another_kind_of_database(source: Catalog, target: Database) -> None:
    copied = copy(source.database, target)

    other = Catalog(target, source.key_encryption)
    assert copied.revision == other.head == source.head == 3
    mine, theirs = source.now(wait=True), other.now(wait=True)
    assert theirs.base_images() == mine.base_images()
    assert theirs.topology() == mine.topology()
    found = theirs.key(PublicKey("key-main"))
    assert found is not None
    assert found[1].reveal() == "secret"
    assert check(target, source.key_encryption) == []


def test_a_copy_tells_of_every_table_how_many_rows_it_has_and_their_digest(source: Catalog, target: Database) -> None:
    progress: dict[str, int] = {}

    def told(table: str, rows: int) -> None:
        progress[table] = progress.get(table, 0) + rows

    copied = copy(source.database, target, told)

    assert {table.table for table in copied.tables} == set(metadata.tables)
    rows = {table.table: table.rows for table in copied.tables}
    assert (rows["revision"], rows["head"], rows["job"]) == (3, 1, 1)
    assert sum(rows.values()) == rows_to_copy(source.database)
    assert progress == {table: 2 * count for table, count in rows.items() if count}
    digests = {table.table: table.digest for table in copied.tables}
    assert digests["account"] != digests["user"]
    assert all(len(digest) == 64 for digest in digests.values())


def test_a_copy_of_a_copy_has_the_same_digests(source: Catalog, target: Database, tmp_path: Path) -> None:
    copied = copy(source.database, target)
    third = open_database(database_url(f"sqlite:///{tmp_path / 'third.sqlite'}", tmp_path))

    assert copy(target, third) == copied

    third.close()


def test_a_copy_goes_into_a_database_that_has_the_schema_and_nothing_else(source: Catalog, target: Database) -> None:
    schema.upgrade(target)

    assert copy(source.database, target).revision == 3


def test_a_target_that_is_not_empty_is_refused_and_left_alone(source: Catalog, target: Database) -> None:
    copied = copy(source.database, target)
    with target.write() as connection:
        connection.execute(text("UPDATE region SET name_en = 'changed'"))

    with pytest.raises(SetupError, match="not empty"):
        copy(source.database, target)

    with target.read() as connection:
        assert set(connection.execute(text("SELECT name_en FROM region")).scalars()) == {"changed"}
    assert copied.revision == 3


def test_a_target_with_tables_of_another_program_is_refused(source: Catalog, target: Database) -> None:
    with target.write() as connection:
        connection.execute(text("CREATE TABLE theirs (x INTEGER)"))

    with pytest.raises(SetupError, match="not empty"):
        copy(source.database, target)


def test_a_source_of_another_schema_is_refused(source: Catalog, target: Database) -> None:
    with source.database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    try:
        with pytest.raises(SetupError, match="run `phimage db upgrade` first"):
            copy(source.database, target)
        assert schema.version(target) is None
    finally:
        with source.database.write() as connection:
            connection.execute(text(f"UPDATE alembic_version SET version_num = '{schema.newest()}'"))


def test_an_interrupted_copy_leaves_the_target_empty(source: Catalog, target: Database) -> None:
    def interrupt(table: str, rows: int) -> None:
        if table == "image":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(source.database, target, interrupt)

    assert schema.version(target) is None
    assert copy(source.database, target).revision == 3


def test_what_did_not_arrive_as_it_was_sent_is_found(source: Catalog, target: Database) -> None:
    """A trigger of the target's changes a row on its way in."""
    schema.upgrade(target)
    if target.engine.dialect.name == "postgresql":
        statements = [
            "CREATE FUNCTION spoil() RETURNS trigger AS 'BEGIN NEW.version := ''v9''; RETURN NEW; END' LANGUAGE plpgsql",
            "CREATE TRIGGER spoil BEFORE INSERT ON image FOR EACH ROW WHEN (NEW.id = 'pimg-0007') EXECUTE FUNCTION spoil()",
        ]
    else:
        statements = [
            "CREATE TRIGGER spoil AFTER INSERT ON image WHEN NEW.id = 'pimg-0007'"
            " BEGIN UPDATE image SET version = 'v9' WHERE id = 'pimg-0007'; END",
        ]
    with target.write() as connection:
        for statement in statements:
            connection.execute(text(statement))

    with pytest.raises(SetupError, match="table image differs after the copy"):
        copy(source.database, target)

    with target.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM image")).scalar_one() == 0


def test_a_text_that_postgresql_cannot_keep_is_named(source: Catalog, target: Database, dialect: str) -> None:
    if dialect == "postgresql":
        pytest.skip("SQLite keeps it")
    with source.database.write() as connection:
        connection.execute(text("UPDATE image SET description = :odd WHERE id = 'pimg-0007'"), {"odd": "a\0b"})

    with pytest.raises(SetupError, match="cannot keep a row of table image"):
        copy(source.database, target)

    assert schema.version(target) is None


def test_the_source_is_only_read(source: Catalog, target: Database) -> None:
    sent: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    engine: Engine = source.database.engine
    event.listen(engine, "before_cursor_execute", note)
    copy(source.database, target)

    assert sent
    assert {statement.split()[0] for statement in sent} <= {"SELECT", "SET", "PRAGMA", "BEGIN"}
