"""Revisions: how they are written, and the log of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder
from sqlalchemy import Connection, case, func, insert, literal_column, select, update

from phimage.catalog import tables
from phimage.catalog.engine import Database, json_rows
from phimage.errors import ServiceUnavailable
from phimage.model.ids import Revision

TOPOLOGY = "topology"
"""Scope of places and machine types."""
BASE = "base"
"""Scope of base images."""
PUBLISHER = "publisher"
"""The address in revisions by which publishers end publications."""
_DAY = 86_400_000_000
"""Microseconds of a day."""
HOSTS = "hosts"
"""Scope of all hosts. No list of images depends on it."""
_CHANGES = Decoder(list[tuple[int, str, str, str, str]])


def account_scope(account: str) -> str:
    """Scope of an account, its users, keys, projects and memberships."""
    return f"account:{account}"


def project_scope(project: str) -> str:
    """Scope of the custom images of a project."""
    return f"project:{project}"


class Author(Struct, frozen=True):
    """The author of a revision. `action` is the Action or command; `time` is Unix seconds."""

    actor: str
    address: str
    request_id: str
    action: str
    time: float


class ChangeRecord(Struct, frozen=True):
    """One thing that a revision touched. `verb` is added, changed, withdrawn or adopted."""

    noun: str
    id: str
    scope: str
    verb: str


class RevisionRecord(Struct, frozen=True):
    """A revision in the log. `time` is in microseconds since 1970."""

    number: Revision
    time: int
    actor: str
    address: str
    request_id: str
    action: str
    changes: tuple[ChangeRecord, ...]


class Change:
    """A revision that is being written, with the transaction of its rows. `VersionedTable` writes rows and records."""

    def __init__(self, connection: Connection, author: Author, newest: Revision) -> None:
        self.connection = connection
        self.author = author
        self.parent = newest
        self.number = Revision(newest + 1)
        self._records: list[ChangeRecord] = []

    def record(self, noun: str, id: str, scope: str, verb: str) -> None:
        """Record that this revision touches a thing."""
        self._records.append(ChangeRecord(str(noun), id, scope, verb))  # the names of tables are texts of SQLAlchemy's own type

    @property
    def records(self) -> tuple[ChangeRecord, ...]:
        """The things that the revision has touched so far."""
        return tuple(self._records)


OnCommit = Callable[[Revision, frozenset[str]], None]
"""Called after a commit with the new revision and the scopes that it touched."""


class RevisionWriter:
    """Writes revisions. All changes of versioned tables go through it."""

    def __init__(self, database: Database, on_commit: OnCommit) -> None:
        self._database = database
        self._on_commit = on_commit

    @contextmanager
    def change(self, author: Author) -> Iterator[Change]:
        """Write one revision, atomically. Without records no revision is written; if the block raises, nothing is.

        Raises ServiceUnavailable if the schema was upgraded beyond this program.

        The first statement locks the one row of `head` until the commit. So writers are serialized, and the order of numbers is
        the order of commits.
        """
        head = tables.head
        # docs/decisions.md#the-head-row-orders-writers
        lock = update(head).values(number=head.c.number)
        with self._database.write(lambda connection: connection.execute(lock)) as connection:
            newest = connection.execute(select(head.c.number, head.c.time, head.c.oldest)).one()
            if reason := outdated(newest.oldest):
                raise ServiceUnavailable(detail=reason)
            change = Change(connection, author, Revision(newest.number))
            yield change
            if change.records:
                time = max(int(author.time * 1_000_000), newest.time)
                _write_log(connection, change, time)
        if change.records:
            self._on_commit(change.number, frozenset(record.scope for record in change.records))


def _write_log(connection: Connection, change: Change, time: int) -> None:
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
    """Why this program must not use the database any more, after an upgrade that excludes it; else empty."""
    if oldest <= tables.SCHEMA:
        return ""
    return f"the database was upgraded: start a phimage of schema {oldest} or newer"


def head(connection: Connection) -> Revision:
    """The newest revision; 0 if none was written."""
    return Revision(connection.execute(select(tables.head.c.number)).scalar_one())


def head_and_oldest(connection: Connection) -> tuple[Revision, str]:
    """The newest revision, and the oldest schema whose programs may use the database."""
    row = connection.execute(select(tables.head.c.number, tables.head.c.oldest)).one()
    return Revision(row.number), row.oldest


def revision_at(connection: Connection, time: int) -> Revision:
    """The newest revision at a time, in microseconds since 1970; 0 before the first."""
    newest = connection.execute(select(func.max(tables.revision.c.number)).where(tables.revision.c.time <= time))
    return Revision(newest.scalar_one() or 0)


def touched(connection: Connection, after: Revision, until: Revision) -> dict[str, Revision]:
    """The scopes that revisions after `after` and up to `until` touched, each with the last such revision."""
    rows = connection.execute(
        select(tables.change.c.scope, func.max(tables.change.c.revision))
        .where(tables.change.c.revision > after, tables.change.c.revision <= until)
        .group_by(tables.change.c.scope)
    )
    return {scope: Revision(number) for scope, number in rows}


# docs/decisions.md#the-log-is-searched-without-an-index-of-records
def log(
    connection: Connection,
    *,
    after: Revision,
    before: Revision | None = None,
    limit: int,
    newest_first: bool,
    scopes: tuple[str, ...] = (),
    noun: str = "",
    id: str = "",
    actor: str = "",
) -> list[RevisionRecord]:
    """Revisions with all their changes: after `after` and before `before`.

    What is given must hold of one change (`scopes`, `noun`, `id`), or of the revision: its author has `actor` as a part.
    """
    number = tables.revision.c.number
    query = select(tables.revision).where(number > after)
    if before is not None:
        query = query.where(number < before)
    change = tables.change.c
    conditions = [
        *([change.scope.in_(scopes)] if scopes else ()),
        *([change.noun == noun] if noun else ()),
        *([change.id == id] if id else ()),
    ]
    if conditions:
        query = query.where(number.in_(select(change.revision).where(*conditions)))
    if actor:
        # LIKE ignores case on SQLite alone.
        query = query.where(func.replace(tables.revision.c.actor, actor, "") != tables.revision.c.actor)
    query = query.order_by(number.desc() if newest_first else number).limit(limit)
    revisions = connection.execute(query).all()
    if not revisions:
        return []
    numbers = [row.number for row in revisions]
    # docs/decisions.md#the-changes-of-a-revision-are-read-as-one-row
    fields = json_rows(connection, change.position, change.noun, change.id, change.scope, change.verb)
    rows = connection.execute(select(change.revision, fields).where(change.revision.in_(numbers)).group_by(change.revision))
    changes = {
        revision: tuple(ChangeRecord(*fields) for _, *fields in sorted(_CHANGES.decode(text))) for revision, text in rows
    }
    return [
        RevisionRecord(
            number=Revision(row.number),
            time=row.time,
            actor=row.actor,
            address=row.address,
            request_id=row.request_id,
            action=row.action,
            changes=changes.get(row.number, ()),
        )
        for row in revisions
    ]


class RevisionCount(Struct, frozen=True):
    """The revisions of one day, which begins at `day` in Unix seconds: `published` by publishers, `other` by everyone else."""

    day: int
    published: int
    other: int


def count_by_day(connection: Connection, *, since: float, until: Revision) -> list[RevisionCount]:
    """The days in UTC, since a Unix time and up to a revision, that have revisions."""
    revision = tables.revision.c
    day = revision.time.op("/")(literal_column(str(_DAY)))  # of integers, which both databases cut
    published = func.sum(case((revision.address == PUBLISHER, 1), else_=0))
    query = (
        select(day.label("day"), published.label("published"), func.count().label("total"))
        .where(revision.time >= int(since * 1_000_000), revision.number <= until)
        .group_by("day")
        .order_by("day")
    )
    return [
        RevisionCount(int(row.day) * 86_400, int(row.published), row.total - int(row.published))
        for row in connection.execute(query)
    ]
