"""What is of PostgreSQL alone. The driver takes its time to import, so this module is imported where there is one.

`Lines` are connections of the event loop's own, for inquiries of one statement each: no thread is woken, no transaction is
begun. A list of a project that was not asked for before needs two of them. Handing each to a thread and taking the answer back
would cost more than the database's own work, because the threads of a process take turns at one interpreter.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Dialect, Table

from phimage.catalog.circuit import Circuit, no_answer
from phimage.catalog.question import MAX_AT_ONCE, Inquiry, Row, made
from phimage.errors import ServiceUnavailable, SetupError

Value = TypeVar("Value")

CONNECTIONS = 8
"""To PostgreSQL, for each process."""


class Line:
    """A connection to PostgreSQL, with one cursor that is used again and again."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        # A descriptor of our own: libpq's could be another connection's by the time that it is shut down.
        self._held = socket.socket(fileno=os.dup(connection.fileno()))

    async def ask(self, statement: str, parameters: Any) -> Sequence[Row]:
        """The rows. Raises psycopg.Error."""
        await self._cursor.execute(statement, parameters)
        return await self._cursor.fetchall()

    def cut(self) -> None:
        """End what it waits for. Can be called from any thread."""
        with suppress(OSError):
            self._held.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Close it, whatever it is doing."""
        self._connection.pgconn.finish()
        self._held.close()


class Lines:
    """The connections to PostgreSQL of one event loop."""

    def __init__(self, dialect: Dialect, arguments: dict[str, Any], circuit: Circuit) -> None:
        self._dialect = dialect
        self._arguments = arguments
        self._circuit = circuit
        self._turn = asyncio.Semaphore(CONNECTIONS)
        self._open: set[Line] = set()
        self._idle: list[Line] = []

    async def ask(self, inquiry: Inquiry[Value]) -> Value:
        """What comes of an inquiry. Raises ServiceUnavailable, and NotCached when that is more than is made in between."""
        self._circuit.check()
        put = inquiry.question.put(self._dialect, inquiry.values, MAX_AT_ONCE + 1)
        async with self._turn:
            rows = await self._rows(*put)
        return made(inquiry, rows)

    def cut(self) -> None:
        """End everything that is waited for. Can be called from any thread."""
        for line in list(self._open):
            line.cut()

    def close(self) -> None:
        """Close all connections."""
        for line in list(self._open):
            self._end(line)

    async def _rows(self, statement: str, parameters: Any) -> Sequence[Row]:
        while True:
            self._circuit.check()
            was_idle = bool(self._idle)
            line = self._idle.pop() if was_idle else await self._connect()
            try:
                rows = await line.ask(statement, parameters)
            except psycopg.Error as error:
                self._end(line)
                if not was_idle:
                    raise ServiceUnavailable(detail=no_answer(error)) from error
                while self._idle:  # the other side may have given it up long ago, and these with it
                    self._end(self._idle.pop())
            except BaseException:
                self._end(line)
                raise
            else:
                self._idle.append(line)
                self._circuit.close()
                return rows

    async def _connect(self) -> Line:
        try:
            connection = await psycopg.AsyncConnection.connect(autocommit=True, **self._arguments)
        except psycopg.Error as error:
            self._circuit.open(no_answer(error))
            raise ServiceUnavailable(detail=no_answer(error)) from error
        line = Line(connection)
        self._open.add(line)
        return line

    def _end(self, line: Line) -> None:
        self._open.discard(line)
        line.end()


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
