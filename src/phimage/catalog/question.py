"""A statement that requests wait for: compiled once, and sent straight to the driver.

SQLAlchemy builds it and knows the dialect; what it does for every execution would cost more than the database's own work.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, SelectBase
from sqlalchemy.sql.compiler import SQLCompiler

from phimage.errors import ServiceUnavailable


class Question:
    """A statement that only reads. Rows come as the driver has them: decode them with `Facts.decode`."""

    def __init__(self, statement: SelectBase) -> None:
        self._statement = statement
        self._compiled: dict[str, SQLCompiler] = {}

    def ask(self, connection: Connection, **values: Any) -> list[tuple[Any, ...]]:
        """The rows, for the values of the statement's parameters. Raises ServiceUnavailable when there is no answer."""
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._statement.compile(dialect=dialect)
            assert isinstance(compiled, SQLCompiler)
            self._compiled[dialect.name] = compiled
        named = compiled.construct_params(values)
        order = compiled.positiontup
        try:
            cursor = connection.connection.cursor()
            cursor.execute(str(compiled), named if order is None else [named[name] for name in order])
            return list(cursor.fetchall())
        except dialect.loaded_dbapi.Error as error:
            connection.invalidate(error)  # what it waits for may still be on its way
            raise ServiceUnavailable(detail=f"the database did not answer: {type(error).__name__}") from error
