"""An SQLite file as the event loop looks into it: a few rows are here sooner than a thread is woken."""

from __future__ import annotations

import sqlite3
from typing import TypeVar

from sqlalchemy import Dialect

from phimage.catalog.question import MAX_AT_ONCE, Inquiry, made
from phimage.errors import NotCached

Value = TypeVar("Value")


class File:
    """An SQLite database, to look into. It is opened at the first look, and its cursor is used again and again."""

    def __init__(self, dialect: Dialect, path: str) -> None:
        self._dialect = dialect
        self._path = path
        self._cursor: sqlite3.Cursor | None = None

    def look(self, inquiry: Inquiry[Value]) -> Value:
        """What comes of an inquiry. Raises NotCached when that is not had at once."""
        try:
            if self._cursor is None:
                self._cursor = self._open()
            self._cursor.execute(*inquiry.question.put(self._dialect, inquiry.values, MAX_AT_ONCE + 1))
            rows = self._cursor.fetchall()
        except sqlite3.Error:
            raise NotCached from None  # whoever may wait finds out what it is
        return made(inquiry, rows)

    def close(self) -> None:
        """Close it."""
        if self._cursor is not None:
            self._cursor.connection.close()
            self._cursor = None

    def _open(self) -> sqlite3.Cursor:
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA query_only=ON")
        return connection.cursor()
