"""Abandoned and failed publications: uploads without a new part are given up, and failed base images are withdrawn.

An image of the catalogue file stays: the file says that it is there, and the next apply tries its source again. A custom image
stays Unavailable until its owner removes it. The reason is in the job in every case.

Publishers and `store gc` run this at any time, also at once: each decides again inside its change, and changes take turns.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from phimage.catalog import jobs
from phimage.catalog.image_bytes import IMAGE_BYTES, failed_before, withdraw_image_bytes
from phimage.catalog.images import IMAGES, images_of_file
from phimage.catalog.revisions import Author, Change
from phimage.catalog.views import Catalog
from phimage.chunks import uploads
from phimage.chunks.store import Store
from phimage.model.ids import ImageId, JobId
from phimage.model.image import Image, ImageType, State
from phimage.model.image_bytes import ImageBytes

IDLE_SECONDS = 3600.0
"""An upload that got no part for so long is given up."""
FAILED_SECONDS = 3600.0
"""A base image that failed so long ago is withdrawn."""
IDLE_REASON = "its upload got no part for an hour"


class Expired(Struct, frozen=True):
    """What has expired: jobs whose upload is given up, and base images that are withdrawn because they failed."""

    jobs: tuple[JobId, ...]
    images: tuple[ImageId, ...]


def due(catalog: Catalog, store: Store, now: float) -> Expired:
    """What `expire` would end now. Raises StoreFailure."""
    with catalog.database.read() as connection:
        waiting = jobs.waiting(connection, now - IDLE_SECONDS)
        failed = failed_before(connection, now - FAILED_SECONDS)
        of_file = images_of_file(connection) if failed else frozenset()
    idle = tuple(job.id for job in waiting if uploads.last_put(store, job.id) < now - IDLE_SECONDS)
    return Expired(idle, tuple(content.image for content in failed if content.image not in of_file))


def expire(catalog: Catalog, store: Store, author: Author, now: float) -> Expired:
    """End in one revision what is due. Parts of uploads stay. Raises StoreFailure; then nothing is changed."""
    found = due(catalog, store, now)
    if not found.jobs and not found.images:
        return found
    with catalog.change(author) as change:
        of_file = images_of_file(change.connection)
        given_up = tuple(id for id in found.jobs if _give_up(change, id, of_file))
        withdrawn = tuple(id for id in found.images if id not in of_file and _withdraw_failed(change, id))
    return Expired(given_up, withdrawn)


def _give_up(change: Change, id: JobId, of_file: frozenset[ImageId]) -> bool:
    job = jobs.end_waiting(change.connection, id, IDLE_REASON)
    if job is None:
        return False  # it was completed meanwhile, or another process gave it up
    found = _without_bytes(change, job.image)
    if found is not None:
        image, content = found
        if image.type is ImageType.BASE and image.id not in of_file:
            _withdraw(change, image)
        else:
            IMAGE_BYTES.put(change, replace(content, failure=IDLE_REASON))
            IMAGES.put(change, replace(image, state=State.UNAVAILABLE))
    return True


def _withdraw_failed(change: Change, id: ImageId) -> bool:
    found = _without_bytes(change, id)
    if found is None or not found[1].failure:
        return False
    _withdraw(change, found[0])
    return True


def _without_bytes(change: Change, id: ImageId) -> tuple[Image, ImageBytes] | None:
    image, content = IMAGES.find(change.connection, id), IMAGE_BYTES.find(change.connection, id)
    return None if image is None or content is None or content.stored else (image, content)


def _withdraw(change: Change, image: Image) -> None:
    withdraw_image_bytes(change, [image.id], "the image was withdrawn")
    IMAGES.withdraw(change, image)
