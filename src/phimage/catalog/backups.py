"""Records of backups in the database: holds on garbage collection, and times for the metrics.

A hold makes garbage collection keep all manifests that images had at the held revision or later. It is committed before its
owner reads the catalogue. A collection that reads the catalogue after this commit sees the hold. A collection that read it
before knows every manifest that was live then; a manifest that became live afterwards is young, and stays by the argument in
`chunks/gc.py`. So every manifest that the owner reads as live keeps its bytes until the hold expires.
"""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import Connection, delete, func, insert, select, update

from phimage.catalog import tables
from phimage.catalog.engine import Database
from phimage.catalog.revisions import head
from phimage.model.ids import Revision

_hold = tables.hold
_backup = tables.backup


class RevisionHold(Struct, frozen=True):
    """A revision that is held until a time, in seconds since 1970."""

    id: str
    revision: Revision
    expires: float
    reason: str


def add_hold(database: Database, id: str, reason: str, *, now: float, seconds: float) -> RevisionHold:
    """Hold the newest revision for some seconds. Removes expired holds."""
    with database.write() as connection:
        connection.execute(delete(_hold).where(_hold.c.expires <= now))
        hold = RevisionHold(id, head(connection), now + seconds, reason)
        connection.execute(insert(_hold), {"id": id, "revision": hold.revision, "expires": hold.expires, "reason": hold.reason})
    return hold


def extend_hold(database: Database, id: str, *, now: float, seconds: float) -> bool:
    """Extend a hold. False if it has expired or was released: a collection may already have ignored it."""
    with database.write() as connection:
        alive = (_hold.c.id == id) & (_hold.c.expires > now)
        return connection.execute(update(_hold).where(alive).values(expires=now + seconds)).rowcount == 1


def release_hold(database: Database, id: str) -> bool:
    """Remove a hold. False if there is none of this id."""
    with database.write() as connection:
        return connection.execute(delete(_hold).where(_hold.c.id == id)).rowcount == 1


def active_holds(connection: Connection, now: float) -> list[RevisionHold]:
    """The holds that have not expired, in the order of expiry."""
    rows = connection.execute(select(_hold).where(_hold.c.expires > now).order_by(_hold.c.expires, _hold.c.id))
    return [RevisionHold(row.id, Revision(row.revision), row.expires, row.reason) for row in rows]


def oldest_held(connection: Connection, now: float) -> Revision | None:
    """The oldest held revision; None without a hold."""
    oldest = connection.execute(select(func.min(_hold.c.revision)).where(_hold.c.expires > now)).scalar_one()
    return None if oldest is None else Revision(oldest)


class BackupTimes(Struct, frozen=True):
    """The times of the newest backup and of the last verification, in all places: seconds since 1970, 0 for never."""

    finished: float
    verified: float


def record_created(database: Database, place: str, name: str, revision: Revision, now: float) -> None:
    """Record the newest backup of a place. The time of its last verification stays."""
    with database.write() as connection:
        verified = connection.execute(select(_backup.c.verified).where(_backup.c.place == place)).scalar_one_or_none()
        connection.execute(delete(_backup).where(_backup.c.place == place))
        row = {"place": place, "name": name, "revision": revision, "finished": now, "verified": verified or 0.0}
        connection.execute(insert(_backup), row)


def record_verified(database: Database, place: str, now: float) -> bool:
    """Record that the backups of a place were verified. False if no backup of this place is recorded."""
    with database.write() as connection:
        return connection.execute(update(_backup).where(_backup.c.place == place).values(verified=now)).rowcount == 1


def times(connection: Connection) -> BackupTimes:
    """The newest times in all places."""
    finished, verified = connection.execute(select(func.max(_backup.c.finished), func.max(_backup.c.verified))).one()
    return BackupTimes(finished or 0.0, verified or 0.0)
