"""Images in SQL: the operator's base images, and the custom images of projects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

from sqlalchemy import Boolean, Connection, and_, literal_column, or_, select

from phimage.catalog import tables
from phimage.catalog.revisions import BASE, Change, project_scope
from phimage.catalog.versioned_table import VersionedTable
from phimage.model.ids import ImageId, ProjectId, Revision
from phimage.model.image import NO_PROJECT, Image, ImageType, order

IMAGES = VersionedTable(
    tables.image, Image, ("id",), lambda image: BASE if image.type is ImageType.BASE else project_scope(image.project)
)

Id = TypeVar("Id", bound=str)

_BATCH = 500


def images_at(connection: Connection, revision: Revision, project: ProjectId = NO_PROJECT) -> tuple[Image, ...]:
    """The custom images of a project at a revision, or the base images without one, in the order of lists."""
    return tuple(sorted(IMAGES.at(connection, revision, tables.image.c.project == project), key=order))


def custom_images_at(connection: Connection, revision: Revision) -> tuple[Image, ...]:
    """The custom images of all projects at a revision."""
    return tuple(IMAGES.at(connection, revision, tables.image.c.project != NO_PROJECT))


def batches(images: Collection[Id]) -> Iterator[list[Id]]:
    """Ids in lists that fit into the parameters of one statement on both databases."""
    ids = sorted(images)
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]


def once_given(connection: Connection, images: Collection[ImageId]) -> dict[ImageId, ImageType]:
    """The ids that ever belonged to an image, with its type. Such an id is never given to another image."""
    types: dict[ImageId, ImageType] = {}
    for some in batches(images):
        rows = connection.execute(select(tables.image.c.id, tables.image.c.type).where(tables.image.c.id.in_(some)))
        types.update((ImageId(row.id), ImageType(row.type)) for row in rows)
    return types


def live_images(connection: Connection, images: Collection[ImageId]) -> dict[ImageId, Image]:
    """Those of some images that exist now."""
    found: dict[ImageId, Image] = {}
    for some in batches(images):
        found.update((image.id, image) for image in IMAGES.live(connection, tables.image.c.id.in_(some)))
    return found


def last_images(connection: Connection, images: Collection[ImageId], revision: Revision | None = None) -> dict[ImageId, Image]:
    """Images as they are at a revision, by default now, or were when they were withdrawn."""
    known = [] if revision is None else [tables.image.c.since <= revision]
    last: dict[ImageId, Image] = {}
    for some in batches(images):
        last.update((image.id, image) for image in IMAGES.latest(connection, tables.image.c.id.in_(some), *known))
    return last


def find_image(connection: Connection, revision: Revision, image: ImageId) -> Image | None:
    """A base or custom image as it was at a revision."""
    images = IMAGES.at(connection, revision, tables.image.c.id == image)
    return images[0] if images else None


# Text and not a parameter, or neither database would use the partial index.
_DATED = literal_column("deprecation_time > 0", Boolean)


def reached_deprecation(connection: Connection, now: float) -> list[Image]:
    """The images that are not deprecated although their deprecation time has come."""
    column = tables.image.c
    return IMAGES.live(connection, _DATED, column.deprecation_time <= int(now), column.deprecated.is_(False))


FILE = "file"
"""Scope of adoptions. No view depends on it: adopting an image changes no answer."""
_APPLY = "ApplyCatalog"
# docs/decisions.md#ownership-by-the-file-is-read-from-the-log
_ADOPTED = "adopted"


def images_of_file(connection: Connection) -> frozenset[ImageId]:
    """The base images that belong to the catalogue file: those that an applied file has ever named, even if withdrawn.

    Read from the log. ApplyCatalog adds and changes only images that its file names, and records an image that it names
    without changing it as adopted. So revisions of programs without adoption are read the same way.
    """
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
    """Make images belong to the catalogue file from this revision on."""
    for image in images:
        change.record(tables.image.name, image, FILE, _ADOPTED)
