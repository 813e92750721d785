"""When backups were made and verified, for the metrics."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import Connection, delete, func, insert, select, update

from phimage.catalog import tables
from phimage.catalog.engine import Database
from phimage.model.ids import Revision

_backup = tables.backup


class BackupTimes(Struct, frozen=True):
    """When the newest backup of all places was made, and when one was last verified: seconds since 1970, 0 for never."""

    finished: float
    verified: float


def note_created(database: Database, place: str, name: str, revision: Revision, now: float) -> None:
    """Note the newest backup of a place. When the place was verified last stays as it is."""
    with database.write() as connection:
        verified = connection.execute(select(_backup.c.verified).where(_backup.c.place == place)).scalar_one_or_none()
        connection.execute(delete(_backup).where(_backup.c.place == place))
        row = {"place": place, "name": name, "revision": revision, "finished": now, "verified": verified or 0.0}
        connection.execute(insert(_backup), row)


def note_verified(database: Database, place: str, now: float) -> bool:
    """Note that a backup of a place was found whole. False when no backup of that place was noted."""
    with database.write() as connection:
        return connection.execute(update(_backup).where(_backup.c.place == place).values(verified=now)).rowcount == 1


def times(connection: Connection) -> BackupTimes:
    """The newest times of all places."""
    finished, verified = connection.execute(select(func.max(_backup.c.finished), func.max(_backup.c.verified))).one()
    return BackupTimes(finished or 0.0, verified or 0.0)
