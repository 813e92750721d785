"""Writing revisions, and reading the log of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, func, insert, select, update

from phimage.catalog import tables
from phimage.catalog.engine import Database
from phimage.errors import ServiceUnavailable
from phimage.model.ids import Revision

TOPOLOGY = "topology"
"""Scope of places and machine types."""
BASE = "base"
"""Scope of base images."""


def account_scope(account: str) -> str:
    """Scope of an account, its users, keys, projects and memberships."""
    return f"account:{account}"


def project_scope(project: str) -> str:
    """Scope of the custom images of a project."""
    return f"project:{project}"


class Author(Struct, frozen=True):
    """Who changes something, when, from where, and by what. `time` is Unix seconds."""

    actor: str
    address: str
    request_id: str
    action: str
    time: float


class ChangeRecord(Struct, frozen=True):
    """One thing that a revision touched. `verb` is added, changed or withdrawn."""

    noun: str
    id: str
    scope: str
    verb: str


class RevisionRecord(Struct, frozen=True):
    """A line of the log. `time` is in microseconds since 1970."""

    number: Revision
    time: int
    actor: str
    address: str
    request_id: str
    action: str
    changes: tuple[ChangeRecord, ...]


class Change:
    """A revision while it is being written; `facts` puts rows into it. It is gone if the block that got it fails."""

    def __init__(self, connection: Connection, author: Author, newest: Revision) -> None:
        self.connection = connection
        self.author = author
        self.parent = newest
        self.number = Revision(newest + 1)
        self._records: list[ChangeRecord] = []

    def record(self, noun: str, id: str, scope: str, verb: str) -> None:
        """Note that this revision touched a thing."""
        self._records.append(ChangeRecord(noun, id, scope, verb))

    @property
    def records(self) -> tuple[ChangeRecord, ...]:
        """What the revision touched so far."""
        return tuple(self._records)


Committed = Callable[[Revision, frozenset[str]], None]
"""Told after a commit: the new revision and the scopes that it touched."""


class Journal:
    """The only way to change facts."""

    def __init__(self, database: Database, committed: Committed) -> None:
        self._database = database
        self._committed = committed

    @contextmanager
    def change(self, author: Author) -> Iterator[Change]:
        """Write one revision. If nothing was recorded there is none; if the block raises, nothing has happened.

        Raises ServiceUnavailable, before anything is written, when the schema went on without this program.

        Writers take turns: the first statement updates the one row of `head`, which the database locks until the end, so
        that the order of numbers is the order of commits.
        """
        tables_head = tables.head
        take_turn = update(tables_head).values(number=tables_head.c.number)
        with self._database.write(lambda connection: connection.execute(take_turn)) as connection:
            newest = connection.execute(select(tables_head.c.number, tables_head.c.time, tables_head.c.oldest)).one()
            if reason := outdated(newest.oldest):
                raise ServiceUnavailable(detail=reason)
            change = Change(connection, author, Revision(newest.number))
            yield change
            if change.records:
                time = max(int(author.time * 1_000_000), newest.time)
                _close(connection, change, time)
        if change.records:
            self._committed(change.number, frozenset(record.scope for record in change.records))


def _close(connection: Connection, change: Change, time: int) -> None:
    author = change.author
    connection.execute(
        insert(tables.revision),
        {
            "number": change.number,
            "time": time,
            "actor": author.actor,
            "address": author.address,
            "request_id": author.request_id,
            "action": author.action,
        },
    )
    rows = [
        {"revision": change.number, "position": position, **_fields(record)} for position, record in enumerate(change.records)
    ]
    connection.execute(insert(tables.change), rows)
    connection.execute(update(tables.head).values(number=change.number, time=time))


def _fields(record: ChangeRecord) -> dict[str, Any]:
    return {"noun": record.noun, "id": record.id, "scope": record.scope, "verb": record.verb}


def outdated(oldest: str) -> str:
    """Why this program must not go on, when the database asks for programs of a newer schema than its own; else empty."""
    if oldest <= tables.SCHEMA:
        return ""
    return f"the database was upgraded and needs a phimage of schema {oldest} or newer: start that one"


def head(connection: Connection) -> Revision:
    """The newest revision; 0 when nothing was ever written."""
    return Revision(connection.execute(select(tables.head.c.number)).scalar_one())


def head_and_oldest(connection: Connection) -> tuple[Revision, str]:
    """The newest revision, and the oldest schema whose programs may work with the database."""
    found = connection.execute(select(tables.head.c.number, tables.head.c.oldest)).one()
    return Revision(found.number), found.oldest


def revision_at(connection: Connection, time: int) -> Revision:
    """The newest revision at a time, in microseconds since 1970; 0 before the first."""
    found = connection.execute(select(func.max(tables.revision.c.number)).where(tables.revision.c.time <= time))
    return Revision(found.scalar_one() or 0)


def touched(connection: Connection, after: Revision, until: Revision) -> dict[str, Revision]:
    """The scopes that revisions after `after` and up to `until` touched, each with the last that did."""
    rows = connection.execute(
        select(tables.change.c.scope, func.max(tables.change.c.revision))
        .where(tables.change.c.revision > after, tables.change.c.revision <= until)
        .group_by(tables.change.c.scope)
    )
    return {scope: Revision(number) for scope, number in rows}


def log(
    connection: Connection,
    *,
    after: Revision,
    before: Revision | None = None,
    limit: int,
    newest_first: bool,
    scopes: tuple[str, ...] = (),
) -> list[RevisionRecord]:
    """Revisions with what they touched: those after `after`, if given before `before`, if given in `scopes`."""
    number = tables.revision.c.number
    wanted = select(tables.revision).where(number > after)
    if before is not None:
        wanted = wanted.where(number < before)
    if scopes:
        wanted = wanted.where(number.in_(select(tables.change.c.revision).where(tables.change.c.scope.in_(scopes))))
    wanted = wanted.order_by(number.desc() if newest_first else number).limit(limit)
    revisions = connection.execute(wanted).all()
    if not revisions:
        return []
    changes: dict[int, list[ChangeRecord]] = {}
    numbers = [row.number for row in revisions]
    rows = connection.execute(
        select(tables.change)
        .where(tables.change.c.revision.in_(numbers))
        .order_by(tables.change.c.revision, tables.change.c.position)
    )
    for row in rows:
        changes.setdefault(row.revision, []).append(ChangeRecord(row.noun, row.id, row.scope, row.verb))
    return [
        RevisionRecord(
            number=Revision(row.number),
            time=row.time,
            actor=row.actor,
            address=row.address,
            request_id=row.request_id,
            action=row.action,
            changes=tuple(changes.get(row.number, ())),
        )
        for row in revisions
    ]
