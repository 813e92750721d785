"""What images cost: logical and stored bytes, and what each has to itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from phimage.chunks.layout import CHUNKS, ChunkDigest, ManifestDigest, digest_of_name
from phimage.chunks.manifest import Manifest, load_manifest
from phimage.chunks.store import Store


class ImageStats(Struct, frozen=True):
    """One image. Sizes in bytes."""

    manifest: ManifestDigest
    logical: int  # the raw disk
    data: int  # of it, what is not zeros
    own: int  # stored for this image alone: what removing it would free
    shared: int  # stored, and needed by other images too
    missing: int  # how many of its chunks are not in the store


class StoreStats(Struct, frozen=True):
    """All given images, and the store. Sizes in bytes."""

    images: tuple[ImageStats, ...]
    logical: int  # of all raw disks
    data: int  # of it, what is not zeros
    stored: int  # chunks that these images need, compressed, each once
    unneeded: int  # other chunks: of images that are gone, or not yet there
    other: int  # all other objects: manifests, what was put aside

    @property
    def ratio(self) -> float:
        """How many logical bytes stand on one stored byte; 0 for an empty store."""
        return self.logical / self.stored if self.stored else 0.0


def measure(store: Store, manifests: Iterable[ManifestDigest]) -> StoreStats:
    """Look at every object's size, without reading chunks. Raises BadManifest."""
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
    told = tuple(_image(digest, image, users, sizes) for digest, image in images.items())
    return StoreStats(
        images=told,
        logical=sum(image.logical for image in told),
        data=sum(image.data for image in told),
        stored=sum(sizes.values()),
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
