"""The address of the database, and what a transaction promises on each."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
from sqlalchemy import text

from phimage.catalog import engine
from phimage.catalog.engine import Database, database_url, open_database
from phimage.catalog.lookup import MAX_EVENT_LOOP_ROWS, Lookup, Statement, statement
from phimage.errors import NotCached, ServiceUnavailable, SetupError
from phimage.maintenance.copy import opened
from tests.conftest import NewDatabase, both_databases

Value = TypeVar("Value")

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


@both_databases
def test_a_transaction_that_ends_after_the_database_was_closed_leaves_no_connection(new_database: NewDatabase) -> None:
    with new_database() as url:
        database = open_database(database_url(url, DATA))
        with database.read() as connection:
            used = connection.connection.dbapi_connection
            assert used is not None
            database.close()

        with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
            used.cursor().execute("SELECT 1")
        with pytest.raises(ServiceUnavailable, match="closed"), database.read():
            pass
        with pytest.raises(ServiceUnavailable, match="closed"):
            fetch_one(database)


@both_databases
def test_a_lookup_after_the_database_was_closed_leaves_no_connection(new_database: NewDatabase) -> None:
    with new_database() as url:
        database = open_database(database_url(url, DATA))
        assert fetch_one(database) == 1
        database.close()

        with pytest.raises(ServiceUnavailable, match="closed"):
            fetch_one(database)


def fetch_one(database: Database) -> object:
    if database.is_local:
        return database.fetch("SELECT 1", {})[0][0]
    return asyncio.run(database.fetch_async("SELECT 1", {}))[0][0]


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


THINGS = statement("SELECT name FROM thing WHERE name <> :but LIMIT :max_rows")
NOWHERE = statement("SELECT name FROM nowhere WHERE name <> :but LIMIT :max_rows")


def names(statement: Statement = THINGS) -> Lookup[list[str]]:
    return Lookup(statement, {"but": "none"}, lambda rows: sorted(name for (name,) in rows))


async def looked_up(database: Database, lookup: Lookup[Value]) -> Value:
    """The result of a lookup on the event loop."""
    return lookup.run(database) if database.is_local else await lookup.run_async(database)


@pytest.fixture
def things(empty_database: Database) -> Database:
    """A database with a table in which nothing is."""
    with empty_database.write() as connection:
        connection.execute(text("CREATE TABLE thing (name TEXT)"))
    return empty_database


def add(database: Database, *found: str) -> None:
    with database.write() as connection:
        connection.execute(text("INSERT INTO thing VALUES (:name)"), [{"name": name} for name in found])


def test_a_lookup_sees_what_was_committed_and_a_transaction_answers_the_same(things: Database) -> None:
    async def both() -> list[list[str]]:
        found = []
        for name in ("one", "two"):
            add(things, name)
            found.append(await looked_up(things, names()))
        return found

    assert asyncio.run(both()) == [["one"], ["one", "two"]]
    with things.read() as connection:
        assert names().run_in(connection) == ["one", "two"]


def test_many_lookups_at_once_are_all_answered(things: Database) -> None:
    add(things, "one")

    async def many() -> list[list[str]]:
        return await asyncio.gather(*(looked_up(things, names()) for _ in range(50)))

    assert asyncio.run(many()) == [["one"]] * 50
    assert things.calls["lookup"].count == 50


def test_a_long_answer_is_not_for_the_event_loop(things: Database) -> None:
    add(things, *map(str, range(MAX_EVENT_LOOP_ROWS)))
    assert len(asyncio.run(looked_up(things, names()))) == MAX_EVENT_LOOP_ROWS

    add(things, "one more")
    with pytest.raises(NotCached):
        asyncio.run(looked_up(things, names()))
    with things.read() as connection:
        assert len(names().run_in(connection)) == MAX_EVENT_LOOP_ROWS + 1


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_lookup_in_a_file_waits_for_no_writer(things: Database) -> None:
    with things.write() as connection:
        connection.execute(text("INSERT INTO thing VALUES ('not yet')"))
        assert names().run(things) == []


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_lookup_in_a_file_that_cannot_be_opened_is_for_a_thread(things: Database, tmp_path: Path) -> None:
    with opened(tmp_path / "nowhere" / "catalog.sqlite") as nowhere, pytest.raises(NotCached):
        names().run(nowhere)


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_lookup_in_a_file_waits_for_no_lock(things: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 120)
    path = tmp_path / "locked.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("CREATE TABLE thing (name TEXT)")
        holder.execute("BEGIN EXCLUSIVE")
        with opened(path) as locked:
            begun = time.monotonic()
            with pytest.raises(NotCached):
                names().run(locked)
            assert time.monotonic() - begun < 60
            holder.execute("COMMIT")
            assert names().run(locked) == []


def test_a_lookup_that_gets_no_answer_costs_the_next_one_nothing(things: Database) -> None:
    add(things, "one")

    async def ask() -> list[str]:
        for _ in range(20):  # more than there are connections
            with pytest.raises((NotCached, ServiceUnavailable)):
                await looked_up(things, names(NOWHERE))
        return await looked_up(things, names())

    assert asyncio.run(ask()) == ["one"]
    with pytest.raises(ServiceUnavailable, match="did not answer"), things.read() as connection:
        names(NOWHERE).run_in(connection)


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_connections_that_the_other_side_gave_up_while_they_were_idle_are_not_noticed(things: Database) -> None:
    add(things, "one")

    async def ask() -> list[list[str]]:
        found = await asyncio.gather(*(names().run_async(things) for _ in range(5)))
        with things.write() as connection:
            others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
            assert len(connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}")).all()) >= 5
        return [*found, *await asyncio.gather(*(names().run_async(things) for _ in range(5)))]

    assert asyncio.run(ask()) == [["one"]] * 10


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_a_lookup_that_waits_can_be_ended_from_another_thread(things: Database) -> None:
    async def ask() -> None:
        await names().run_async(things)
        with things.write() as connection:
            connection.execute(text("LOCK TABLE thing IN ACCESS EXCLUSIVE MODE"))
            waiting = asyncio.create_task(names().run_async(things))
            here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            while not connection.execute(text(f"SELECT count(*) FROM pg_locks WHERE NOT granted AND {here}")).scalar_one():
                await asyncio.sleep(0.01)
                assert not waiting.done()
            things.circuit.open("it fell silent")
            await asyncio.to_thread(things.cut)
            with pytest.raises(ServiceUnavailable):
                await asyncio.wait_for(waiting, 60)
            connection.rollback()

    with suppress(ServiceUnavailable):  # the writer was cut as well
        asyncio.run(ask())
    things.circuit.close()
    assert asyncio.run(names().run_async(things)) == []


@pytest.mark.parametrize("dialect", ["postgresql"])
@pytest.mark.parametrize(("address", "prepared"), [("", True), ("&prepared=off", False)])
def test_what_is_asked_often_is_prepared_unless_the_address_says_otherwise(
    new_database: NewDatabase, address: str, prepared: bool
) -> None:
    prepared_statements = statement("SELECT name FROM pg_prepared_statements LIMIT :max_rows")

    async def ask(database: Database) -> int:
        for _ in range(10):
            await Lookup(ONE, {"one": "1"}, len).run_async(database)
        return await Lookup(prepared_statements, {}, len).run_async(database)

    with new_database() as url:
        database = open_database(database_url(url + address, DATA))
        try:
            assert bool(asyncio.run(ask(database))) is prepared
        finally:
            database.close()


ONE = statement("SELECT 1 WHERE :one = '1' LIMIT :max_rows")
