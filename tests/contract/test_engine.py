"""The address of the database, and what a transaction promises on each."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from phimage.catalog import engine
from phimage.catalog.engine import Database, database_url, open_database
from phimage.errors import ServiceUnavailable, SetupError
from tests.conftest import NewDatabase

DATA = Path("data")


def test_without_an_address_the_catalogue_is_a_file_in_the_data_folder() -> None:
    url = database_url("", DATA)

    assert (url.drivername, url.database) == ("sqlite", str(DATA / "catalog.sqlite"))


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_uses_the_same_driver(scheme: str) -> None:
    url = database_url(f"{scheme}://user:s%40cret@db.example:5433/phimage?sslmode=require", DATA)

    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.password, url.host, url.port, url.database) == ("user", "s@cret", "db.example", 5433, "phimage")
    assert url.query == {"sslmode": "require"}


@pytest.mark.parametrize("address", ["mysql://x/y", "postgresql+asyncpg://x/y", "http://x", "sqlite+aiosqlite:///x"])
def test_another_database_is_refused(address: str) -> None:
    with pytest.raises(SetupError, match="expected postgresql://"):
        database_url(address, DATA)


@pytest.mark.parametrize("address", ["phimage", "postgresql:/x", "://"])
def test_what_is_no_address_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(SetupError, match="is not an address") as caught:
        database_url(address, DATA)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "address",
    ["postgresql://postgres@/x?host=/nonexistent", "postgresql://x@127.0.0.1:1/x", "sqlite:////nonexistent/catalog.sqlite"],
)
def test_a_database_that_does_not_answer_is_told_as_unavailable(address: str) -> None:
    database = open_database(database_url(address, DATA))

    with pytest.raises(ServiceUnavailable) as caught:
        database.read().__enter__()
    database.close()

    assert caught.value.ret_code == 150
    assert "nonexistent" not in caught.value.detail


def test_a_write_commits_when_its_block_ends_well(empty_database: Database) -> None:
    with empty_database.write() as connection:
        connection.execute(text("CREATE TABLE t (x INTEGER)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))

    with empty_database.read() as connection:
        assert connection.execute(text("SELECT x FROM t")).scalars().all() == [1]


def test_a_write_leaves_no_trace_when_its_block_does_not_end_well(empty_database: Database) -> None:
    def write() -> None:
        with empty_database.write() as connection:
            connection.execute(text("CREATE TABLE t (x INTEGER)"))
            connection.execute(text("INSERT INTO t VALUES (1)"))
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write()

    with empty_database.write() as connection:
        connection.execute(text("CREATE TABLE t (x INTEGER)"))


def test_a_read_sees_one_moment_from_its_first_look_to_its_end(empty_database: Database) -> None:
    with empty_database.write() as connection:
        connection.execute(text("CREATE TABLE t (x INTEGER)"))
    with empty_database.read() as reading:
        before = reading.execute(text("SELECT count(*) FROM t")).scalar_one()
        with empty_database.write() as connection:
            connection.execute(text("INSERT INTO t VALUES (1)"))
        assert reading.execute(text("SELECT count(*) FROM t")).scalar_one() == before == 0

    with empty_database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar_one() == 1


def test_a_write_on_sqlite_has_its_turn_before_its_first_statement(
    new_database: NewDatabase, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dialect != "sqlite":
        pytest.skip("on PostgreSQL writers take turns at a row")
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0)
    with new_database() as url:
        database = open_database(database_url(url, DATA))
        with database.write(), pytest.raises(ServiceUnavailable):
            database.write().__enter__()
        database.close()


def test_a_commit_on_sqlite_is_durable(empty_database: Database, dialect: str) -> None:
    if dialect != "sqlite":
        pytest.skip("PostgreSQL's own settings say it")
    with empty_database.read() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2
