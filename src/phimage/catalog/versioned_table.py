"""A kind of fact: how a record of the model becomes rows that hold from one revision to another, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    insert,
    select,
    type_coerce,
    update,
)

from phimage.catalog.revisions import Change
from phimage.catalog.tables import LIVE, LIVING, Json
from phimage.model.ids import Revision

MAX_SHARED = 4096
"""How many values of a column are shared between the records that have them."""

Record = TypeVar("Record", bound=msgspec.Struct)


class VersionedTable(Generic[Record]):
    """The rows of one noun. `keys` are the fields that name a record; `scope` says whose view a change touches."""

    def __init__(self, table: Table, record: type[Record], keys: tuple[str, ...], scope: Callable[[Record], str]) -> None:
        self.table = table
        self._record = record
        self._keys = keys
        self._scope = scope
        columns = [table.c[name] for name in record.__struct_fields__]
        self.columns: list[ColumnElement[Any]] = [
            type_coerce(column, Text) if isinstance(column.type, Json) else column for column in columns
        ]
        """What `decode` takes, in its order."""
        hints = get_type_hints(record)
        readers = [_reader(column.type, hints[column.name]) for column in columns]
        self._readers = [(position, read) for position, read in enumerate(readers) if read is not None]

    def held(self, *where: ColumnElement[bool]) -> Select[Any]:
        """A statement for the records that hold at `:revision`."""
        revision: ColumnElement[int] = bindparam("revision")
        return select(*self.columns).where(self.table.c.since <= revision, self.table.c.until > revision, *where)

    def at(self, connection: Connection, revision: Revision, *where: ColumnElement[bool]) -> list[Record]:
        """The records that hold at a revision, in no particular order."""
        return [self.decode(row) for row in connection.execute(self.held(*where), {"revision": revision})]

    def live(self, connection: Connection, *where: ColumnElement[bool]) -> list[Record]:
        """The records that hold now."""
        rows = connection.execute(select(*self.columns).where(self.table.c.until == LIVING, *where))
        return [self.decode(row) for row in rows]

    def latest(self, connection: Connection, *where: ColumnElement[bool]) -> list[Record]:
        """The last record of each key, whether it holds now or was withdrawn."""
        rows = connection.execute(select(*self.columns).where(*where).order_by(self.table.c.until))
        return list({self._key(record): record for record in map(self.decode, rows)}.values())

    def find(self, connection: Connection, *key: Any) -> Record | None:
        """The record of a key that holds now."""
        if any(isinstance(part, str) and "\0" in part for part in key):
            return None  # PostgreSQL has no such text and would call the question an error
        found = self.live(connection, self._named(key))
        return found[0] if found else None

    def put(self, change: Change, record: Record) -> bool:
        """Make a record hold from this revision on. Says whether that changed anything."""
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
            else:  # it leaves one view and comes into another
                change.record(self.table.name, self._id(before), self._scope(before), "withdrawn")
        change.record(self.table.name, self._id(record), scope, verb)
        return True

    def add_all(self, change: Change, records: Iterable[Record]) -> None:
        """Make many new records hold from this revision on, in one statement."""
        self._insert(change, list(records), "added")

    def change_all(self, change: Change, records: Iterable[Record]) -> None:
        """Make many records hold otherwise from this revision on: of each key another one holds now, in the same scope."""
        found = list(records)
        self._end(change, [self._key(record) for record in found])
        self._insert(change, found, "changed")

    def withdraw(self, change: Change, *records: Record) -> None:
        """Let records that hold now hold no longer."""
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
        names = [f"key_{name}" for name in self._keys]
        named = and_(*(rows.c[name] == bindparam(f"key_{name}") for name in self._keys), rows.c.until == LIVING)
        given = [dict(zip(names, key, strict=True)) for key in keys]
        # A record that this very revision made leaves no row: it never held at any revision's end.
        change.connection.execute(rows.delete().where(named, rows.c.since == change.number), given)
        change.connection.execute(update(rows).where(named).values(until=change.number), given)

    def _named(self, key: tuple[Any, ...]) -> ColumnElement[bool]:
        return and_(*(self.table.c[name] == value for name, value in zip(self._keys, key, strict=True)))

    def _key(self, record: Record) -> tuple[Any, ...]:
        return tuple(getattr(record, name) for name in self._keys)

    def _id(self, record: Record) -> str:
        return "/".join(str(part) for part in self._key(record))

    def decode(self, row: Sequence[Any]) -> Record:
        """The record of a row of `columns`, as SQLAlchemy or the driver has it."""
        values = list(row)
        for position, read in self._readers:
            values[position] = read(values[position])
        return self._record(*values)


def _reader(kind: Any, hint: Any) -> Callable[[Any], Any] | None:
    """What turns a column's value into a field's; None where they are the same. Equal values become one object."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {member.value: member for member in hint}.__getitem__  # calling an Enum takes five times as long
    if isinstance(kind, Json):
        decode = lru_cache(MAX_SHARED)(msgspec.json.Decoder(hint).decode)
        return lambda text: None if text is None else decode(text)
    if isinstance(kind, Boolean):
        return bool  # SQLite has 0 and 1
    return None
