"""The mapping between records of the model and rows that are valid from one revision to another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Table,
    Text,
    and_,
    bindparam,
    insert,
    or_,
    select,
    type_coerce,
    update,
)

from phimage.catalog.revisions import Change
from phimage.catalog.tables import LIVE, LIVING, Json
from phimage.model.ids import Revision

MAX_SHARED = 4096
"""The number of decoded values of a column that are cached, and shared between records."""

_BATCH = 500
"""The number of keys in one statement."""

Record = TypeVar("Record", bound=msgspec.Struct)
Step = tuple[Record | None, Record | None]
"""A record before and after a revision: None where it was not valid."""


class VersionedTable(Generic[Record]):
    """The rows of one kind of record. `keys` are the fields that identify it; `scope` gives the scope that a change touches."""

    def __init__(self, table: Table, record: type[Record], keys: tuple[str, ...], scope: Callable[[Record], str]) -> None:
        self.table = table
        self._record = record
        self.keys = keys
        self._scope = scope
        columns = [table.c[name] for name in record.__struct_fields__]
        self._columns: list[ColumnElement[Any]] = [
            type_coerce(column, Text) if isinstance(column.type, Json) else column for column in columns
        ]
        hints = get_type_hints(record)
        readers = [_reader(column.type, hints[column.name]) for column in columns]
        self._readers = [(position, read) for position, read in enumerate(readers) if read is not None]

    def at(self, connection: Connection, revision: Revision, *where: ColumnElement[bool]) -> list[Record]:
        """The records that are valid at a revision, in no particular order."""
        since, until = self.table.c.since, self.table.c.until
        rows = connection.execute(select(*self._columns).where(since <= revision, until > revision, *where))
        return [self.decode(row) for row in rows]

    def live(self, connection: Connection, *where: ColumnElement[bool]) -> list[Record]:
        """The records that are valid now."""
        rows = connection.execute(select(*self._columns).where(self.table.c.until == LIVING, *where))
        return [self.decode(row) for row in rows]

    def latest(self, connection: Connection, *where: ColumnElement[bool]) -> list[Record]:
        """The last record of each key, valid or withdrawn."""
        rows = connection.execute(select(*self._columns).where(*where).order_by(self.table.c.until))
        return list({self._key(record): record for record in map(self.decode, rows)}.values())

    def find(self, connection: Connection, *key: Any) -> Record | None:
        """The record of a key that is valid now; None if there is none."""
        if any(isinstance(part, str) and "\0" in part for part in key):
            return None  # an error in PostgreSQL, whose texts have no NUL
        records = self.live(connection, self._has_key(key))
        return records[0] if records else None

    def had(self, connection: Connection, *key: Any) -> bool:
        """Whether a record of a key is valid now or ever was."""
        return connection.execute(select(self.table.c.since).where(self._has_key(key)).limit(1)).first() is not None

    def around(self, connection: Connection, revision: Revision, ids: Collection[str]) -> dict[str, Step[Record]]:
        """What a revision ended and what it began, by the ids of its records in the log. An id that it left alone is absent."""
        rows, (first, *_) = self.table.c, self.keys
        kind = rows[first].type.python_type
        keys = sorted({kind(id.partition("/")[0] if len(self.keys) > 1 else id) for id in ids})
        columns = [*self._columns, rows.since]
        before: dict[str, Record] = {}
        after: dict[str, Record] = {}
        for start in range(0, len(keys), _BATCH):
            touched = or_(rows.since == revision, rows.until == revision)
            found = connection.execute(select(*columns).where(rows[first].in_(keys[start : start + _BATCH]), touched))
            for row in found:
                record = self.decode(row[:-1])
                (after if row.since == revision else before)[self._id(record)] = record
        return {id: (before.get(id), after.get(id)) for id in ids if id in before or id in after}

    def put(self, change: Change, record: Record) -> bool:
        """Make a record valid from this revision on. False, and no change, if it is valid already."""
        before = self.find(change.connection, *self._key(record))
        if before == record:
            return False
        if before is not None:
            self._end(change, [self._key(record)])
        fields = {name: getattr(record, name) for name in record.__struct_fields__}
        change.connection.execute(insert(self.table), {**fields, "since": change.number, "until": LIVE})
        scope, verb = self._scope(record), "added"
        if before is not None:
            if self._scope(before) == scope:
                verb = "changed"
            else:  # it moves from one scope to another
                change.record(self.table.name, self._id(before), self._scope(before), "withdrawn")
        change.record(self.table.name, self._id(record), scope, verb)
        return True

    def add_all(self, change: Change, records: Iterable[Record]) -> None:
        """Make new records valid from this revision on, in one statement."""
        self._insert(change, list(records), "added")

    def change_all(self, change: Change, records: Iterable[Record]) -> None:
        """Replace the valid records of the same keys and scopes from this revision on."""
        changed = list(records)
        self._end(change, [self._key(record) for record in changed])
        self._insert(change, changed, "changed")

    def withdraw(self, change: Change, *records: Record) -> None:
        """End the validity of records that are valid now."""
        self._end(change, [self._key(record) for record in records])
        for record in records:
            change.record(self.table.name, self._id(record), self._scope(record), "withdrawn")

    def _insert(self, change: Change, records: list[Record], verb: str) -> None:
        rows = []
        for record in records:
            fields = {name: getattr(record, name) for name in record.__struct_fields__}
            rows.append({**fields, "since": change.number, "until": LIVE})
            change.record(self.table.name, self._id(record), self._scope(record), verb)
        if rows:
            change.connection.execute(insert(self.table), rows)

    def _end(self, change: Change, keys: list[tuple[Any, ...]]) -> None:
        if not keys:
            return
        rows = self.table
        names = [f"key_{name}" for name in self.keys]
        named = and_(*(rows.c[name] == bindparam(f"key_{name}") for name in self.keys), rows.c.until == LIVING)
        parameters = [dict(zip(names, key, strict=True)) for key in keys]
        # A row that this revision itself inserted is deleted: it was valid at no revision.
        change.connection.execute(rows.delete().where(named, rows.c.since == change.number), parameters)
        change.connection.execute(update(rows).where(named).values(until=change.number), parameters)

    def _has_key(self, key: tuple[Any, ...]) -> ColumnElement[bool]:
        return and_(*(self.table.c[name] == value for name, value in zip(self.keys, key, strict=True)))

    def _key(self, record: Record) -> tuple[Any, ...]:
        return tuple(getattr(record, name) for name in self.keys)

    def _id(self, record: Record) -> str:
        return "/".join(str(part) for part in self._key(record))

    def decode(self, row: Sequence[Any]) -> Record:
        """The record of a row that has the columns of its fields, in order, as SQLAlchemy or the driver returns it."""
        values = list(row)
        for position, read in self._readers:
            values[position] = read(values[position])
        return self._record(*values)


def _reader(kind: Any, hint: Any) -> Callable[[Any], Any] | None:
    """The function from a column's value to a field's; None if they are equal. Equal values become one object."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {member.value: member for member in hint}.__getitem__  # calling an Enum takes five times as long
    if isinstance(kind, Json):
        decode = lru_cache(MAX_SHARED)(msgspec.json.Decoder(hint).decode)
        return lambda text: None if text is None else decode(text)
    if isinstance(kind, Boolean):
        return bool  # SQLite has 0 and 1
    return None
