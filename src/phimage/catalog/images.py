"""Images in SQL. An image is read by its owner: the operator's base images, or the custom ones of a project."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlalchemy import Connection, Text, select, type_coerce

from phimage.catalog import tables
from phimage.catalog.revisions import BASE, project_scope
from phimage.catalog.versioned_table import VersionedTable
from phimage.model.ids import ImageId, ProjectId, Revision, ZoneId
from phimage.model.image import NO_PROJECT, Image, ImageType, order

IMAGES = VersionedTable(
    tables.image, Image, ("id",), lambda image: BASE if image.type is ImageType.BASE else project_scope(image.project)
)

_BATCH = 500


def images_at(connection: Connection, revision: Revision, project: ProjectId = NO_PROJECT) -> tuple[Image, ...]:
    """The custom images of a project at a revision, or the base images without one, in the order of lists."""
    return tuple(sorted(IMAGES.at(connection, revision, tables.image.c.project == project), key=order))


def batches(images: Collection[ImageId]) -> Iterator[list[ImageId]]:
    """Ids in lists that are short enough for the parameters of one statement, on every database."""
    asked = sorted(images)
    for start in range(0, len(asked), _BATCH):
        yield asked[start : start + _BATCH]


def once_given(connection: Connection, images: Collection[ImageId]) -> dict[ImageId, ImageType]:
    """Those of some ids that ever were an image's, each with its type. Such an id is never given to another image."""
    found: dict[ImageId, ImageType] = {}
    for some in batches(images):
        rows = connection.execute(select(tables.image.c.id, tables.image.c.type).where(tables.image.c.id.in_(some)))
        found.update((ImageId(row.id), ImageType(row.type)) for row in rows)
    return found


def last_images(connection: Connection, images: Collection[ImageId]) -> dict[ImageId, Image]:
    """Some images as they are, or were when they were withdrawn."""
    found: dict[ImageId, Image] = {}
    for some in batches(images):
        found.update((image.id, image) for image in IMAGES.latest(connection, tables.image.c.id.in_(some)))
    return found


def custom_images_in(connection: Connection, zone: ZoneId) -> int:
    """How many custom images are placed in a zone now."""
    image = tables.image.c
    named = type_coerce(image.zones, Text).contains(f'"{zone}"', autoescape=True)  # SQLite's LIKE takes CN-1 for cn-1
    rows = connection.execute(
        select(image.zones).where(image.until == tables.LIVING, image.type == ImageType.CUSTOM.value, named)
    )
    return sum(zone in row.zones for row in rows)


def find_image(connection: Connection, revision: Revision, image: ImageId) -> Image | None:
    """An image of any project, as it was at a revision."""
    found = IMAGES.at(connection, revision, tables.image.c.id == image)
    return found[0] if found else None
