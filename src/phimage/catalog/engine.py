"""The database and every difference between SQLite and PostgreSQL.

Both are used through the same few calls: `read` gives a transaction that changes nothing, `write` one that is alone
with its changes. On SQLite a write begins IMMEDIATE, so that two writers wait instead of failing; on PostgreSQL writers
take turns at the row of `head` (see `revisions`). A commit is durable when it returns: SQLite runs with a
write-ahead log and `synchronous=FULL`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.pool import ConnectionPoolEntry

from phimage.errors import ServiceUnavailable, SetupError

__all__ = ["BUSY_SECONDS", "Connection", "Database", "database_url", "open_database"]

BUSY_SECONDS = 5
"""How long a writer waits for another one before the caller gets RetCode 150."""


PREPARED = "prepared"
"""`?prepared=off` in the address of PostgreSQL: for a pooler between that knows no prepared statements, such as PgBouncer with
`max_prepared_statements = 0`."""

_SCHEMA_LOCK = 0x7068_696D_6167_65
"""Any number that other programs on the same PostgreSQL database do not lock; it reads "phimage"."""


class Database:
    """An open database. Safe to use from several threads; not across a fork."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        postgresql = {"isolation_level": "AUTOCOMMIT"} if engine.dialect.name == "postgresql" else {}
        self._single = engine.execution_options(phimage_single=True, **postgresql)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, all of it as of one moment. Raises ServiceUnavailable when it cannot."""
        with _told_as_unavailable(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def read_one(self) -> Iterator[Connection]:
        """A connection for one statement that only reads: by itself it is as of one moment, so no transaction is begun and
        ended around it, which on PostgreSQL are three more ways there and back."""
        with _told_as_unavailable(), self._single.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits when the block ends well and leaves no trace when it does not."""
        writer = self.engine.execution_options(phimage_write=True)
        with _told_as_unavailable(), writer.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write_alone(self) -> Iterator[Connection]:
        """A writing transaction beside which no other of this kind runs, in whatever process: for changing the schema."""
        with self.write() as connection:
            if connection.dialect.name == "postgresql":  # SQLite's writers are alone anyway
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


@contextmanager
def _told_as_unavailable() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise ServiceUnavailable(detail=f"the database did not answer: {type(error.orig).__name__}") from error
    except NoConnectionFree as error:
        raise ServiceUnavailable(detail="the database is busy: no connection became free") from error


def database_url(text: str, data: Path) -> URL:
    """The address of the database: `postgresql://...` as given, or by default `catalog.sqlite` in the data folder.

    Raises SetupError for anything else.
    """
    if not text:
        return URL.create("sqlite", database=str(data / "catalog.sqlite"))
    try:
        url = make_url(text)
    except ArgumentError:
        raise SetupError("PHIMAGE_DATABASE is not an address; expected postgresql://user@host/database") from None
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername == "sqlite":
        return url
    raise SetupError(f"PHIMAGE_DATABASE names {url.drivername!r}; expected postgresql://... or sqlite:///...")


def open_database(url: URL) -> Database:
    """Open a database without looking into it yet."""
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        # Planning what a new caller waits for takes longer than doing it, so what is asked often is prepared.
        prepared = {"prepare_threshold": None} if url.query.get(PREPARED) == "off" else {}
        engine = create_engine(
            url.difference_update_query([PREPARED]),
            pool_pre_ping=True,
            pool_size=8,
            pool_timeout=BUSY_SECONDS,
            connect_args={"connect_timeout": BUSY_SECONDS, **prepared},
        )
        event.listen(engine, "begin", _begin_postgresql)
    return Database(engine)


def _set_up_sqlite(connection: Any, entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin below, not inside the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_SECONDS * 1000}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("phimage_single", False):
        return
    immediate = options.get("phimage_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("phimage_single", False):
        return
    if options.get("phimage_write", False):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_SECONDS}s'")
    else:  # SQLite has nothing less
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
