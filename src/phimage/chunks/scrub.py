"""Scrubbing: reads and verifies every object that images need, and reports defects."""

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

DefectKind = Literal["manifest", "missing", "corrupt", "unreadable", "disk"]

_CONCURRENCY = 4


class ScrubFinding(Struct, frozen=True):
    """A defect of one image."""

    kind: DefectKind  # `manifest`: missing, damaged or invalid; `disk`: good chunks, but another disk than in the manifest
    manifest: ManifestDigest
    reason: str
    chunk: str = ""  # hexadecimal
    index: int = -1
    offset: int = -1  # the chunk's place on the disk, in bytes


class ScrubProgress(Struct, frozen=True):
    """The progress of a scrub. Chunks that images share are read and counted once."""

    chunks: int
    all_chunks: int
    bytes: int  # raw bytes verified


class _ChunkUse(Struct, frozen=True):
    """A chunk that an image needs, with its raw length."""

    digest: ChunkDigest
    length: int


class _Defect(Struct, frozen=True):
    kind: DefectKind
    reason: str


def scrub(
    store: Store, manifests: Iterable[ManifestDigest], *, now: float, whole_disk: bool = False, quarantine: bool = False
) -> Iterator[ScrubFinding | ScrubProgress]:
    """Verify every chunk of images. Yields ScrubProgress after each chunk, and a ScrubFinding for each image with a bad chunk.

    `whole_disk` also computes each disk's digest, including zeros, which reads all of each image once more. `quarantine` moves
    corrupt chunks aside, so that the next publication of a disk with such a chunk puts a good one; `now` is the time before the
    call, and chunks put later are not moved. For an image removed meanwhile findings may be wrong: check that it is still live.
    Raises StoreFailure when the store is unreachable, which is not a defect.
    """
    images: dict[ManifestDigest, Manifest] = {}
    for digest in dict.fromkeys(manifests):
        image = _load(store, digest)
        if isinstance(image, ScrubFinding):
            yield image
        else:
            images[digest] = image
    uses = {
        _ChunkUse(chunk, image.length(index)): None for image in images.values() for index, chunk in image.stored()
    }  # a dict keeps the order: neighbours on a disk were put together
    defects: dict[_ChunkUse, _Defect] = {}
    places: dict[_ChunkUse, list[tuple[ManifestDigest, int]]] = {}
    verified = 0
    results = prefetch(lambda chunk_use: _verify(store, chunk_use), uses, _CONCURRENCY)
    for number, (chunk_use, defect) in enumerate(zip(uses, results, strict=True), 1):
        if defect is None:
            verified += chunk_use.length
        else:
            defects[chunk_use] = defect
            if quarantine and defect.kind == "corrupt":
                _quarantine(store, chunk_use.digest, now)
            places = places or _places(images)
            for digest, index in places[chunk_use]:
                offset = index * images[digest].chunk_size
                yield ScrubFinding(defect.kind, digest, defect.reason, chunk_use.digest.hex(), index, offset)
        yield ScrubProgress(number, len(uses), verified)
    if whole_disk:
        for digest, image in images.items():
            if not any(_ChunkUse(chunk, image.length(index)) in defects for index, chunk in image.stored()):
                yield from _verify_disk(store, digest, image)


def find_missing(store: Store, manifests: Iterable[ManifestDigest]) -> Iterator[ScrubFinding]:
    """A ScrubFinding for each bad manifest, and for each image with chunks that are not in the store.

    Reads manifests and lists chunks, at a fraction of the cost of a scrub; bytes are not verified. Raises StoreFailure.
    """
    present = {digest_of_name(stored.name) for stored in store.list(CHUNKS)}
    for digest in dict.fromkeys(manifests):
        image = _load(store, digest)
        if isinstance(image, ScrubFinding):
            yield image
            continue
        missing = [(index, chunk) for index, chunk in image.stored() if chunk.hex() not in present]
        if missing:
            index, chunk = missing[0]
            reason = f"chunks of {len(missing)} places on the disk are not in the store"
            yield ScrubFinding("missing", digest, reason, chunk.hex(), index, index * image.chunk_size)


def _load(store: Store, digest: ManifestDigest) -> Manifest | ScrubFinding:
    try:
        return load_manifest(store, digest)
    except BadManifest as bad:
        return ScrubFinding("manifest", digest, bad.reason)
    except StoreFailure as failure:
        if failure.passing:
            raise
        return ScrubFinding("manifest", digest, str(failure))


def _verify(store: Store, chunk_use: _ChunkUse) -> _Defect | None:
    try:
        unpack(store.get(chunk_name(chunk_use.digest)), chunk_use.digest, chunk_use.length)
    except Absent:
        return _Defect("missing", "it is not in the store")
    except Damaged as error:
        return _Defect("corrupt", str(error))
    except StoreFailure as failure:
        if failure.passing:
            raise
        return _Defect("unreadable", str(failure))
    return None


def _places(images: dict[ManifestDigest, Manifest]) -> dict[_ChunkUse, list[tuple[ManifestDigest, int]]]:
    """Every place of every chunk on every disk. Computed only when there is a defect."""
    places: defaultdict[_ChunkUse, list[tuple[ManifestDigest, int]]] = defaultdict(list)
    for digest, image in images.items():
        for index, chunk in image.stored():
            places[_ChunkUse(chunk, image.length(index))].append((digest, index))
    return places


def _verify_disk(store: Store, digest: ManifestDigest, image: Manifest) -> Iterator[ScrubFinding]:
    whole = sha256()
    for piece in DiskReader(store, digest, image).chunks():
        whole.update(piece)
    if whole.hexdigest() != image.sha256:
        yield ScrubFinding("disk", digest, f"the disk has the SHA-256 {whole.hexdigest()}, not {image.sha256}")


def _quarantine(store: Store, chunk: ChunkDigest, before: float) -> None:
    """Keep a damaged chunk's bytes for an investigation, and free its name."""
    name = chunk_name(chunk)
    try:
        damaged = store.get(name)
    except (Absent, StoreFailure):
        return
    store.put(quarantine_name(chunk), damaged)
    store.delete(name, before)
