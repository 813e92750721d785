"""Scrubbing: reading everything that images need, and naming what is wrong with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Literal

from msgspec import Struct

from phimage.chunks.errors import Absent, BadManifest, StoreFailure
from phimage.chunks.frame import Damaged, unpack
from phimage.chunks.layout import CHUNKS, ChunkDigest, ManifestDigest, chunk_name, digest_of_name, quarantine_name
from phimage.chunks.manifest import Manifest, load_manifest
from phimage.chunks.prefetch import prefetch
from phimage.chunks.read import DiskReader
from phimage.chunks.store import Store

Kind = Literal["manifest", "missing", "corrupt", "unreadable", "disk"]

_AT_ONCE = 4


class Finding(Struct, frozen=True):
    """Something wrong with one image."""

    kind: Kind  # `manifest`: it cannot be used; `disk`: good chunks that are not the disk that the manifest promises
    manifest: ManifestDigest
    reason: str
    chunk: str = ""  # hexadecimal
    index: int = -1
    offset: int = -1  # where the chunk begins on the disk, in bytes


class Progress(Struct, frozen=True):
    """How far a scrub has come. Chunks that images share are read, and counted, once."""

    chunks: int
    all_chunks: int
    bytes: int  # raw bytes verified


class _Use(Struct, frozen=True):
    """A chunk as some image needs it."""

    digest: ChunkDigest
    length: int


class _Wrong(Struct, frozen=True):
    kind: Kind
    reason: str


def scrub(
    store: Store, manifests: Iterable[ManifestDigest], *, now: float, whole_disk: bool = False, quarantine: bool = False
) -> Iterator[Finding | Progress]:
    """Verify every chunk of images. Yields Progress after each chunk, and a Finding for each image that a bad chunk hurts.

    `whole_disk` also computes each disk's digest, zeros included, which reads all of each image once more. `quarantine` moves a
    corrupt chunk aside, so that publishing any disk that has it puts a good one; `now` is the time before the call, and
    what was put later is not touched. An image that was removed meanwhile may be found wanting: look whether it is still
    live before you believe it. Raises StoreFailure when the store is away: what is unreachable is not bad.
    """
    images: dict[ManifestDigest, Manifest] = {}
    for digest in dict.fromkeys(manifests):
        image = _load(store, digest)
        if isinstance(image, Finding):
            yield image
        else:
            images[digest] = image
    uses = {
        _Use(chunk, image.length(index)): None for image in images.values() for index, chunk in image.stored()
    }  # a dict keeps their order: neighbours on a disk were put together
    wrong: dict[_Use, _Wrong] = {}
    places: dict[_Use, list[tuple[ManifestDigest, int]]] = {}
    verified = 0
    results = prefetch(lambda use: _verify(store, use), uses, _AT_ONCE)
    for number, (use, found) in enumerate(zip(uses, results, strict=True), 1):
        if found is None:
            verified += use.length
        else:
            wrong[use] = found
            if quarantine and found.kind == "corrupt":
                _put_aside(store, use.digest, now)
            places = places or _places(images)
            for digest, index in places[use]:
                offset = index * images[digest].chunk_size
                yield Finding(found.kind, digest, found.reason, use.digest.hex(), index, offset)
        yield Progress(number, len(uses), verified)
    if whole_disk:
        for digest, image in images.items():
            if not any(_Use(chunk, image.length(index)) in wrong for index, chunk in image.stored()):
                yield from _verify_disk(store, digest, image)


def find_missing(store: Store, manifests: Iterable[ManifestDigest]) -> Iterator[Finding]:
    """A Finding for each manifest that cannot be used, and for each image whose chunks are not all in the store.

    Reads manifests and lists chunks, which costs a fraction of a scrub; bytes are not compared. Raises StoreFailure.
    """
    there = {digest_of_name(stored.name) for stored in store.list(CHUNKS)}
    for digest in dict.fromkeys(manifests):
        image = _load(store, digest)
        if isinstance(image, Finding):
            yield image
            continue
        missing = [(index, chunk) for index, chunk in image.stored() if chunk.hex() not in there]
        if missing:
            index, chunk = missing[0]
            reason = f"{len(missing)} places on the disk need chunks that are not in the store"
            yield Finding("missing", digest, reason, chunk.hex(), index, index * image.chunk_size)


def _load(store: Store, digest: ManifestDigest) -> Manifest | Finding:
    try:
        return load_manifest(store, digest)
    except BadManifest as bad:
        return Finding("manifest", digest, bad.reason)
    except StoreFailure as failure:
        if failure.passing:
            raise
        return Finding("manifest", digest, str(failure))


def _verify(store: Store, use: _Use) -> _Wrong | None:
    try:
        unpack(store.get(chunk_name(use.digest)), use.digest, use.length)
    except Absent:
        return _Wrong("missing", "it is not in the store")
    except Damaged as error:
        return _Wrong("corrupt", str(error))
    except StoreFailure as failure:
        if failure.passing:
            raise
        return _Wrong("unreadable", str(failure))
    return None


def _places(images: dict[ManifestDigest, Manifest]) -> dict[_Use, list[tuple[ManifestDigest, int]]]:
    """Every place on every disk where a chunk is needed. Made only when something is wrong."""
    places: defaultdict[_Use, list[tuple[ManifestDigest, int]]] = defaultdict(list)
    for digest, image in images.items():
        for index, chunk in image.stored():
            places[_Use(chunk, image.length(index))].append((digest, index))
    return places


def _verify_disk(store: Store, digest: ManifestDigest, image: Manifest) -> Iterator[Finding]:
    whole = sha256()
    for piece in DiskReader(store, digest, image).chunks():
        whole.update(piece)
    if whole.hexdigest() != image.sha256:
        yield Finding("disk", digest, f"the disk has the SHA-256 {whole.hexdigest()}, not {image.sha256}")


def _put_aside(store: Store, chunk: ChunkDigest, before: float) -> None:
    """Keep what a damaged chunk has become, for whoever wants to know why, and free its name."""
    name = chunk_name(chunk)
    try:
        damaged = store.get(name)
    except (Absent, StoreFailure):
        return
    store.put(quarantine_name(chunk), damaged)
    store.delete(name, before)
