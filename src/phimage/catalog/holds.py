"""Holds: garbage collection keeps what any image needed at a held revision or later.

A hold is committed before its owner reads the catalogue. A collection that reads the catalogue after that commit sees the hold.
One that read it before has named every manifest that was live then; a manifest that became live afterwards is young, and stays
by the argument in `chunks/gc.py`. So every manifest that the owner reads as live keeps its bytes until the hold expires.
"""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import Connection, delete, func, insert, select, update

from phimage.catalog import tables
from phimage.catalog.engine import Database
from phimage.catalog.revisions import head
from phimage.model.ids import Revision

_hold = tables.hold


class RevisionHold(Struct, frozen=True):
    """A revision that is held until a time, in seconds since 1970."""

    id: str
    revision: Revision
    expires: float
    reason: str


def add(database: Database, id: str, reason: str, *, now: float, seconds: float) -> RevisionHold:
    """Hold the newest revision for a while. Removes the holds that have expired."""
    with database.write() as connection:
        connection.execute(delete(_hold).where(_hold.c.expires <= now))
        found = RevisionHold(id, head(connection), now + seconds, reason)
        connection.execute(
            insert(_hold), {"id": id, "revision": found.revision, "expires": found.expires, "reason": found.reason}
        )
    return found


def extend(database: Database, id: str, *, now: float, seconds: float) -> bool:
    """Let a hold last longer. False when it has expired or was released: then a collection may have ignored it already."""
    with database.write() as connection:
        alive = (_hold.c.id == id) & (_hold.c.expires > now)
        return connection.execute(update(_hold).where(alive).values(expires=now + seconds)).rowcount == 1


def release(database: Database, id: str) -> bool:
    """End a hold. False when there is none of that id."""
    with database.write() as connection:
        return connection.execute(delete(_hold).where(_hold.c.id == id)).rowcount == 1


def active(connection: Connection, now: float) -> list[RevisionHold]:
    """The holds that have not expired, the first to expire first."""
    rows = connection.execute(select(_hold).where(_hold.c.expires > now).order_by(_hold.c.expires, _hold.c.id))
    return [RevisionHold(row.id, Revision(row.revision), row.expires, row.reason) for row in rows]


def oldest_held(connection: Connection, now: float) -> Revision | None:
    """The oldest revision that is held, None without a hold."""
    found = connection.execute(select(func.min(_hold.c.revision)).where(_hold.c.expires > now)).scalar_one()
    return None if found is None else Revision(found)
