"""The address of the database, and what a transaction promises on each."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import bindparam, literal_column, select, text

from phimage.catalog import engine
from phimage.catalog.engine import Database, database_url, open_database
from phimage.catalog.question import Question
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


def test_a_read_of_one_statement_sees_what_was_committed(empty_database: Database) -> None:
    with empty_database.write() as connection:
        connection.execute(text("CREATE TABLE thing (name TEXT)"))
    for name in ("one", "two"):
        with empty_database.write() as connection:
            connection.execute(text("INSERT INTO thing VALUES (:name)"), {"name": name})
        with empty_database.read_one() as connection:
            assert name in connection.execute(text("SELECT name FROM thing")).scalars().all()


def test_a_read_of_one_statement_leaves_the_connection_fit_for_transactions(empty_database: Database) -> None:
    with empty_database.write() as connection:
        connection.execute(text("CREATE TABLE thing (name TEXT)"))
    with empty_database.read_one() as connection:
        connection.execute(text("SELECT name FROM thing"))

    with suppress(KeyError), empty_database.write() as connection:
        connection.execute(text("INSERT INTO thing VALUES ('never')"))
        raise KeyError

    with empty_database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM thing")).scalar_one() == 0


NOTHING = Question(select(literal_column("name")).select_from(text("nowhere")))
ONE = Question(select(literal_column("1")).where(literal_column("1") == bindparam("one")))


def test_a_question_that_gets_no_answer_is_told_as_unavailable_and_costs_the_next_one_nothing(empty_database: Database) -> None:
    for _ in range(10):  # more than there are connections
        with pytest.raises(ServiceUnavailable, match="did not answer"), empty_database.read_one() as connection:
            NOTHING.ask(connection)

    with empty_database.read_one() as connection:
        assert [tuple(row) for row in ONE.ask(connection, one=1)] == [(1,)]
        assert ONE.ask(connection, one=2) == []


@pytest.mark.parametrize("dialect", ["postgresql"])
@pytest.mark.parametrize(("address", "prepared"), [("", True), ("&prepared=off", False)])
def test_what_is_asked_often_is_prepared_unless_the_address_says_otherwise(
    new_database: NewDatabase, address: str, prepared: bool
) -> None:
    with new_database() as url:
        database = open_database(database_url(url + address, DATA))
        try:
            with database.read_one() as connection:
                for _ in range(10):
                    ONE.ask(connection, one=1)
                found = connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one()
            assert bool(found) is prepared
        finally:
            database.close()
