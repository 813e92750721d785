"""Statistics of images: logical and stored bytes, and which of them are not shared; and the last ones, kept in the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from phimage.chunks.errors import Absent
from phimage.chunks.layout import CHUNKS, STATISTICS, ChunkDigest, ManifestDigest, digest_of_name
from phimage.chunks.manifest import Manifest, load_manifest
from phimage.chunks.store import Store
from phimage.model.ids import ImageId, Revision

_LATEST = f"{STATISTICS}/latest"
MAX_DISKS = 1000
"""The number of disks in a kept measurement, which bounds its size to about 300 kB."""


class ImageStats(Struct, frozen=True):
    """Statistics of one image. Sizes in bytes."""

    manifest: ManifestDigest
    logical: int  # the raw disk
    data: int  # the non-zero chunks of the disk
    own: int  # stored for this image alone: freed by its removal
    shared: int  # stored, and needed by other images too
    missing: int  # number of its chunks that are not in the store


class StoreStats(Struct, frozen=True):
    """Statistics of all given images and of the store. Sizes in bytes."""

    images: tuple[ImageStats, ...]
    logical: int  # of all raw disks
    data: int  # the non-zero chunks of these disks
    stored: int  # chunks that these images need, compressed, each once
    unneeded: int  # other chunks: of removed or unfinished images
    other: int  # all other objects: manifests, quarantine
    chunks: int = 0  # number of stored chunks that these images need
    shared: int = 0  # those of `stored` that more than one disk needs

    @property
    def ratio(self) -> float:
        """Logical bytes per stored byte; 0 for an empty store."""
        return self.logical / self.stored if self.stored else 0.0


class DiskStats(Struct, frozen=True):
    """Statistics of one disk, and the images that have it."""

    images: tuple[ImageId, ...]
    stats: ImageStats


class Measurement(Struct, frozen=True):
    """Statistics with their time. `disks` are those that use the most space alone, at most MAX_DISKS."""

    finished: float  # Unix seconds
    seconds: float  # how long it took
    revision: Revision  # of the catalogue that named the manifests
    total: StoreStats  # without its images
    disk_count: int
    image_count: int
    disks: tuple[DiskStats, ...]


def keep_measurement(store: Store, measurement: Measurement) -> None:
    """Put a measurement in place of the last one."""
    store.put(_LATEST, msgspec.json.encode(measurement))


def last_measurement(store: Store) -> Measurement | None:
    """The last measurement that was kept; None without one that can be read."""
    try:
        return msgspec.json.decode(store.get(_LATEST), type=Measurement)
    except (Absent, msgspec.DecodeError):  # never measured; or damaged, or of another phimage: the next one replaces it
        return None


def measure(store: Store, manifests: Iterable[ManifestDigest]) -> StoreStats:
    """Compute the statistics from the sizes of all objects, without reading chunks. Raises BadManifest."""
    images = {digest: load_manifest(store, digest) for digest in dict.fromkeys(manifests)}
    users = Counter(chunk for image in images.values() for chunk in _distinct(image))
    sizes: dict[ChunkDigest, int] = {}
    unneeded = other = 0
    for stored in store.list():
        digest = digest_of_name(stored.name)
        if digest is None or not stored.name.startswith(f"{CHUNKS}/"):
            other += stored.size
        elif (chunk := ChunkDigest(bytes.fromhex(digest))) in users:
            sizes[chunk] = stored.size
        else:
            unneeded += stored.size
    stats = tuple(_image(digest, image, users, sizes) for digest, image in images.items())
    return StoreStats(
        images=stats,
        logical=sum(image.logical for image in stats),
        data=sum(image.data for image in stats),
        stored=sum(sizes.values()),
        chunks=len(sizes),
        shared=sum(size for chunk, size in sizes.items() if users[chunk] > 1),
        unneeded=unneeded,
        other=other,
    )


def _distinct(image: Manifest) -> set[ChunkDigest]:
    return {chunk for _, chunk in image.stored()}


def _image(digest: ManifestDigest, image: Manifest, users: Counter[ChunkDigest], sizes: dict[ChunkDigest, int]) -> ImageStats:
    chunks = _distinct(image)
    return ImageStats(
        manifest=digest,
        logical=image.size,
        data=sum(image.length(index) for index, _ in image.stored()),
        own=sum(sizes.get(chunk, 0) for chunk in chunks if users[chunk] == 1),
        shared=sum(sizes.get(chunk, 0) for chunk in chunks if users[chunk] > 1),
        missing=sum(chunk not in sizes for chunk in chunks),
    )
