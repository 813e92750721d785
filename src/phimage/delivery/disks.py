"""Open disks: the manifests that were read last, so that a client which asks for many small ranges costs one look at each."""

from __future__ import annotations

import threading

from phimage.chunks.layout import ManifestDigest
from phimage.chunks.manifest import encode, load_manifest
from phimage.chunks.read import DiskReader
from phimage.chunks.store import Store
from phimage.delivery.frames import Frames, measure
from phimage.delivery.qcow2 import Qcow2
from phimage.delivery.raw import Raw
from phimage.delivery.representation import Text
from phimage.lru import Lru

MAX_DISKS = 8
_CACHED_BYTES = 4 << 20  # of raw chunks, for each disk
_MAX_DIGESTS = 1_000_000  # chunks that the manifests of all open disks name together, 32 bytes each


class Disk:
    """One image's bytes, in all forms. Safe to use from several threads. `measured` is the zstd file once that is known."""

    def __init__(self, store: Store, reader: DiskReader) -> None:
        self._store = store
        self._lock = threading.Lock()
        self.reader = reader
        self.raw = Raw(reader)
        self.qcow2 = Qcow2(reader)
        self.measured: Frames | None = None
        self.stored = sum(run.stop - run.first for run in reader.manifest.runs)

    def frames(self) -> Frames:
        """The disk as a zstd file. Waits for the store the first time. Raises BadChunk and StoreFailure."""
        with self._lock:
            if self.measured is None:
                self.measured = measure(self.reader, self._store)
            return self.measured

    def manifest(self) -> Text:
        """The manifest, as it is stored."""
        digest = self.reader.digest
        return Text(encode(self.reader.manifest), f'"{digest}"', "application/json", digest)


class Disks:
    """Remembers a few open disks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._disks: Lru[ManifestDigest, Disk] = Lru(_MAX_DIGESTS)

    def known(self, digest: ManifestDigest) -> Disk | None:
        """A disk that is open. Does not wait."""
        with self._lock:
            return self._disks.get(digest)

    def open(self, digest: ManifestDigest) -> Disk:
        """A disk, open or not. Waits for the store; raises BadManifest and StoreFailure."""
        disk = self.known(digest)
        if disk is None:
            manifest = load_manifest(self._store, digest)
            cached = max(1, _CACHED_BYTES // manifest.chunk_size)
            disk = Disk(self._store, DiskReader(self._store, digest, manifest, cached=cached))
            with self._lock:
                self._disks.put(digest, disk, max(disk.stored, _MAX_DIGESTS // MAX_DISKS))
        return disk

    def forget(self, digest: ManifestDigest) -> None:
        """Read it anew the next time."""
        with self._lock:
            self._disks.remove(digest)
