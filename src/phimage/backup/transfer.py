"""Copies the manifests, frame lists and chunks of images to another store: only those that it lacks, each verified."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from msgspec import Struct

from phimage.backup.record import BackupFailed
from phimage.chunks.errors import Absent, BadManifest, StoreFailure
from phimage.chunks.frame import Damaged, unpack
from phimage.chunks.frame_list import load_frame_list
from phimage.chunks.layout import (
    CHUNKS,
    FRAMES,
    MANIFESTS,
    ChunkDigest,
    ManifestDigest,
    chunk_name,
    frame_list_name,
    manifest_name,
)
from phimage.chunks.manifest import Manifest, encode, load_manifest
from phimage.chunks.prefetch import prefetch
from phimage.chunks.store import Store, Stored

MAX_NAMED = 10
"""Damaged objects that a message names; there may be more."""

_PARALLEL = 8

IsDurable = Callable[[Stored], bool]
"""Whether an object of the target will stay; if not, it is sent again."""

Progress = Callable[[int, int], object]
"""Called after each chunk with the sent bytes of disks, and with all bytes to send."""


class Transferred(Struct, frozen=True):
    """The result of `transfer`: sent objects, and those that the images need."""

    sent_chunks: int
    sent_bytes: int  # as stored, compressed
    sent_manifests: int
    chunks: int  # that the images need, each once
    image_bytes: int  # of all raw disks


class NeededDisks:
    """The manifests of images, and the chunks that they need."""

    def __init__(self, source: Store, digests: Iterable[ManifestDigest], remedy: str) -> None:
        """Raises BackupFailed with the missing and damaged manifests, and the `remedy`."""
        self.remedy = remedy
        self.manifests: dict[ManifestDigest, Manifest] = {}
        bad: list[str] = []
        wanted = list(dict.fromkeys(digests))

        def load(digest: ManifestDigest) -> Manifest | None:
            try:
                return load_manifest(source, digest)
            except BadManifest as error:
                bad.append(str(error))
                return None

        for digest, manifest in zip(wanted, prefetch(load, wanted, _PARALLEL), strict=True):
            if manifest is not None:
                self.manifests[digest] = manifest
        _refuse(source, bad, remedy)
        self.chunks = dict.fromkeys(
            _Chunk(digest, manifest.length(index))
            for manifest in self.manifests.values()
            for index, digest in manifest.stored()
        )

    def names(self) -> Iterator[str]:
        """The names of all objects that the images need."""
        yield from (chunk_name(chunk.digest) for chunk in self.chunks)
        yield from (manifest_name(digest) for digest in self.manifests)


class _Chunk(NamedTuple):
    digest: ChunkDigest
    length: int  # of its raw bytes


def transfer(source: Store, target: Store, disks: NeededDisks, is_durable: IsDurable, progress: Progress) -> Transferred:
    """Copy what the target lacks: chunks first, so that a manifest in the target always has all of its chunks.

    Sends everything else before it raises BackupFailed for missing and damaged objects of the source.
    """
    there = {stored.name: stored for folder in (CHUNKS, FRAMES, MANIFESTS) for stored in target.list(folder)}
    total = sum(chunk.length for chunk in disks.chunks if chunk_name(chunk.digest) not in there)
    bad: list[str] = []

    def send(chunk: _Chunk) -> int:
        name = chunk_name(chunk.digest)
        if (stored := there.get(name)) is not None and is_durable(stored):
            return 0
        try:
            frame = source.get(name)
            unpack(frame, chunk.digest, chunk.length)
        except Absent:
            bad.append(f"{name} is missing")
        except Damaged as error:
            bad.append(f"{name}: {error}")
        except StoreFailure as failure:
            if failure.passing:
                raise
            bad.append(str(failure))
        else:
            target.put(name, frame)
            return len(frame)
        return 0

    sent_chunks = sent_bytes = done = 0
    for chunk, size in zip(disks.chunks, prefetch(send, disks.chunks, _PARALLEL), strict=True):
        if size:
            sent_chunks, sent_bytes, done = sent_chunks + 1, sent_bytes + size, done + chunk.length
        progress(min(done, total), total)
    _refuse(source, bad, disks.remedy)

    def send_manifest(digest: ManifestDigest) -> bool:
        name = manifest_name(digest)
        if (stored := there.get(name)) is not None and is_durable(stored):
            return False
        if frame_list_name(digest) not in there and (frames := load_frame_list(source, digest, disks.manifests[digest])):
            target.put(frame_list_name(digest), frames.encode(digest))
        target.put(name, encode(disks.manifests[digest]))  # canonical, so these are the bytes of the source
        return True

    sent_manifests = sum(prefetch(send_manifest, disks.manifests, _PARALLEL))
    image_bytes = sum(manifest.size for manifest in disks.manifests.values())
    return Transferred(sent_chunks, sent_bytes, sent_manifests, len(disks.chunks), image_bytes)


def _refuse(source: Store, bad: list[str], remedy: str) -> None:
    if bad:
        more = f", and {len(bad) - MAX_NAMED} more" if len(bad) > MAX_NAMED else ""
        named = "; ".join(bad[:MAX_NAMED])
        raise BackupFailed(f"{len(bad)} objects of {source.describe()} cannot be copied: {named}{more}; {remedy}")
