"""Measuring the store now and then, beside a publisher, so that a request only reads the last result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from msgspec.structs import replace

from phimage.catalog.image_bytes import live_manifests
from phimage.catalog.views import Catalog
from phimage.chunks.stats import MAX_DISKS, DiskStats, Measurement, keep_measurement, last_measurement, measure
from phimage.chunks.store import Store
from phimage.errors import PhimageError
from phimage.event_log import log
from phimage.model.ids import Revision

MIN_SECONDS = 60.0
"""The least time between two measurements."""
MAX_SECONDS = 3600.0
"""The time after which a store is measured although no revision was written, because a collection changes it too."""
SHARE = 50
"""A measurement is followed by a pause of so many times its length: at most 2 % of the time is spent measuring."""
CHECK_SECONDS = 60.0
FIRST_SECONDS = 5.0
"""The pause before the first check, so that a start is not slower."""
FAILED_SECONDS = 600.0
"""The pause after a measurement that failed."""


# docs/decisions.md#publishers-measure-the-store
def is_due(last: Measurement | None, head: Revision, now: float) -> bool:
    """Whether the store is measured now. A time in the future is that of a wrong clock and is ignored."""
    if last is None or last.finished > now:
        return True
    age = now - last.finished
    return age >= max(MIN_SECONDS, SHARE * last.seconds) and (last.revision != head or age >= MAX_SECONDS)


def measure_store(catalog: Catalog, store: Store, now: Callable[[], float], clock: Callable[[], float]) -> Measurement:
    """Measure the store and keep the result in it. Raises BadManifest, StoreFailure and ServiceUnavailable."""
    began, revision = clock(), catalog.refresh()
    with catalog.database.read() as connection:
        images = live_manifests(connection)
    stats = measure(store, list(images))
    largest = sorted(stats.images, key=lambda one: (-one.own, one.manifest))[:MAX_DISKS]
    measurement = Measurement(
        finished=now(),
        seconds=clock() - began,
        revision=revision,
        total=replace(stats, images=()),
        disk_count=len(images),
        image_count=sum(map(len, images.values())),
        disks=tuple(DiskStats(tuple(sorted(images[one.manifest])), one) for one in largest),
    )
    keep_measurement(store, measurement)
    return measurement


def keep_measuring(
    catalog: Catalog,
    store: Store,
    stop: threading.Event,
    now: Callable[[], float] = time.time,
    clock: Callable[[], float] = time.monotonic,
    pauses: tuple[float, float] = (FIRST_SECONDS, CHECK_SECONDS),
    failed: float = FAILED_SECONDS,
) -> None:
    """Measure the store whenever it is due, until `stop` is set. Publishers see each other's results.

    `pauses`: the seconds before the first check, and between checks; `failed`: after a measurement that failed.
    """
    wait, pause = pauses
    while not stop.wait(wait):
        wait = pause
        try:
            if is_due(last_measurement(store), catalog.refresh(), now()):
                measurement = measure_store(catalog, store, now, clock)
                log.info("store.measured", seconds=round(measurement.seconds, 3), chunks=measurement.total.chunks)
        except PhimageError as error:
            log.warning("store.not_measured", reason=str(error))
            wait = failed
