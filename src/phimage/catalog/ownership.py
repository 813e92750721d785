"""Which base images belong to the catalogue file: those that an applied file has named, from the first time on.

The log of revisions knows. ApplyCatalog adds and changes only what its file names; an image that a file names without
changing it is recorded as adopted. So rows of any age, and of a program without adoption, are read the same way.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, and_, or_, select

from phimage.catalog import tables
from phimage.catalog.revisions import BASE, Change
from phimage.model.ids import ImageId

FILE = "file"
"""Scope of adoptions. No view depends on it: adopting an image changes no answer."""
_APPLY = "ApplyCatalog"
_ADOPTED = "adopted"


def images_of_file(connection: Connection) -> frozenset[ImageId]:
    """The base images of the catalogue file, withdrawn ones included: an image that comes back is still the file's."""
    change, revision = tables.change.c, tables.revision.c
    applied = and_(change.scope == BASE, change.verb != "withdrawn", revision.action == _APPLY)
    rows = connection.execute(
        select(change.id)
        .distinct()
        .join_from(tables.change, tables.revision, change.revision == revision.number)
        .where(change.noun == tables.image.name, or_(change.scope == FILE, applied), change.scope.in_((FILE, BASE)))
    )
    return frozenset(ImageId(row.id) for row in rows)


def adopt(change: Change, images: Iterable[ImageId]) -> None:
    """Let images belong to the catalogue file from this revision on."""
    for image in images:
        change.record(tables.image.name, image, FILE, _ADOPTED)
