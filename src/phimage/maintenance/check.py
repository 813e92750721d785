"""`phimage db check`: the rules that no database constraint enforces, and the store against the database.

Its queries over all versioned tables need SQLAlchemy, which outside the catalogue only `copy` uses as well.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

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

from phimage import ownership
from phimage.catalog import indexes, schema, tables
from phimage.catalog.engine import Database
from phimage.catalog.key_encryption import KeyEncryption, read_master_key
from phimage.chunks.errors import StoreFailure
from phimage.chunks.factory import open_store
from phimage.chunks.store import Store
from phimage.errors import ServiceUnavailable, SetupError
from phimage.installation import open_existing
from phimage.maintenance.verify import find_missing
from phimage.model.ids import PublicKey
from phimage.settings import Settings
from phimage.waiting import Patience

BATCH = 2000
"""Rows in memory at once."""
MAX_REPORTED = 10
"""Findings of one kind that are reported for one table; there may be more."""

VERSIONED = tuple(table for table in tables.metadata.sorted_tables if {"since", "until"} <= set(table.c.keys()))
"""Every versioned table."""

_change, _revision = tables.change.c, tables.revision.c


class Inconsistency(Struct, frozen=True):
    """A broken rule: its name, the table, and what is wrong."""

    check: str
    table: str
    what: str


Progress = Callable[[str, int, int], object]
"""Called with the name of the part that begins, its number, and the number of parts."""


# docs/decisions.md#valid-but-wrong-data-goes-unnoticed
def check(
    database: Database, key_encryption: KeyEncryption, progress: Progress = lambda part, number, parts: None
) -> list[Inconsistency]:
    """Check a database on one snapshot. Returns no findings if it is consistent. Servers may run meanwhile.

    Reads every table several times, one batch of rows at a time.
    """
    parts = len(VERSIONED) + 3
    progress("integrity", 0, parts)
    damage = list(_damage(database))
    if damage:
        return damage
    with database.read() as connection:
        findings = list(_schema(connection))
        if findings:
            return findings  # the other checks assume this schema
        progress("revisions", 1, parts)
        findings += _revisions(connection)
        for number, table in enumerate(VERSIONED, 2):
            progress(table.name, number, parts)
            findings += _rows(connection, table)
        progress("encrypted keys", parts - 1, parts)
        findings += _encrypted_keys(connection, key_encryption)
    return findings


def _damage(database: Database) -> Iterator[Inconsistency]:
    """Damaged files of the database.

    SQLite checks the structure of its file. On both databases every row is read: PostgreSQL verifies page checksums if its
    cluster has them, and bytes that are no longer text fail to decode.
    """
    table = ""
    try:
        with database.read() as connection:
            if connection.dialect.name == "sqlite":
                lines = connection.exec_driver_sql(f"PRAGMA integrity_check({MAX_REPORTED})").scalars()
                yield from (Inconsistency("integrity", "", str(line)) for line in lines if line != "ok")
            present = inspect(connection).get_table_names()
            for table in (name for name in tables.metadata.tables if name in present):
                _read_all(connection, table)
    except ServiceUnavailable as error:
        cause = error.__cause__
        if not isinstance(cause, DatabaseError) or _is_away(database, cause):
            raise
        yield Inconsistency("integrity", table, f"cannot be read completely: {cause.orig}; restore the database from a backup")


def _is_away(database: Database, error: DatabaseError) -> bool:
    """Whether an error is about the connection, not about the stored data."""
    return error.connection_invalidated or (isinstance(error, OperationalError) and database.circuit.is_open)


def _read_all(connection: Connection, table: str) -> None:
    rows = connection.execution_options(yield_per=BATCH).execute(select(text("*")).select_from(named(table)))
    for _ in rows.partitions(BATCH):
        pass


def _schema(connection: Connection) -> Iterator[Inconsistency]:
    version = schema.version_of(connection)
    if version != schema.newest():
        what = f"schema {version or 'none'}, and this phimage checks {schema.newest()}"
        yield Inconsistency("schema", "alembic_version", f"{what}: run `phimage db upgrade`, or use the newer phimage")
        return
    for difference in indexes.differences(connection):
        yield Inconsistency("schema", "", f"differs from the schema that phimage creates: {difference}")


def _revisions(connection: Connection) -> Iterator[Inconsistency]:
    heads = connection.execute(select(tables.head.c.number, tables.head.c.time)).all()
    if len(heads) != 1:
        yield Inconsistency("head", "head", f"has {len(heads)} rows, expected one")
    count, newest = connection.execute(select(func.count(), func.max(_revision.number))).one()
    for head in heads:
        if (newest or 0) != head.number:
            yield Inconsistency("head", "head", f"has number {head.number}, but the newest revision is {newest or 0}")
    if count != (newest or 0):
        yield Inconsistency("contiguous", "revision", f"there are {count} revisions, but the newest has number {newest}")
    before = func.lag(_revision.time).over(order_by=_revision.number)
    timed = select(_revision.number, _revision.time, before.label("before")).subquery()
    for row in connection.execute(select(timed.c.number).where(timed.c.time < timed.c.before).limit(MAX_REPORTED)):
        yield Inconsistency("time", "revision", f"revision {row.number} has an earlier time than the one before it")
    numbers, changed = select(_revision.number), select(_change.revision)
    for number in connection.execute(except_(numbers, changed).limit(MAX_REPORTED)).scalars():
        yield Inconsistency("log", "revision", f"revision {number} has no changes")
    for number in connection.execute(except_(changed, numbers).limit(MAX_REPORTED)).scalars():
        yield Inconsistency("log", "change", f"changes refer to revision {number}, which does not exist")


def _rows(connection: Connection, table: Table) -> Iterator[Inconsistency]:
    keys = [column for column in table.primary_key.columns if column.name != "since"]
    id, since, until = _id(keys), table.c.since, table.c.until
    following = func.lead(since).over(partition_by=keys, order_by=since).label("following")
    rows = select(id, since, until, following).subquery()

    def findings(check: str, query: Any, text: str) -> Iterator[Inconsistency]:
        for row in connection.execute(query.limit(MAX_REPORTED)):
            yield Inconsistency(check, str(table.name), text.format(*row))

    backward = select(rows.c.id, rows.c.since, rows.c.until).where(rows.c.since >= rows.c.until)
    yield from findings("order", backward, "{0} begins at revision {1} and ends at {2}")
    overlap = select(rows.c.id, rows.c.following).where(rows.c.until > rows.c.following)
    yield from findings("one row", overlap, "{0} has more than one row at revision {1}")

    begun, ended = select(since, id), select(until, id).where(until < tables.LIVE)
    yield from findings(
        "log", except_(begun, _logged(table, "added", "changed")), "the log has no record of {1}, which begins at revision {0}"
    )
    yield from findings("log", except_(ended, _logged(table)), "the log has no record of {1}, which ends at revision {0}")
    # What one revision both added and withdrew has two records and no row.
    once = _logged(table).group_by(_change.revision, _change.id).having(func.count() == 1)
    yield from findings(
        "log", except_(once, begun, ended), "the log records {1} in revision {0}, but no row begins or ends there"
    )


def _logged(table: Table, *verbs: str) -> Select[Any]:
    wanted = select(_change.revision, _change.id).where(_change.noun == table.name)
    return wanted.where(or_(*(_change.verb == verb for verb in verbs))) if verbs else wanted


def _id(keys: list[Any]) -> ColumnElement[str]:
    """The id of a row as `VersionedTable` writes it into the log."""
    parts: ColumnElement[str] = cast(keys[0], String)
    for key in keys[1:]:
        parts = parts + literal("/") + cast(key, String)
    return parts.label("id")


def _encrypted_keys(connection: Connection, key_encryption: KeyEncryption) -> Iterator[Inconsistency]:
    streaming = connection.execution_options(yield_per=1000)
    wrong = 0
    for table in (tables.key, tables.host_key):
        for row in streaming.execute(select(table.c.id, table.c.encrypted)):
            try:
                key_encryption.decrypt(PublicKey(row.id), row.encrypted)
            except SetupError:
                wrong += 1
                if wrong <= MAX_REPORTED:
                    yield Inconsistency(
                        "encryption", str(table.name), f"the private key of {row.id} cannot be decrypted with this master key"
                    )


def check_installation(settings: Settings, progress: Progress, patience: Patience | None = None) -> list[Inconsistency]:
    """Check the database of an installation, then the store against it. `patience` waits for both.

    Raises SetupError if there is no database or no master key. Everything wrong inside the database is a finding: it is opened
    without the checks of a start.
    """
    database = open_existing(settings, patience)
    try:
        key_encryption = KeyEncryption(read_master_key(settings.master_key_file), secrets.token_bytes)
        return check(database, key_encryption, progress) or list(
            _check_store(database, open_store(settings.store_place, patience=patience))
        )
    finally:
        database.close()


def _check_store(database: Database, store: Store) -> Iterator[Inconsistency]:
    try:
        if refusal := ownership.refusal(database, store):
            yield Inconsistency("store", "", refusal)
        for missing in find_missing(database, store):
            images, found = ", ".join(missing.images), missing.finding
            yield Inconsistency("store", "image_bytes", f"{images}: manifest {found.manifest}: {found.reason}")
    except StoreFailure as failure:
        yield Inconsistency("store", "", f"cannot be checked: {failure}")
