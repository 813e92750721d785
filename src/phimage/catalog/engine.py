"""The database and every difference between SQLite and PostgreSQL.

Both offer the same calls. `read` is a read-only transaction on one snapshot. `write` is a serialized transaction: on SQLite it
begins IMMEDIATE, so that two writers wait instead of failing; on PostgreSQL writers queue for the row lock of `head` (see
`revisions`). A commit is durable when it returns: SQLite runs with a write-ahead log and `synchronous=FULL`. `fetch` and
`fetch_async` run one SELECT on the event loop. `json_rows` puts many rows into one.

Servers do not wait for a database that is away: the first failed connection opens the circuit breaker, and calls fail at once
until it closes. Commands have `Patience`: they wait for the database and its locks, up to a limit.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Dialect, Engine, RootTransaction, Text, cast, create_engine, event, func
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.pool import ConnectionPoolEntry

from phimage.catalog.address import PREPARED, database_url
from phimage.catalog.circuit import Circuit, no_answer
from phimage.catalog.waits import Guard, not_now
from phimage.errors import NotCached, ServiceUnavailable
from phimage.waiting import NotNow, Patience

if TYPE_CHECKING:
    from phimage.catalog.postgresql import AsyncPool

__all__ = ["BUSY_SECONDS", "Connection", "Database", "Row", "database_url", "json_rows", "open_database"]

BUSY_SECONDS = 5
"""Seconds that a writer waits for another one before its caller gets RetCode 150."""
CONNECT_SECONDS = 2
"""Seconds for a connection to PostgreSQL; libpq has no shorter timeout."""
SILENT_SECONDS = 30
"""Seconds that a writer on PostgreSQL may idle inside its transaction before the server ends it. A machine that vanished during
a transaction would otherwise block all writers."""
_BROKEN_COMMIT = "the connection broke during the commit: check in the log whether the change was made"
_SCHEMA_LOCK = 0x7068_696D_6167_65
"""Any number that other programs on the same PostgreSQL database do not lock; it reads "phimage"."""


Kind = Literal["read", "write", "lookup"]
Row = Sequence[Any]
First = Callable[[Connection], object]
"""The first statements of a transaction, which take its locks."""
Begun = tuple[Connection, RootTransaction]


class CallCounts(Struct):
    """Calls of one kind: their number, how many of them failed, and their total seconds."""

    count: int = 0
    failures: int = 0
    seconds: float = 0.0


class Database:
    """An open database. Safe to use from several threads; not across a fork."""

    def __init__(self, engine: Engine, connecting: Mapping[str, Any] | None = None, patience: Patience | None = None) -> None:
        """`connecting`: further arguments of a PostgreSQL connection. Without `patience` calls fail at once."""
        self.engine = engine
        self._patience = patience
        self._connecting = connecting or {}
        self.circuit = Circuit()
        self.calls: dict[Kind, CallCounts] = {"read": CallCounts(), "write": CallCounts(), "lookup": CallCounts()}
        self._counting = threading.Lock()
        self._sockets: dict[int, socket.socket] = {}
        self._writing = engine.execution_options(phimage_write=True)
        self._pool: AsyncPool | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._closed = False
        event.listen(engine, "checkin", self._close_late)

    @contextmanager
    def read(self, *, probe: bool = False) -> Iterator[Connection]:
        """A read-only transaction on one snapshot. Raises ServiceUnavailable.

        A probe connects even while the circuit breaker is open: its success closes the breaker.
        """
        with self._transaction("read", probe) as connection:
            yield connection

    @property
    def is_missing(self) -> bool:
        """Whether it is an SQLite file that does not exist: the first transaction would create it."""
        return self.is_local and not Path(self.engine.url.database or "").exists()

    @property
    def is_local(self) -> bool:
        """Whether it is an SQLite file, for `fetch`: reading a few rows takes less time than waking a thread."""
        return self.engine.dialect.name == "sqlite"

    def fetch(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """The rows of a SELECT on SQLite, for the event loop. Raises NotCached instead of waiting for a lock."""
        begun = time.perf_counter()
        try:
            if self._cursor is None:
                self._cursor = self._open_cursor()
            rows = self._cursor.execute(sql, parameters).fetchall()
        except sqlite3.Error:
            raise NotCached from None  # the caller repeats it in a thread, where the error is reported
        calls = self.calls["lookup"]  # without a lock: only the event loop counts lookups
        calls.count += 1
        calls.seconds += time.perf_counter() - begun
        return rows

    async def fetch_async(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """The rows of a SELECT on PostgreSQL, for the event loop. Raises ServiceUnavailable."""
        self._refuse_closed()
        if self._pool is None:
            self._pool = self._new_pool()
        with self._counted("lookup"):
            return await self._pool.fetch(sql, parameters)

    @property
    def patience(self) -> Patience | None:
        """How long calls wait for a database that is away or locked. None: they fail at once."""
        return self._patience

    def describe(self) -> str:
        """The database for messages. Omits user and options, which may hold passwords."""
        url = self.engine.url
        if url.get_backend_name() == "sqlite":
            return f"the database {url.database}"
        return f"the database {URL.create('postgresql', host=url.host, port=url.port, database=url.database)}"

    @contextmanager
    def write(self, first: First | None = None) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, and rolls back if the block raises.

        `first` takes the locks; with patience it is retried while they are taken. Raises ServiceUnavailable. Whether the change
        was committed is unknown only if its detail names the commit.
        """
        with self._transaction("write", first=first) as connection:
            yield connection

    @contextmanager
    def write_alone(self) -> Iterator[Connection]:
        """A writing transaction that excludes all others of its kind, in all processes: for schema changes."""
        with self.write(_lock_schema) as connection:
            yield connection

    def cut(self) -> None:
        """Make every call that waits for PostgreSQL raise ServiceUnavailable in its thread. Safe from any thread.

        For a database that accepted a call and fell silent: libpq waits for it without a timeout.
        """
        for duplicate in list(self._sockets.values()):
            with suppress(OSError):
                duplicate.shutdown(socket.SHUT_RDWR)
        if self._pool is not None:
            self._pool.cut()

    def close(self) -> None:
        """Close all connections: those in use when their transactions end. Later calls raise ServiceUnavailable."""
        self._closed = True
        self.engine.dispose()
        if self._pool is not None:
            self._pool.close()
        if self._cursor is not None:
            self._cursor.connection.close()
            self._cursor = None

    @contextmanager
    def _transaction(self, kind: Kind, probe: bool = False, first: First | None = None) -> Iterator[Connection]:
        if not probe and self._patience is None:
            self.circuit.check()
        with self._counted(kind), _as_unavailable(self.engine.dialect), self._guarded():
            connection, transaction = self._begin_patiently(kind, first)
            with connection, transaction:
                self.circuit.close()
                yield connection
                self._commit(kind, transaction)

    def _commit(self, kind: Kind, transaction: RootTransaction) -> None:
        try:
            transaction.commit()
        except DBAPIError as error:
            if kind == "read" or not error.connection_invalidated:
                raise
            raise ServiceUnavailable(detail=_BROKEN_COMMIT) from error

    @contextmanager
    def _counted(self, kind: Kind) -> Iterator[None]:
        begun, failed = time.perf_counter(), 1
        try:
            yield
            failed = 0
        except ServiceUnavailable:
            raise
        except BaseException:
            failed = 0  # what the block raised is not the database's failure
            raise
        finally:
            with self._counting:
                calls = self.calls[kind]
                calls.count += 1
                calls.failures += failed
                calls.seconds += time.perf_counter() - begun

    def _begin_patiently(self, kind: Kind, first: First | None) -> Begun:
        if self._patience is None:
            return self._begin(kind, first)

        def attempt() -> Begun:
            try:
                return self._begin(kind, first)
            except (DBAPIError, NoConnectionFree) as error:
                failure = not_now(error)
                if failure is None:
                    raise
                raise failure from error

        return self._patience.persist(self.describe(), attempt)

    def _begin(self, kind: Kind, first: First | None) -> Begun:
        connection = self._connect(kind)
        try:
            transaction = connection.begin()
            if first is not None:
                first(connection)
        except BaseException:
            connection.close()
            raise
        return connection, transaction

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Cut the transaction off when PostgreSQL stays silent for longer than the patience lasts."""
        if self._patience is None or self.engine.dialect.name != "postgresql":
            yield
            return
        with Guard(self._patience, self.describe(), self._probe, self.cut) as guard:
            try:
                yield
            except (DBAPIError, ServiceUnavailable) as error:
                if guard.given_up is None or getattr(error, "detail", "") == _BROKEN_COMMIT:
                    raise
                raise self._patience.given_up(self.describe(), guard.given_up) from error

    def _probe(self) -> NotNow | None:
        """Why the database refuses a new connection; None if it accepts one. A pooled connection could itself be silent."""
        dialect = self.engine.dialect
        arguments = dialect.create_connect_args(self.engine.url)[1]
        try:
            dialect.loaded_dbapi.connect(**{**arguments, **self._connecting}).close()
        except dialect.loaded_dbapi.Error as error:
            return not_now(error)
        return None

    def _connect(self, kind: Kind) -> Connection:
        self._refuse_closed()
        try:
            return (self._writing if kind == "write" else self.engine).connect()
        except DBAPIError as error:
            self.circuit.open(no_answer(error.orig))
            raise

    def _open_cursor(self) -> sqlite3.Cursor:
        self._refuse_closed()
        path = self.engine.url.database or ""
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA query_only=ON")
        return connection.cursor()

    def _new_pool(self) -> AsyncPool:
        from phimage.catalog.postgresql import AsyncPool

        address = self.engine.dialect.create_connect_args(self.engine.url)[1]
        return AsyncPool({**address, **self._connecting}, self.circuit)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ServiceUnavailable(detail="the database is closed")

    def _close_late(self, connection: Any, entry: ConnectionPoolEntry) -> None:
        # An abandoned thread, such as a probe of a store that is away, may end its transaction after the pool was closed.
        if self._closed:
            entry.invalidate()

    def _duplicate_socket(self, connection: Any, entry: ConnectionPoolEntry) -> None:
        # libpq's own descriptor number may be reused by another connection before it is shut down.
        self._sockets[id(entry)] = socket.socket(fileno=os.dup(connection.fileno()))

    def _close_duplicate(self, connection: Any, entry: ConnectionPoolEntry) -> None:
        duplicate = self._sockets.pop(id(entry), None)
        if duplicate is not None:
            duplicate.close()


@contextmanager
def _as_unavailable(dialect: Dialect) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise ServiceUnavailable(detail=no_answer(error.orig)) from error
    except dialect.loaded_dbapi.Error as error:  # of a lookup
        raise ServiceUnavailable(detail=no_answer(error)) from error
    except NoConnectionFree as error:
        raise ServiceUnavailable(detail="the database is busy: no connection became free") from error


def json_rows(connection: Connection, *columns: ColumnElement[Any]) -> ColumnElement[str]:
    """An aggregate: these columns of all rows of a group as JSON, an array of arrays in no order."""
    if connection.dialect.name == "sqlite":
        return func.json_group_array(func.json_array(*columns), type_=Text)
    return cast(func.json_agg(func.json_build_array(*columns)), Text)


def _lock_schema(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # SQLite serializes writers anyway
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")


def open_database(url: URL, patience: Patience | None = None, *, durable: bool = True) -> Database:
    """Open a database. Connects at the first call. Unless `durable`, an SQLite file may lose commits when the machine fails."""
    busy = BUSY_SECONDS if patience is None else min(BUSY_SECONDS, patience.notice)  # of one attempt
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": busy})
        event.listen(engine, "connect", partial(_set_up_sqlite, "FULL" if durable else "OFF"))
        event.listen(engine, "begin", _begin_sqlite)
        return Database(engine, patience=patience)
    # Planning a lookup takes longer than running it, so repeated statements are prepared.
    prepared = {"prepare_threshold": None} if url.query.get(PREPARED) == "off" else {}
    connecting = {**_POSTGRESQL, **prepared}
    engine = create_engine(
        url.difference_update_query([PREPARED]),
        pool_pre_ping=True,
        pool_size=8,
        pool_timeout=BUSY_SECONDS,
        connect_args=connecting,
    )
    event.listen(engine, "begin", partial(_begin_postgresql, busy))
    database = Database(engine, connecting, patience)
    event.listen(engine, "connect", database._duplicate_socket)
    event.listen(engine, "close", database._close_duplicate)
    return database


_POSTGRESQL = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 10,  # seconds: detects a vanished machine while a call waits
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}


def _set_up_sqlite(synchronous: str, connection: Any, entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # `_begin_sqlite` begins transactions, not the driver
    for pragma in ("journal_mode=WAL", f"synchronous={synchronous}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("phimage_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _begin_postgresql(busy: float, connection: Connection) -> None:
    if connection.get_execution_options().get("phimage_write", False):
        connection.exec_driver_sql(
            f"SELECT set_config('lock_timeout', '{int(busy * 1000)}ms', true),"
            f" set_config('idle_in_transaction_session_timeout', '{SILENT_SECONDS}s', true)"
        )
    else:  # the isolation that SQLite always has
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
