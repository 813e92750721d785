"""A statement that requests wait for: compiled once, and sent straight to the driver.

SQLAlchemy builds it and knows the dialect; what it does for every execution would cost more than the database's own work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from msgspec import Struct
from sqlalchemy import BigInteger, CompoundSelect, Connection, Dialect, Select, bindparam
from sqlalchemy.sql.compiler import SQLCompiler

from phimage.errors import NotCached

Value = TypeVar("Value")
Row = Sequence[Any]

ALL = 2**62
"""More rows than there are."""
MAX_AT_ONCE = 200
"""Rows that the event loop reads and decodes while everybody else waits: about a millisecond. More are for a thread."""
_MAX = "max_rows"


class Question:
    """A statement that only reads. Rows come as the driver has them: decode them with `Facts.decode`."""

    def __init__(self, statement: Select[Any] | CompoundSelect[Any]) -> None:
        self._statement = statement.limit(bindparam(_MAX, type_=BigInteger))
        self._compiled: dict[str, tuple[SQLCompiler, str]] = {}

    def put(self, dialect: Dialect, values: dict[str, Any], limit: int) -> tuple[str, Any]:
        """The statement and its parameters for a driver's cursor. The answer has at most so many rows."""
        compiled, text = self._compiled.get(dialect.name) or self._compile(dialect)
        named = compiled.construct_params({**values, _MAX: limit})
        order = compiled.positiontup
        return text, named if order is None else [named[name] for name in order]

    def _compile(self, dialect: Dialect) -> tuple[SQLCompiler, str]:
        compiled = self._statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        self._compiled[dialect.name] = compiled, str(compiled)
        return self._compiled[dialect.name]


class Inquiry(Struct, Generic[Value], frozen=True):
    """A question with the values of its parameters, and what is made of the rows of its answer."""

    question: Question
    values: dict[str, Any]
    make: Callable[[Sequence[Row]], Value]

    def of(self, connection: Connection) -> Value:
        """What a transaction answers. Raises the driver's errors, which `engine` turns into ServiceUnavailable."""
        cursor = connection.connection.cursor()
        cursor.execute(*self.question.put(connection.dialect, self.values, ALL))
        return self.make(cursor.fetchall())


def made(inquiry: Inquiry[Value], rows: Sequence[Row]) -> Value:
    """What comes of at most `MAX_AT_ONCE` + 1 rows. Raises NotCached when there are more than are made in between."""
    if len(rows) > MAX_AT_ONCE:
        raise NotCached
    return inquiry.make(rows)
