"""Whether a database is what phimage left there: every rule that no constraint of the database holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    Table,
    cast,
    except_,
    func,
    inspect,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy import table as named
from sqlalchemy.exc import DatabaseError, OperationalError

from phimage.catalog import schema, tables
from phimage.catalog.engine import Database
from phimage.catalog.key_encryption import KeyEncryption
from phimage.errors import ServiceUnavailable, SetupError
from phimage.model.ids import PublicKey

BATCH = 2000
"""Rows that are held at once."""
MAX_TOLD = 10
"""How many findings of one kind are told in one table; there may be more."""

FACTS = tuple(table for table in tables.metadata.sorted_tables if {"since", "until"} <= set(table.c.keys()))
"""Every table of facts."""

_change, _revision = tables.change.c, tables.revision.c


class Finding(Struct, frozen=True):
    """Something that is not as it must be."""

    check: str
    table: str
    what: str


Progress = Callable[[str, int, int], object]
"""Told the name of the part that begins, its number, and how many parts there are."""


def check(
    database: Database, key_encryption: KeyEncryption, progress: Progress = lambda part, number, parts: None
) -> list[Finding]:
    """Look at everything, as of one moment. Empty when all is well. Servers may go on meanwhile.

    Reads every table several times and holds a batch of rows at most.
    """
    parts = len(FACTS) + 3
    progress("integrity", 0, parts)
    damaged = list(_damage(database))
    if damaged:
        return damaged
    with database.read() as connection:
        found = list(_schema(connection))
        if found:
            return found  # of other tables nothing can be said
        progress("revisions", 1, parts)
        found += _revisions(connection)
        for number, table in enumerate(FACTS, 2):
            progress(table.name, number, parts)
            found += _facts(connection, table)
        progress("sealed keys", parts - 1, parts)
        found += _sealed(connection, key_encryption)
    return found


def _damage(database: Database) -> Iterator[Finding]:
    """What the database itself finds wrong with its files.

    SQLite checks the structure of the file. On both databases every row is read: PostgreSQL compares page checksums if its
    cluster has them, and bytes that are no longer text fail to decode.
    """
    table = ""
    try:
        with database.read() as connection:
            if connection.dialect.name == "sqlite":
                lines = connection.exec_driver_sql(f"PRAGMA integrity_check({MAX_TOLD})").scalars()
                yield from (Finding("integrity", "", str(line)) for line in lines if line != "ok")
            present = inspect(connection).get_table_names()
            for table in (name for name in tables.metadata.tables if name in present):
                _read_all(connection, table)
    except ServiceUnavailable as error:
        cause = error.__cause__
        if not isinstance(cause, DatabaseError) or _is_away(database, cause):
            raise
        yield Finding("integrity", table, f"it cannot be read to the end: {cause.orig}")


def _is_away(database: Database, error: DatabaseError) -> bool:
    """Whether an error speaks of the connection and not of what is in the database."""
    return error.connection_invalidated or (isinstance(error, OperationalError) and database.circuit.is_open)


def _read_all(connection: Connection, table: str) -> None:
    rows = connection.execution_options(yield_per=BATCH).execute(select(text("*")).select_from(named(table)))
    for _ in rows.partitions(BATCH):
        pass


def _schema(connection: Connection) -> Iterator[Finding]:
    version = schema.version_of(connection)
    if version != schema.newest():
        yield Finding("schema", "alembic_version", f"schema {version or 'none'}, and this phimage can check {schema.newest()}")
        return
    for difference in compare_metadata(MigrationContext.configure(connection), tables.metadata):
        yield Finding("schema", "", f"differs from what phimage made: {difference}")


def _revisions(connection: Connection) -> Iterator[Finding]:
    head = connection.execute(select(tables.head.c.number, tables.head.c.time)).one()
    count, newest = connection.execute(select(func.count(), func.max(_revision.number))).one()
    if (newest or 0) != head.number:
        yield Finding("head", "head", f"says {head.number}, and the newest revision is {newest or 0}")
    if count != (newest or 0):
        yield Finding("contiguous", "revision", f"{count} revisions up to number {newest}")
    before = func.lag(_revision.time).over(order_by=_revision.number)
    timed = select(_revision.number, _revision.time, before.label("before")).subquery()
    for row in connection.execute(select(timed.c.number).where(timed.c.time < timed.c.before).limit(MAX_TOLD)):
        yield Finding("time", "revision", f"revision {row.number} is older than the one before it")
    numbers, changed = select(_revision.number), select(_change.revision)
    for number in connection.execute(except_(numbers, changed).limit(MAX_TOLD)).scalars():
        yield Finding("log", "revision", f"revision {number} touched nothing")
    for number in connection.execute(except_(changed, numbers).limit(MAX_TOLD)).scalars():
        yield Finding("log", "change", f"there is no revision {number}")


def _facts(connection: Connection, table: Table) -> Iterator[Finding]:
    keys = [column for column in table.primary_key.columns if column.name != "since"]
    id, since, until = _id(keys), table.c.since, table.c.until
    following = func.lead(since).over(partition_by=keys, order_by=since).label("following")
    rows = select(id, since, until, following).subquery()

    def told(check: str, query: Any, words: str) -> Iterator[Finding]:
        for row in connection.execute(query.limit(MAX_TOLD)):
            yield Finding(check, str(table.name), words.format(*row))

    backward = select(rows.c.id, rows.c.since, rows.c.until).where(rows.c.since >= rows.c.until)
    yield from told("order", backward, "{0} begins at revision {1} and ends at {2}")
    overlap = select(rows.c.id, rows.c.following).where(rows.c.until > rows.c.following)
    yield from told("one row", overlap, "{0} has more than one row at revision {1}")

    begun, ended = select(since, id), select(until, id).where(until < tables.LIVE)
    yield from told("log", except_(begun, _logged(table, "added", "changed")), "the log does not say that {1} began at {0}")
    yield from told("log", except_(ended, _logged(table)), "the log does not say that {1} ended at {0}")
    # What one revision made and took back has left no row, and two lines.
    once = _logged(table).group_by(_change.revision, _change.id).having(func.count() == 1)
    yield from told("log", except_(once, begun, ended), "the log says that revision {0} touched {1}, and no row does")


def _logged(table: Table, *verbs: str) -> Select[Any]:
    wanted = select(_change.revision, _change.id).where(_change.noun == table.name)
    return wanted.where(or_(*(_change.verb == verb for verb in verbs))) if verbs else wanted


def _id(keys: list[Any]) -> ColumnElement[str]:
    """As `facts` writes the id of a row into the log."""
    parts: ColumnElement[str] = cast(keys[0], String)
    for key in keys[1:]:
        parts = parts + literal("/") + cast(key, String)
    return parts.label("id")


def _sealed(connection: Connection, key_encryption: KeyEncryption) -> Iterator[Finding]:
    streaming = connection.execution_options(yield_per=1000)
    wrong = 0
    for row in streaming.execute(select(tables.key.c.id, tables.key.c.sealed)):
        try:
            key_encryption.open(PublicKey(row.id), row.sealed)
        except SetupError:
            wrong += 1
            if wrong <= MAX_TOLD:
                yield Finding("seal", "key", f"the private key of {row.id} does not open under this master key")
