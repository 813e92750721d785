"""The statements that a cold caller costs: its key, its tenant, and the images of its project.

Each lookup is one statement, so its rows are of one moment. SQL is written out and goes straight to the driver: building and
compiling it with SQLAlchemy costs more than the database's own work. `run` and `run_async` are for the event loop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Generic, TypeVar

from msgspec import Struct
from sqlalchemy import Connection

from phimage.catalog.accounts import ACCOUNTS, KEYS, MEMBERSHIPS, PROJECTS, USERS
from phimage.catalog.engine import Database, Row
from phimage.catalog.images import IMAGES
from phimage.catalog.key_encryption import KeyEncryption
from phimage.catalog.tables import LIVE
from phimage.errors import NotCached
from phimage.model.account import Key, PrivateKey, Tenant
from phimage.model.ids import AccountId, ProjectId, PublicKey, Revision
from phimage.model.image import Image, order

Value = TypeVar("Value")

# docs/decisions.md#the-event-loop-runs-cold-lookups
MAX_EVENT_LOOP_ROWS = 200
"""Rows that the event loop decodes while all other requests wait: about a millisecond. A thread reads longer results."""
_NO_LIMIT = 2**62


class Statement(Struct, frozen=True):
    """A SELECT in both drivers' parameter styles. `:max_rows` limits its result."""

    sqlite: str
    postgresql: str


def statement(sql: str, **parts: str) -> Statement:
    """A statement from SQL that both databases accept: parameters are `:name`, and `{live}` is the `until` of a living row.

    `{live}` becomes a number, not a parameter: only then do both databases use the partial index of living rows.
    """
    text = sql.format(live=LIVE, **parts)
    return Statement(text, re.sub(r":(\w+)", r"%(\1)s", text))


# docs/decisions.md#cold-callers-bypass-sqlalchemy
class Lookup(Struct, Generic[Value], frozen=True):
    """A statement with its parameters and the function that decodes its rows."""

    statement: Statement
    parameters: dict[str, Any]
    decode: Callable[[Sequence[Row]], Value]

    def run(self, database: Database) -> Value:
        """The result from an SQLite file, without blocking. Raises NotCached when a thread must read it."""
        return self._decode_few(database.fetch(self.statement.sqlite, self._limited(MAX_EVENT_LOOP_ROWS + 1)))

    async def run_async(self, database: Database) -> Value:
        """The result from PostgreSQL. Raises ServiceUnavailable, and NotCached when a thread must read it."""
        parameters = self._limited(MAX_EVENT_LOOP_ROWS + 1)
        return self._decode_few(await database.fetch_async(self.statement.postgresql, parameters))

    def run_in(self, connection: Connection) -> Value:
        """The result inside a transaction. Raises the driver's errors, which `engine` turns into ServiceUnavailable."""
        sql = self.statement.sqlite if connection.dialect.name == "sqlite" else self.statement.postgresql
        cursor = connection.connection.cursor()
        cursor.execute(sql, self._limited(_NO_LIMIT))
        return self.decode(cursor.fetchall())

    def _limited(self, max_rows: int) -> dict[str, Any]:
        return {**self.parameters, "max_rows": max_rows}

    def _decode_few(self, rows: Sequence[Row]) -> Value:
        if len(rows) > MAX_EVENT_LOOP_ROWS:
            raise NotCached
        return self.decode(rows)


_IMAGES_OF_PROJECT = statement(
    """
    SELECT {fields} FROM image WHERE project = :project AND since <= :revision AND until > :revision
    LIMIT :max_rows
    """,
    fields=", ".join(Image.__struct_fields__),
)

# The rows of all nouns have the same columns: the newest revision, the noun, five texts, three integers, a flag, and bytes.
_TENANT_PARTS = """
    SELECT (SELECT number FROM head), 'account', id, company, email, zones, networks,
           created, CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), operator, CAST(NULL AS BYTEA)
      FROM account WHERE id = {account} AND until = {live}
    UNION ALL
    SELECT (SELECT number FROM head), 'user', account, name, email, NULL, NULL, id, created, NULL, main, NULL
      FROM "user" WHERE account = {account} AND until = {live}
    UNION ALL
    SELECT (SELECT number FROM head), 'project', id, account, name, NULL, NULL, created, NULL, NULL, "default", NULL
      FROM project WHERE account = {account} AND until = {live}
    UNION ALL
    SELECT (SELECT number FROM head), 'membership', project, account, role, NULL, NULL, "user", NULL, NULL, NULL, NULL
      FROM membership WHERE account = {account} AND until = {live}
    """
_KEY_PART = """
    UNION ALL
    SELECT (SELECT number FROM head), 'key', id, account, NULL, NULL, NULL, "user", created, expires, NULL, encrypted
      FROM key WHERE id = :key AND until = {live}
    """
_ACCOUNT_OF_KEY = f"(SELECT account FROM key WHERE id = :key AND until = {LIVE})"  # noqa: S608  a number
_LIMIT = "LIMIT :max_rows"

_TENANT = statement(_TENANT_PARTS + _LIMIT, account=":account")
_KEY_OWNER = statement(_TENANT_PARTS + _KEY_PART + _LIMIT, account=_ACCOUNT_OF_KEY)

_RECORDS: dict[str, tuple[Callable[[Sequence[Any]], Any], itemgetter[Any]]] = {
    "account": (ACCOUNTS.decode, itemgetter(2, 10, 3, 4, 5, 6, 7)),
    "user": (USERS.decode, itemgetter(7, 2, 3, 4, 10, 8)),
    "project": (PROJECTS.decode, itemgetter(2, 3, 4, 10, 7)),
    "membership": (MEMBERSHIPS.decode, itemgetter(2, 7, 3, 4)),
    "key": (KEYS.decode, itemgetter(2, 3, 7, 11, 8, 9)),
}
"""For each noun its decoder, and where a row has the fields of its record."""


class KeyOwner(Struct, frozen=True):
    """A key that works, decrypted, and the tenant that it belongs to, as of a revision."""

    read_at: Revision
    key: tuple[Key, PrivateKey]
    tenant: Tenant


def images_lookup(project: ProjectId, revision: Revision) -> Lookup[tuple[Image, ...]]:
    """The custom images of a project at a revision, in the order of lists."""
    return Lookup(
        _IMAGES_OF_PROJECT,
        {"project": project, "revision": revision},
        lambda rows: tuple(sorted(map(IMAGES.decode, rows), key=order)),
    )


def tenant_lookup(account: AccountId) -> Lookup[tuple[Revision, Tenant] | None]:
    """A tenant and the revision that it was read at; None if there is no such account."""

    def decode(rows: Sequence[Row]) -> tuple[Revision, Tenant] | None:
        records = _records(rows)
        return (Revision(rows[0][0]), _tenant(records)) if records["account"] else None

    return Lookup(_TENANT, {"account": account}, decode)


def key_owner_lookup(public: PublicKey, key_encryption: KeyEncryption) -> Lookup[KeyOwner | None]:
    """The key, decrypted, with its tenant; None if no such key works now."""

    def decode(rows: Sequence[Row]) -> KeyOwner | None:
        records = _records(rows)
        if not (records["key"] and records["account"]):
            return None
        (key,) = records["key"]
        return KeyOwner(Revision(rows[0][0]), (key, key_encryption.decrypt(public, key.encrypted)), _tenant(records))

    return Lookup(_KEY_OWNER, {"key": public}, decode)


def find_tenant(connection: Connection, account: AccountId) -> Tenant | None:
    """A tenant as it is now. None if there is no such account."""
    found = tenant_lookup(account).run_in(connection)
    return None if found is None else found[1]


def _records(rows: Sequence[Row]) -> dict[str, list[Any]]:
    records: dict[str, list[Any]] = {noun: [] for noun in _RECORDS}
    for row in rows:
        decode, fields = _RECORDS[row[1]]
        records[row[1]].append(decode(fields(row)))
    return records


def _tenant(records: dict[str, list[Any]]) -> Tenant:
    return Tenant(
        account=records["account"][0],
        users={user.id: user for user in sorted(records["user"], key=lambda user: user.id)},
        projects={
            project.id: project for project in sorted(records["project"], key=lambda project: (not project.default, project.id))
        },
        roles={(member.project, member.user): member.role for member in records["membership"]},
    )
