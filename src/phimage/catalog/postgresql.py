"""PostgreSQL's part of `engine` and `copy`. The driver is slow to import, so this module is imported at its first use.

`AsyncPool` holds connections of the event loop, for lookups. Handing each lookup to a thread would cost more than the
database's own work: the threads of a process contend for the GIL.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Table

from phimage.catalog.circuit import Circuit, no_answer
from phimage.errors import ServiceUnavailable, SetupError

MAX_CONNECTIONS = 8
"""Connections of one process."""


class _AsyncConnection:
    """A connection in autocommit mode, with one cursor that is used again and again."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        # libpq's own descriptor number may be reused by another connection before it is shut down.
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))

    async def fetch(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """The rows. Raises psycopg.Error."""
        await self._cursor.execute(sql, parameters)
        return await self._cursor.fetchall()

    def cut(self) -> None:
        """Fail the running statement. Safe from any thread."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, in whatever state it is."""
        self._connection.pgconn.finish()
        self._socket.close()


class AsyncPool:
    """The PostgreSQL connections of one event loop."""

    def __init__(self, connecting: dict[str, Any], circuit: Circuit) -> None:
        self._connecting = connecting
        self._circuit = circuit
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)
        self._open: set[_AsyncConnection] = set()
        self._idle: list[_AsyncConnection] = []

    async def fetch(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """The rows of a SELECT. Raises ServiceUnavailable. A broken idle connection costs a retry, not an error."""
        self._circuit.check()
        async with self._free:
            while True:
                self._circuit.check()
                was_idle = bool(self._idle)
                connection = self._idle.pop() if was_idle else await self._connect()
                try:
                    rows = await connection.fetch(sql, parameters)
                except psycopg.Error as error:
                    self._close(connection)
                    if not was_idle:
                        raise ServiceUnavailable(detail=no_answer(error)) from error
                    while self._idle:  # the server probably closed these, too
                        self._close(self._idle.pop())
                except BaseException:
                    self._close(connection)
                    raise
                else:
                    self._idle.append(connection)
                    self._circuit.close()
                    return rows

    def cut(self) -> None:
        """Fail all running statements. Safe from any thread."""
        for connection in list(self._open):
            connection.cut()

    def close(self) -> None:
        """Close all connections."""
        for connection in list(self._open):
            self._close(connection)

    async def _connect(self) -> _AsyncConnection:
        try:
            driver = await psycopg.AsyncConnection.connect(autocommit=True, **self._connecting)
        except psycopg.Error as error:
            self._circuit.open(no_answer(error))
            raise ServiceUnavailable(detail=no_answer(error)) from error
        connection = _AsyncConnection(driver)
        self._open.add(connection)
        return connection

    def _close(self, connection: _AsyncConnection) -> None:
        self._open.discard(connection)
        connection.close()


def copy_rows(connection: Connection, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert many rows, each with a value for every column. Raises SetupError for what PostgreSQL cannot keep."""
    driver: Any = connection.connection.driver_connection
    copying = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table.name), sql.SQL(", ").join(sql.Identifier(column.name) for column in table.c)
    )
    try:
        with driver.cursor() as cursor, cursor.copy(copying) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.OperationalError as error:
        raise ServiceUnavailable(detail=no_answer(error)) from error
    except psycopg.Error as error:
        raise SetupError(f"PostgreSQL cannot keep a row of table {table.name}: {error}") from error
