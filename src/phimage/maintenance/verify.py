"""Verification of stored bytes against their digests, and statistics of the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from phimage.catalog.engine import Database
from phimage.catalog.image_bytes import image_bytes_of, live_manifests
from phimage.catalog.views import Catalog
from phimage.chunks.frame_list import remove_damaged
from phimage.chunks.layout import ManifestDigest
from phimage.chunks.scrub import ScrubFinding, ScrubProgress, scrub
from phimage.chunks.scrub import find_missing as find_missing_objects
from phimage.chunks.stats import StoreStats, measure
from phimage.chunks.store import Store
from phimage.errors import SetupError
from phimage.model.ids import ImageId


class ImageFinding(Struct, frozen=True):
    """A missing or damaged chunk or manifest, and the images that need it."""

    finding: ScrubFinding
    images: tuple[ImageId, ...]


def remove_damaged_frame_lists(catalog: Catalog, store: Store, images: Iterable[ImageId]) -> Iterator[ManifestDigest]:
    """Remove the damaged frame lists of some images, or of all if none is named. Yields the manifest of each."""
    named = list(images)
    with catalog.database.read() as connection:
        records = image_bytes_of(connection, named).values() if named else ()
        manifests = [record.manifest for record in records] if named else list(live_manifests(connection))
    return remove_damaged(store, manifests)


def verify(
    catalog: Catalog, store: Store, images: Iterable[ImageId], *, whole_disk: bool, quarantine: bool, now: float
) -> Iterator[ImageFinding | ScrubProgress]:
    """Verify every chunk of some images, or of all if none is named. Raises SetupError for an image without bytes.

    Omits findings of images that were withdrawn meanwhile.
    """
    named = list(images)
    with catalog.database.read() as connection:
        if named:
            records = image_bytes_of(connection, named)
            missing = [id for id in named if id not in records or not records[id].stored]
            if missing:
                raise SetupError(f"{missing[0]} has no bytes to verify: check the id, or wait until the image is published")
            manifests = [record.manifest for record in records.values()]
        else:
            manifests = list(live_manifests(connection))
    for result in scrub(store, manifests, now=now, whole_disk=whole_disk, quarantine=quarantine):
        if isinstance(result, ScrubProgress):
            yield result
        else:
            yield from _affected(catalog.database, result)


def find_missing(database: Database, store: Store) -> Iterator[ImageFinding]:
    """Manifests and chunks that images need and the store lacks. Compares no bytes. Raises StoreFailure."""
    with database.read() as connection:
        manifests = list(live_manifests(connection))
    if manifests:
        for finding in find_missing_objects(store, manifests):
            yield from _affected(database, finding)


def stats(catalog: Catalog, store: Store) -> tuple[StoreStats, dict[ManifestDigest, list[ImageId]]]:
    """The sizes of disks and stored bytes, and the images of each manifest. Raises BadManifest."""
    with catalog.database.read() as connection:
        images = live_manifests(connection)
    return measure(store, list(images)), images


def _affected(database: Database, finding: ScrubFinding) -> Iterator[ImageFinding]:
    """The finding with its images; nothing if all of them were withdrawn meanwhile."""
    with database.read() as connection:
        images = live_manifests(connection).get(finding.manifest, [])
    if images:
        yield ImageFinding(finding, tuple(images))
