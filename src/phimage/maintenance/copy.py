"""Copies of a catalogue: into another, empty database, and into one SQLite file for a backup.

A copy reads one snapshot and writes one transaction. So the source may be in use, and an interrupted copy leaves the target
unchanged. Digests of all tables prove that the copy is equal. It copies rows of any table, so it needs SQLAlchemy.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy
from msgspec import Struct
from sqlalchemy import Connection, Table, Text, func, insert, inspect, select, type_coerce
from sqlalchemy.engine import URL

from phimage.catalog import schema, tables
from phimage.catalog.engine import Database, open_database
from phimage.catalog.revisions import head
from phimage.errors import SetupError
from phimage.model.ids import Revision

BATCH = 2000
"""Rows in memory at once."""


class TableDigest(Struct, frozen=True):
    """The rows of one table. The digest does not depend on their order or database."""

    table: str
    rows: int
    digest: str


class CatalogDigest(Struct, frozen=True):
    """All tables at a revision."""

    revision: Revision
    tables: tuple[TableDigest, ...]


Progress = Callable[[str, int], object]
"""Called with a table and the number of its rows that were written or read since the last call."""


def digests(database: Database, progress: Progress = lambda table, rows: None) -> CatalogDigest:
    """The digests of all tables on one snapshot. Raises SetupError for another schema than this program's."""
    with database.read() as connection:
        _check_source(connection)
        return CatalogDigest(head(connection), tuple(digest_of_table(connection, table, progress) for table in _tables()))


def is_empty(database: Database) -> bool:
    """Whether `copy` accepts a database as its target."""
    with database.read() as connection:
        return not inspect(connection).get_table_names() or _has_only_schema(connection)


def rows_to_copy(source: Database) -> int:
    """The number of rows in all tables."""
    with source.read() as connection:
        return sum(connection.execute(select(func.count()).select_from(table)).scalar_one() for table in _tables())


def copy(source: Database, target: Database, progress: Progress = lambda table, rows: None) -> CatalogDigest:
    """Copy all tables into an empty database, and create its schema. Reads every row back and compares.

    Raises SetupError, and leaves the target unchanged, if it is not empty, if the source has another schema than this program,
    or if a table differs after the copy.
    """
    with source.read() as read:
        _check_source(read)
        with target.write_alone() as written:
            _prepare(written)
            sent = [_send(read, written, table, progress) for table in _tables()]
            for copied, table in zip(sent, _tables(), strict=True):
                arrived = digest_of_table(written, table, progress)
                if arrived != copied:
                    raise SetupError(
                        f"table {table.name} differs after the copy: nothing was copied; run `phimage db check` on the source"
                    )
            return CatalogDigest(head(read), tuple(sent))


def _tables() -> list[Table]:
    return tables.metadata.sorted_tables


def _check_source(connection: Connection) -> None:
    found = schema.version_of(connection)
    if found != schema.newest():
        raise SetupError(
            f"the source has schema {found or 'none'}, this phimage copies {schema.newest()}: run `phimage db upgrade` first"
        )


def _prepare(connection: Connection) -> None:
    """Create the schema in an empty database. Raises SetupError if the database has rows."""
    if not inspect(connection).get_table_names():
        schema.upgrade_on(connection)
    elif not _has_only_schema(connection):
        raise SetupError("the target is not empty: create a new, empty database and name it with --to")
    connection.execute(tables.head.delete())  # the row of an empty catalogue


def _has_only_schema(connection: Connection) -> bool:
    return schema.version_of(connection) == schema.newest() and not any(_has_rows(connection, table) for table in _tables())


def _has_rows(connection: Connection, table: Table) -> bool:
    found = select(table).where(table.c.number > 0) if table is tables.head else select(table)
    return connection.execute(found.limit(1)).first() is not None


def _send(source: Connection, target: Connection, table: Table, progress: Progress) -> TableDigest:
    digest = _Digest(table)

    def passing() -> Generator[tuple[Any, ...]]:
        with closing(_batches(source, table)) as batches:
            for batch in batches:
                digest.add(batch)
                progress(table.name, len(batch))
                yield from batch

    with closing(passing()) as rows:
        _insert_rows(target, table, rows)
    return digest.result()


def _insert_rows(connection: Connection, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert rows that have a value for every column, as the driver takes it. Raises SetupError for an invalid value."""
    if connection.dialect.name == "postgresql":
        from phimage.catalog.postgresql import copy_rows

        copy_rows(connection, table, rows)
        return
    names = [column.name for column in table.c]
    untyped = insert(sqlalchemy.table(table.name, *map(sqlalchemy.column, names)))  # without types nothing is converted
    remaining = iter(rows)
    while batch := list(islice(remaining, BATCH)):
        connection.execute(untyped, [dict(zip(names, row, strict=True)) for row in batch])


def digest_of_table(connection: Connection, table: Table, progress: Progress = lambda table, rows: None) -> TableDigest:
    """The digest of one table."""
    digest = _Digest(table)
    with closing(_batches(connection, table)) as batches:
        for batch in batches:
            digest.add(batch)
            progress(table.name, len(batch))
    return digest.result()


def _batches(connection: Connection, table: Table) -> Generator[list[tuple[Any, ...]]]:
    columns = [type_coerce(column, Text) if isinstance(column.type, tables.Json) else column for column in table.c]
    with connection.execution_options(yield_per=BATCH).execute(select(*columns)) as found:
        for part in found.partitions(BATCH):
            yield [tuple(row) for row in part]


class _Digest:
    """Sums the digests of rows, so that their order does not matter: databases sort texts differently."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._rows = 0
        self._sum = 0

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        for row in rows:
            self._sum += int.from_bytes(sha256(msgspec.msgpack.encode(row)).digest())
        self._rows += len(rows)

    def result(self) -> TableDigest:
        # docs/decisions.md#a-tables-digest-is-a-sum
        return TableDigest(str(self._table.name), self._rows, f"{self._sum % 2**256:064x}")


def snapshot(source: Database, path: Path, progress: Progress = lambda table, rows: None) -> CatalogDigest:
    """Copy a database into a new SQLite file, mode 0600, and read it back. Raises SetupError, ServiceUnavailable.

    The rows of a live SQLite database may be in its write-ahead log only, so its files are never copied: SQLite's online backup
    reads one snapshot through the log. The copy has no holds: they protect the store of the source.
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
        copied = digests(target, progress)
    _end_write_ahead_log(path)
    return copied


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    """Open an SQLite file as a database, and close it."""
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
            connection.backup(target)  # all pages in one step: a write between two steps restarts the backup
        except sqlite3.Error as error:
            raise SetupError(f"the database cannot be copied: {error}; run `phimage db check`") from error


def _end_write_ahead_log(path: Path) -> None:
    """Move the write-ahead log into the file, so that the file alone is the database."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
