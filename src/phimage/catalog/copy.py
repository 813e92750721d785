"""Moving a catalogue to another database, and proving that it arrived.

Everything is read as of one moment and written in one transaction. So the source may be in use, though what is changed after
that moment is not in the copy; and a copy that does not come to its end leaves the target as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from hashlib import sha256
from itertools import islice
from typing import Any

import msgspec
import sqlalchemy
from msgspec import Struct
from sqlalchemy import Connection, Table, Text, func, insert, inspect, select, type_coerce

from phimage.catalog import schema, tables
from phimage.catalog.engine import Database
from phimage.catalog.revisions import head
from phimage.errors import SetupError
from phimage.model.ids import Revision

BATCH = 2000
"""Rows that are held at once."""


class Copied(Struct, frozen=True):
    """One table. The digest says the same of the same rows, whatever their order and database."""

    table: str
    rows: int
    digest: str


class Copy(Struct, frozen=True):
    """All tables, at a revision. Each was read back from the target and found equal."""

    revision: Revision
    tables: tuple[Copied, ...]


Progress = Callable[[str, int], object]
"""Told, again and again, how many more rows of a table were written or read back."""


def digests(database: Database, progress: Progress = lambda table, rows: None) -> Copy:
    """What a database of this program's schema holds, as of one moment. Raises SetupError for another schema."""
    with database.read() as connection:
        _check_source(connection)
        return Copy(head(connection), tuple(digest_of_table(connection, table, progress) for table in _tables()))


def is_empty(database: Database) -> bool:
    """Whether `copy` takes a database as its target."""
    with database.read() as connection:
        return not inspect(connection).get_table_names() or _has_only_schema(connection)


def rows_to_copy(source: Database) -> int:
    """How many rows there are, for who shows how far a copy is."""
    with source.read() as connection:
        return sum(connection.execute(select(func.count()).select_from(table)).scalar_one() for table in _tables())


def copy(source: Database, target: Database, progress: Progress = lambda table, rows: None) -> Copy:
    """Copy all tables into an empty database, whose schema is made. Raises SetupError when it is not empty, when the source
    has another schema than this program, or when what arrived is not what was sent; the target is then as before."""
    with source.read() as read:
        _check_source(read)
        with target.write_alone() as written:
            _prepare(written)
            sent = [_send(read, written, table, progress) for table in _tables()]
            for copied, table in zip(sent, _tables(), strict=True):
                arrived = digest_of_table(written, table, progress)
                if arrived != copied:
                    raise SetupError(f"table {table.name} did not arrive as it was sent; nothing was copied")
            return Copy(head(read), tuple(sent))


def _tables() -> list[Table]:
    return tables.metadata.sorted_tables


def _check_source(connection: Connection) -> None:
    found = schema.version_of(connection)
    if found != schema.newest():
        raise SetupError(
            f"the source has schema {found or 'none'}, this phimage copies {schema.newest()}: run `phimage db upgrade` first"
        )


def _prepare(connection: Connection) -> None:
    """Make the schema in an empty database, or see that one with the schema has nothing in it."""
    if not inspect(connection).get_table_names():
        schema.upgrade_on(connection)
    elif not _has_only_schema(connection):
        raise SetupError("the target is not empty: make a new, empty database for the copy, and name that with --to")
    connection.execute(tables.head.delete())  # the row of an empty log


def _has_only_schema(connection: Connection) -> bool:
    return schema.version_of(connection) == schema.newest() and not any(_has_rows(connection, table) for table in _tables())


def _has_rows(connection: Connection, table: Table) -> bool:
    found = select(table).where(table.c.number > 0) if table is tables.head else select(table)
    return connection.execute(found.limit(1)).first() is not None


def _send(source: Connection, target: Connection, table: Table, progress: Progress) -> Copied:
    digest = _Digest(table)

    def passing() -> Generator[tuple[Any, ...]]:
        with closing(_batches(source, table)) as batches:
            for batch in batches:
                digest.add(batch)
                progress(table.name, len(batch))
                yield from batch

    with closing(passing()) as rows:
        _insert_rows(target, table, rows)
    return digest.copied()


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


def digest_of_table(connection: Connection, table: Table, progress: Progress = lambda table, rows: None) -> Copied:
    """The rows of one table and their digest."""
    digest = _Digest(table)
    with closing(_batches(connection, table)) as batches:
        for batch in batches:
            digest.add(batch)
            progress(table.name, len(batch))
    return digest.copied()


def _batches(connection: Connection, table: Table) -> Generator[list[tuple[Any, ...]]]:
    columns = [type_coerce(column, Text) if isinstance(column.type, tables.Json) else column for column in table.c]
    with connection.execution_options(yield_per=BATCH).execute(select(*columns)) as found:
        for part in found.partitions(BATCH):
            yield [tuple(row) for row in part]


class _Digest:
    """The sum of the digests of rows, so that order does not matter: databases do not agree on the order of texts."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._rows = 0
        self._sum = 0

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        for row in rows:
            self._sum += int.from_bytes(sha256(msgspec.msgpack.encode(row)).digest())
        self._rows += len(rows)

    def copied(self) -> Copied:
        return Copied(str(self._table.name), self._rows, f"{self._sum % 2**256:064x}")
