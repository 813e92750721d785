"""Open disks: a cache of manifests, so that a client which reads many small ranges does not load the manifest each time."""

from __future__ import annotations

import threading

from phimage.chunks.errors import BadChunk
from phimage.chunks.frame_list import FrameList, load_frame_list
from phimage.chunks.layout import ChunkDigest, ManifestDigest, chunk_name
from phimage.chunks.manifest import encode, load_manifest
from phimage.chunks.read import DiskReader
from phimage.chunks.store import Store
from phimage.delivery.qcow2 import Qcow2Disk
from phimage.delivery.representation import InMemory, RawDisk
from phimage.delivery.shared_reads import SharedReads
from phimage.delivery.zstd_disk import ZstdDisk, measure
from phimage.lru import Lru

MAX_DISKS = 8
_CACHED_BYTES = 4 << 20  # of raw chunks, for each disk
_MAX_DIGESTS = 1_000_000  # chunks that the manifests of all open disks name together, 32 bytes each


class OpenDisk:
    """One image's bytes in all forms. Thread-safe. `measured` is the zstd form once its frames are measured."""

    def __init__(self, store: Store, reader: DiskReader) -> None:
        self._store = store
        self._lock = threading.Lock()
        self.reader = reader
        self.raw = RawDisk(reader)
        self.qcow2 = Qcow2Disk(reader)
        self.measured: ZstdDisk | None = None
        self.stored_chunks = sum(run.stop - run.first for run in reader.manifest.runs)

    def zstd(self) -> ZstdDisk:
        """The zstd form. The first call blocks on the store. Raises BadChunk and StoreFailure."""
        with self._lock:
            if self.measured is None:
                frames = load_frame_list(self._store, self.reader.digest, self.reader.manifest)
                self.measured = measure(self.reader, self._store, frames)
            return self.measured

    def use(self, frames: FrameList) -> None:
        """Send verified frames by a list from now on. Its lengths give the zstd form the same size and entity tag."""
        with self._lock:
            self.measured = measure(self.reader, self._store, frames)

    def manifest(self) -> InMemory:
        """The manifest, as it is stored."""
        digest = self.reader.digest
        return InMemory(encode(self.reader.manifest), f'"{digest}"', "application/json", digest)


class DiskCache:
    """The disks used last, at most MAX_DISKS. Thread-safe."""

    def __init__(self, store: Store, reads: SharedReads) -> None:
        """Manifests and frame lists come from the store, frames through `reads`."""
        self._store = store
        self._reads = reads
        self._lock = threading.Lock()
        self._disks: Lru[ManifestDigest, OpenDisk] = Lru(_MAX_DIGESTS)

    def get(self, digest: ManifestDigest) -> OpenDisk | None:
        """The disk if it is open. Does not block."""
        with self._lock:
            return self._disks.get(digest)

    def open(self, digest: ManifestDigest) -> OpenDisk:
        """The disk. Blocks on the store if it is not open; raises BadManifest and StoreFailure."""
        disk = self.get(digest)
        if disk is None:
            manifest = load_manifest(self._store, digest)
            cached = max(1, _CACHED_BYTES // manifest.chunk_size)
            source, forget = self._reads.source(digest), self._forget_chunk
            disk = OpenDisk(self._store, DiskReader(source, digest, manifest, cached=cached, on_bad_chunk=forget))
            with self._lock:
                self._disks.put(digest, disk, max(disk.stored_chunks, _MAX_DIGESTS // MAX_DISKS))
        return disk

    def forget(self, digest: ManifestDigest) -> None:
        """Drop a disk, so that its manifest and frames are read again."""
        with self._lock:
            self._disks.remove(digest)

    def _forget_chunk(self, bad: BadChunk) -> None:
        self._reads.forget(chunk_name(ChunkDigest(bytes.fromhex(bad.chunk))))
