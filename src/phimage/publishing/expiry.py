"""What time alone changes: idle uploads and silent orders are ended, failed base images are withdrawn, dated deprecations take
effect.

An image of the catalogue file stays: the file declares it, and the next apply tries its source again. A custom image stays
Unavailable until its owner removes it. The job has the reason in every case.

Publishers and `store gc` may run this concurrently: each decides again inside its change, and changes are serialised.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from msgspec import Struct
from msgspec.structs import replace

from phimage.catalog import jobs
from phimage.catalog.hosts import HOSTS
from phimage.catalog.image_bytes import IMAGE_BYTES, failed_before, give_up, withdraw_image_bytes
from phimage.catalog.images import IMAGES, images_of_file, reached_deprecation
from phimage.catalog.orders import abort_order, silent_orders
from phimage.catalog.revisions import Author, Change
from phimage.catalog.views import Catalog
from phimage.chunks import uploads
from phimage.chunks.store import Store
from phimage.model.host import failed
from phimage.model.ids import ImageId, JobId, OrderId
from phimage.model.order import OrderKind

IDLE_SECONDS = 3600.0
"""An upload without a new part for this long is ended."""
# docs/decisions.md#failed-base-images-and-idle-uploads-expire-after-an-hour
FAILED_SECONDS = 3600.0
"""A base image is withdrawn this long after its publication failed."""
SILENT_REASON = "the agent of its host was silent for half an hour; boot the rescue system and try again"
IDLE_REASON = "its upload received no part for an hour; publish it again"


class Expired(Struct, frozen=True):
    """Expired publications: jobs with an idle upload, and failed base images to withdraw."""

    jobs: tuple[JobId, ...]
    images: tuple[ImageId, ...]


def due(catalog: Catalog, store: Store, now: float) -> Expired:
    """The publications that `expire` would end now. Raises StoreFailure."""
    with catalog.database.read() as connection:
        waiting = jobs.waiting(connection, now - IDLE_SECONDS)
        failed = failed_before(connection, now - FAILED_SECONDS)
        of_file = images_of_file(connection) if failed else frozenset()
    waiting = [job for job in waiting if not job.origin.host]  # the end of its order is the end of a capture
    idle = tuple(job.id for job in waiting if uploads.last_put(store, job.id) < now - IDLE_SECONDS)
    return Expired(idle, tuple(content.image for content in failed if content.image not in of_file))


def expire(catalog: Catalog, store: Store, author: Author, now: float) -> Expired:
    """End all due publications in one revision. Parts of uploads stay. Raises StoreFailure, and then changes nothing."""
    expired = due(catalog, store, now)
    if not expired.jobs and not expired.images:
        return expired
    with catalog.change(author) as change:
        of_file = images_of_file(change.connection)
        ended = tuple(id for id in expired.jobs if _end_idle(change, id, of_file))
        withdrawn = tuple(id for id in expired.images if id not in of_file and _withdraw_failed(change, id))
    return Expired(ended, withdrawn)


# docs/decisions.md#a-deprecation-with-a-date-is-a-revision
def deprecate_due(catalog: Catalog, author: Author, now: float) -> tuple[ImageId, ...]:
    """Deprecate the images whose deprecation time has come, in one revision."""
    with catalog.database.read() as connection:
        if not reached_deprecation(connection, now):
            return ()
    with catalog.change(author) as change:
        images = [replace(image, deprecated=True) for image in reached_deprecation(change.connection, now)]
        IMAGES.change_all(change, images)
    return tuple(image.id for image in images)


# docs/decisions.md#silence-ends-an-order
class SilenceWatch:
    """Ends the orders whose agents were silent for half an hour, and for some seconds more since it first saw that.

    Not thread-safe.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        """`clock` measures the seconds, and does not step."""
        self._seconds = seconds
        self._clock = clock
        self._since: dict[tuple[OrderId, float], float] = {}

    def end(self, catalog: Catalog, author: Author, now: float) -> tuple[OrderId, ...]:
        """End them, and return which they were. Raises ServiceUnavailable."""
        with catalog.database.read() as connection:
            silent = [(order.id, order.heard) for order in silent_orders(connection, now)]
        seen = self._clock()
        self._since = {word: self._since.get(word, seen) for word in silent}
        due = {id for (id, _), since in self._since.items() if seen - since >= self._seconds}
        return end_silent(catalog, author, now, due) if due else ()


def end_silent(catalog: Catalog, author: Author, now: float, due: Collection[OrderId]) -> tuple[OrderId, ...]:
    """End those of the orders whose agents were silent for half an hour, in one revision. No host becomes ready by it."""
    ended = []
    with catalog.change(author) as change:
        for order in silent_orders(change.connection, now):
            host = HOSTS.find(change.connection, order.host)
            if order.id not in due or host is None or host.order != order.id:
                continue
            abort_order(change, host, SILENT_REASON)
            if order.kind is OrderKind.CAPTURE:
                give_up(change, order.image, SILENT_REASON, ())
            HOSTS.put(change, failed(host, order.kind, SILENT_REASON))
            ended.append(order.id)
    return tuple(ended)


def _end_idle(change: Change, id: JobId, of_file: frozenset[ImageId]) -> bool:
    job = jobs.end_waiting(change.connection, id, IDLE_REASON)
    if job is None:
        return False  # completed meanwhile, or ended by another process
    give_up(change, job.image, IDLE_REASON, of_file)
    return True


def _withdraw_failed(change: Change, id: ImageId) -> bool:
    image, content = IMAGES.find(change.connection, id), IMAGE_BYTES.find(change.connection, id)
    if image is None or content is None or content.stored or not content.failure:
        return False
    withdraw_image_bytes(change, [image.id], "the image was withdrawn")
    IMAGES.withdraw(change, image)
    return True
