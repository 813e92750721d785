"""The template of the demonstration's database: what filling an empty one writes, as SQL text. `make template` writes it.

It has every row but those of keys, which are encrypted under the master key of their installation. All times are as if the
demonstration had been filled at TIME. A test compares the text with a new filling.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, insert, select, update

from phimage.catalog import tables
from phimage.catalog.accounts import NewKey
from phimage.catalog.engine import Database
from phimage.catalog.key_encryption import KeyEncryption
from phimage.model.account import Key
from phimage.model.ids import AccountId, PublicKey, Revision, UserId

TIME = 1_798_761_600
"""2027-01-01T00:00:00Z, later than every image of the starter catalogue."""
FILE = Path(__file__).with_suffix(".sql")

_OPERATOR = "@operator@"
_SEPARATOR = ";\n\n"
_OF_AN_INSTALLATION = frozenset({"head", "key", "key_use", "nonce", "rate_use"})
"""Tables whose rows are made where the template is used."""


class TemplateKey(Struct, frozen=True):
    """A key of the demonstration, with the user that it belongs to and the revision that adds it."""

    key: NewKey
    account: AccountId
    user: UserId
    since: Revision


def write_rows(connection: Connection, keys: tuple[TemplateKey, ...], key_encryption: KeyEncryption, now: float) -> None:
    """Write the template into a database that has the schema and no row, as if it had been filled now. The first key is the
    operator's. SQLite alone reads the text."""
    operator = keys[0].key.public
    for statement in FILE.read_text("utf-8").split(_SEPARATOR):
        connection.exec_driver_sql(statement.replace(_OPERATOR, operator))
    _shift(connection, int(now) - TIME)
    rows = []
    for each in keys:
        encrypted = key_encryption.encrypt(each.key.public, each.key.private)
        record = Key(each.key.public, each.account, each.user, encrypted, int(now))
        values = {name: getattr(record, name) for name in Key.__struct_fields__}
        rows.append(values | {"since": each.since, "until": tables.LIVE})
    connection.execute(insert(tables.key), rows)


def text_of(database: Database, operator: PublicKey) -> str:
    """The template of a filled database whose operator has this key."""
    with database.read() as connection:
        return _SEPARATOR.join(_statements(connection)).replace(operator, _OPERATOR)


def _statements(connection: Connection) -> Iterator[str]:
    number, time = connection.execute(select(tables.head.c.number, tables.head.c.time)).one()
    yield f"UPDATE head SET number={number:d}, time={time:d}"  # noqa: S608  numbers
    for name, table in sorted(tables.metadata.tables.items()):
        if name in _OF_AN_INSTALLATION:
            continue
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        rows = connection.exec_driver_sql(f'SELECT {columns} FROM "{name}" ORDER BY {columns}').all()  # noqa: S608  our names
        if rows:
            values = ",\n".join(f"({', '.join(map(_literal, row))})" for row in rows)
            yield f'INSERT INTO "{name}" ({columns}) VALUES\n{values}'


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int | float):
        return repr(value)
    assert isinstance(value, str)
    return "'" + value.replace("'", "''") + "'"


def _shift(connection: Connection, seconds: int) -> None:
    """Move the times that depend on when the demonstration was filled."""
    if not seconds:
        return
    image, image_bytes, revision, head = tables.image.c, tables.image_bytes.c, tables.revision.c, tables.head.c
    for table in (tables.account, tables.user, tables.project, tables.job):
        connection.execute(update(table).values(created=table.c.created + seconds))
    connection.execute(update(tables.image).where(image.project != "").values(created=image.created + seconds))
    connection.execute(
        update(tables.image_bytes).where(image_bytes.published > 0).values(published=image_bytes.published + seconds)
    )
    connection.execute(update(tables.revision).values(time=revision.time + seconds * 1_000_000))
    connection.execute(update(tables.head).values(time=head.time + seconds * 1_000_000))
