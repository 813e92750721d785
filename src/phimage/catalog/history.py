"""What a revision changed: each record of its log, as it was before and as it is since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, func, select

from phimage.catalog import tables
from phimage.catalog.accounts import ACCOUNTS, KEYS, MEMBERSHIPS, PROJECTS, USERS
from phimage.catalog.hosts import HOSTS
from phimage.catalog.image_bytes import IMAGE_BYTES, QUOTAS
from phimage.catalog.images import FILE, IMAGES
from phimage.catalog.places import CLUSTERS, MACHINE_TYPES, OFFERS, REGIONS, ZONES
from phimage.catalog.revisions import Change, ChangeRecord, RevisionRecord
from phimage.catalog.versioned_table import VersionedTable
from phimage.model.ids import Revision

TABLES: dict[str, VersionedTable[Any]] = {
    versioned.table.name: versioned
    for versioned in (
        *(REGIONS, ZONES, CLUSTERS, MACHINE_TYPES, OFFERS),
        *(ACCOUNTS, USERS, KEYS, PROJECTS, MEMBERSHIPS),
        *(IMAGES, IMAGE_BYTES, QUOTAS, HOSTS),
    )
}
"""The versioned tables by the nouns of the log."""


class RecordStep(Struct, frozen=True):
    """One record that a revision touched. `before` is None for an added one, `after` for a withdrawn one, both for an adopted
    one; `keys` are the fields that its id consists of."""

    change: ChangeRecord
    keys: tuple[str, ...]
    before: Struct | None
    after: Struct | None


def find_revision(connection: Connection, number: Revision) -> tuple[RevisionRecord, int] | None:
    """A revision without its changes, and the number of these. None if there is no such revision."""
    row = connection.execute(select(tables.revision).where(tables.revision.c.number == number)).first()
    if row is None:
        return None
    count = select(func.count()).where(tables.change.c.revision == number)
    record = RevisionRecord(
        number=Revision(row.number),
        time=row.time,
        actor=row.actor,
        address=row.address,
        request_id=row.request_id,
        action=row.action,
        changes=(),
    )
    return record, connection.execute(count).scalar_one()


def steps_of(connection: Connection, number: Revision, *, offset: int, limit: int) -> list[RecordStep]:
    """Some of the records that a revision touched, in the order of the log.

    A record that the log has twice, because its scope changed, has its state before with `withdrawn` and its state since with
    the other one.
    """
    change = tables.change.c
    page = select(tables.change).where(change.revision == number).order_by(change.position).offset(offset).limit(limit)
    return _steps(connection, number, [ChangeRecord(row.noun, row.id, row.scope, row.verb) for row in connection.execute(page)])


def steps_so_far(change: Change, *, limit: int) -> list[RecordStep]:
    """The first records that a revision has touched which is being written."""
    return _steps(change.connection, change.number, change.records[:limit])


def _steps(connection: Connection, number: Revision, changes: Sequence[ChangeRecord]) -> list[RecordStep]:
    ids: dict[str, set[str]] = {}
    for record in changes:
        if record.scope != FILE:  # an adoption changes no row
            ids.setdefault(record.noun, set()).add(record.id)
    around = {noun: TABLES[noun].around(connection, number, some) for noun, some in ids.items() if noun in TABLES}
    return [_step(record, around.get(record.noun, {}).get(record.id, (None, None))) for record in changes]


def _step(change: ChangeRecord, states: tuple[Struct | None, Struct | None]) -> RecordStep:
    before, after = states if change.scope != FILE else (None, None)
    if change.verb == "withdrawn":
        after = None
    elif change.verb == "added":
        before = None
    keys = TABLES[change.noun].keys if change.noun in TABLES else ()
    return RecordStep(change, keys, before, after)
