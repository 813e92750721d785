"""The database and every difference between SQLite and PostgreSQL.

Both are used through the same few calls: `read` gives a transaction that changes nothing, `write` one that is alone
with its changes. On SQLite a write begins IMMEDIATE, so that two writers wait instead of failing; on PostgreSQL writers
take turns at the row of `head` (see `revisions`). A commit is durable when it returns: SQLite runs with a
write-ahead log and `synchronous=FULL`.

Nobody waits for a database that is away: the first call that gets no connection opens a `Circuit`, and until it is closed
every other call is refused at once. Commands have `Patience` instead: they wait for it, and for its locks, up to a limit.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import sqlalchemy
from msgspec import Struct
from sqlalchemy import Connection, Dialect, Engine, RootTransaction, Table, create_engine, event, insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.pool import ConnectionPoolEntry

from phimage.catalog.address import PREPARED, database_url
from phimage.catalog.circuit import Circuit, no_answer
from phimage.catalog.question import Inquiry
from phimage.catalog.sqlite import File
from phimage.catalog.waits import Guard, not_now
from phimage.errors import ServiceUnavailable
from phimage.waiting import NotNow, Patience

if TYPE_CHECKING:
    from phimage.catalog.postgresql import Lines

__all__ = ["BUSY_SECONDS", "Connection", "Database", "database_url", "insert_rows", "open_database"]

BUSY_SECONDS = 5
"""How long a writer waits for another one before the caller gets RetCode 150."""
CONNECT_SECONDS = 2
"""How long PostgreSQL may take to take a connection; libpq knows nothing shorter."""
SILENT_SECONDS = 30
"""How long a writer on PostgreSQL may do nothing inside its transaction. Then the server ends it: a machine that vanished while
it wrote must not keep the others from writing."""

_BROKEN_COMMIT = "the connection broke during the commit: look into the log whether the change was made"
_SCHEMA_LOCK = 0x7068_696D_6167_65
"""Any number that other programs on the same PostgreSQL database do not lock; it reads "phimage"."""


Kind = Literal["read", "write", "inquiry"]
Value = TypeVar("Value")
First = Callable[[Connection], object]
"""Takes the locks of a transaction, as its first statements."""
Begun = tuple[Connection, RootTransaction]


class Calls(Struct):
    """What the transactions of one kind came to, or the inquiries of the event loop."""

    count: int = 0
    failures: int = 0
    seconds: float = 0.0


class Database:
    """An open database. Safe to use from several threads; not across a fork."""

    def __init__(self, engine: Engine, connecting: Mapping[str, Any] | None = None, patience: Patience | None = None) -> None:
        """`connecting`: with what else than its address the driver connects to PostgreSQL. Without `patience` a call fails at
        once."""
        self.engine = engine
        self._patience = patience
        self._connecting = connecting or {}
        self.circuit = Circuit()
        self.calls: dict[Kind, Calls] = {"read": Calls(), "write": Calls(), "inquiry": Calls()}
        self._counting = threading.Lock()
        self._sockets: dict[int, socket.socket] = {}
        self._writing = engine.execution_options(phimage_write=True)
        self._lines: Lines | None = None
        self._file = File(engine.dialect, engine.url.database or "")
        self._closed = False
        event.listen(engine, "checkin", self._close_late)

    @contextmanager
    def read(self, *, probe: bool = False) -> Iterator[Connection]:
        """A transaction that only reads, all of it as of one moment. Raises ServiceUnavailable when it cannot.

        A probe tries even when the database is known to be away: it is how that is found to be over.
        """
        with self._transaction("read", probe) as connection:
            yield connection

    @property
    def is_missing(self) -> bool:
        """Whether it is an SQLite file that does not exist: the first transaction would create it."""
        return self.is_near and not Path(self.engine.url.database or "").exists()

    @property
    def is_near(self) -> bool:
        """Whether `look` answers: a few rows of a file are here sooner than a thread is woken."""
        return self.engine.dialect.name == "sqlite"

    def look(self, inquiry: Inquiry[Value]) -> Value:
        """What comes of an inquiry, without waiting; for the event loop alone. It is as of one moment.

        Raises NotCached when it is not had at once.
        """
        begun = time.perf_counter()
        value = self._file.look(inquiry)
        calls = self.calls["inquiry"]  # only the event loop counts here
        calls.count += 1
        calls.seconds += time.perf_counter() - begun
        return value

    async def ask(self, inquiry: Inquiry[Value]) -> Value:
        """What comes of an inquiry of PostgreSQL; for the event loop alone. It is as of one moment.

        Raises ServiceUnavailable, and NotCached when the answer is too long for the event loop.
        """
        if self._lines is None:
            self._refuse_closed()
            self._lines = self._new_lines()
        with self._counted("inquiry"):
            return await self._lines.ask(inquiry)

    @property
    def patience(self) -> Patience | None:
        """How long calls wait for a database that is away or locked; None if they fail at once."""
        return self._patience

    def describe(self) -> str:
        """The database in words for people. Without user and options, where passwords are."""
        url = self.engine.url
        if url.get_backend_name() == "sqlite":
            return f"the database {url.database}"
        return f"the database {URL.create('postgresql', host=url.host, port=url.port, database=url.database)}"

    @contextmanager
    def write(self, first: First | None = None) -> Iterator[Connection]:
        """A transaction that commits when the block ends well and leaves no trace when it does not.

        `first` takes the locks that it needs; with patience that is tried again while they are not free. Raises
        ServiceUnavailable; only when its detail speaks of the commit it is not known whether the change was made.
        """
        with self._transaction("write", first=first) as connection:
            yield connection

    @contextmanager
    def write_alone(self) -> Iterator[Connection]:
        """A writing transaction beside which no other of this kind runs, in whatever process: for changing the schema."""
        with self.write(_lock_schema) as connection:
            yield connection

    def cut(self) -> None:
        """End every call that waits for PostgreSQL: it raises ServiceUnavailable in its thread. Can be called from any thread.

        For a database that took a call and then fell silent, for which a client of PostgreSQL waits without end.
        """
        for held in list(self._sockets.values()):
            with suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)
        if self._lines is not None:
            self._lines.cut()

    def close(self) -> None:
        """Close all connections: those in use when their transactions end. Later calls raise ServiceUnavailable."""
        self._closed = True
        self.engine.dispose()
        if self._lines is not None:
            self._lines.close()
        self._file.close()

    @contextmanager
    def _transaction(self, kind: Kind, probe: bool = False, first: First | None = None) -> Iterator[Connection]:
        if not probe and self._patience is None:
            self.circuit.check()
        with self._counted(kind), _told_as_unavailable(self.engine.dialect), self._guarded():
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
        """Cut a transaction off when PostgreSQL falls silent in it for longer than there is patience."""
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
        """Why the database does not take a new connection; None if it does. One of the pool could itself be silent."""
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

    def _new_lines(self) -> Lines:
        from phimage.catalog.postgresql import Lines

        address = self.engine.dialect.create_connect_args(self.engine.url)[1]
        return Lines(self.engine.dialect, {**address, **self._connecting}, self.circuit)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ServiceUnavailable(detail="the database is closed")

    def _close_late(self, connection: Any, entry: ConnectionPoolEntry) -> None:
        # A thread that nobody waits for (a look at a store that is away) may end its transaction after the pool was closed.
        if self._closed:
            entry.invalidate()

    def _hold_socket(self, connection: Any, entry: ConnectionPoolEntry) -> None:
        # A descriptor of our own: one of libpq's could be another connection's by the time that it is shut down.
        self._sockets[id(entry)] = socket.socket(fileno=os.dup(connection.fileno()))

    def _leave_socket(self, connection: Any, entry: ConnectionPoolEntry) -> None:
        held = self._sockets.pop(id(entry), None)
        if held is not None:
            held.close()


@contextmanager
def _told_as_unavailable(dialect: Dialect) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise ServiceUnavailable(detail=no_answer(error.orig)) from error
    except dialect.loaded_dbapi.Error as error:  # of an inquiry
        raise ServiceUnavailable(detail=no_answer(error)) from error
    except NoConnectionFree as error:
        raise ServiceUnavailable(detail="the database is busy: no connection became free") from error


def insert_rows(connection: Connection, table: Table, rows: Iterable[tuple[Any, ...]], batch: int) -> None:
    """Insert many rows, each with a value for every column of the table as the driver takes it.

    Holds at most a batch. Raises SetupError for what the database cannot keep.
    """
    if connection.dialect.name == "postgresql":
        from phimage.catalog.postgresql import copy_rows

        copy_rows(connection, table, rows)
        return
    names = [column.name for column in table.c]
    plain = insert(sqlalchemy.table(table.name, *map(sqlalchemy.column, names)))  # without types, so nothing is converted
    left = iter(rows)
    while some := list(islice(left, batch)):
        connection.execute(plain, [dict(zip(names, row, strict=True)) for row in some])


def _lock_schema(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # SQLite's writers are alone anyway
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")


def open_database(url: URL, patience: Patience | None = None) -> Database:
    """Open a database without looking into it yet."""
    busy = BUSY_SECONDS if patience is None else min(BUSY_SECONDS, patience.notice)  # of one attempt
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": busy})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return Database(engine, patience=patience)
    # Planning what a new caller waits for takes longer than doing it, so what is asked often is prepared.
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
    event.listen(engine, "connect", database._hold_socket)
    event.listen(engine, "close", database._leave_socket)
    return database


_POSTGRESQL = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 10,  # seconds: a machine that vanished is found out while a call waits for it
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}


def _set_up_sqlite(connection: Any, entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin below, not inside the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
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
    else:  # SQLite has nothing less
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
