"""A copy of a database that is in use, as one SQLite file.

The rows of a live SQLite database may be in its write-ahead log alone, so its files are never copied: SQLite's online backup
reads the database as of one moment, through the log. Of PostgreSQL the rows are copied.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy.engine import URL

from phimage.catalog import tables
from phimage.catalog.copy import Copy, Progress, copy, digests
from phimage.catalog.engine import Database, open_database
from phimage.errors import SetupError


def snapshot(source: Database, path: Path, progress: Progress = lambda table, rows: None) -> Copy:
    """Copy a database to a new file, mode 0600, and read it back. Raises SetupError, ServiceUnavailable.

    The copy has no holds: they are for collections in the store of the source.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    if source.engine.dialect.name == "sqlite":
        _back_up(source, path)
    else:
        with opened(path) as target:
            copy(source, target, progress)
    with opened(path) as target:
        with target.write() as connection:
            connection.execute(tables.hold.delete())
        found = digests(target, progress)
    _into_one_file(path)
    return found


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    """An SQLite file as a database."""
    database = open_database(URL.create("sqlite", database=str(path)))
    try:
        yield database
    finally:
        database.close()


def _back_up(source: Database, path: Path) -> None:
    with closing(source.engine.raw_connection()) as pooled, closing(sqlite3.connect(path)) as target:
        connection = pooled.driver_connection
        assert isinstance(connection, sqlite3.Connection)
        try:
            connection.backup(target)  # all pages in one step: a step that others write between begins anew
        except sqlite3.Error as error:
            raise SetupError(f"the database cannot be copied: {error}; run `phimage db check`") from error


def _into_one_file(path: Path) -> None:
    """End the write-ahead log, so that the file alone is the database."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
