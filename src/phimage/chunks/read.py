"""Reading a disk from the store. Every chunk is decompressed and verified before any byte of it is returned."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from hashlib import sha256 as new_sha256
from itertools import accumulate
from typing import Literal, Protocol

from phimage.chunks.errors import Absent, BadChunk, StoreFailure
from phimage.chunks.frame import Damaged, unpack, zero_frame, zeros
from phimage.chunks.frame_tags import FrameTags, Verified
from phimage.chunks.layout import ChunkDigest, ManifestDigest, chunk_name
from phimage.chunks.manifest import Manifest, load_manifest
from phimage.chunks.prefetch import prefetch
from phimage.chunks.store import Store
from phimage.lru import Lru

AHEAD = 4
"""How many chunks are prefetched."""

CACHED = 4
"""How many chunks are cached, for small reads."""


class ObjectSource(Protocol):
    """What objects are read from: a store, or what stands before it."""

    def get(self, name: str) -> bytes:
        """Read an object whole. Raises Absent and StoreFailure."""
        ...


class DiskReader:
    """Reads the bytes of one image. Thread-safe.

    Every read raises BadChunk for a missing, damaged or unreadable chunk, and StoreFailure when a retry may help. Bytes
    returned before are verified.
    """

    def __init__(
        self,
        store: ObjectSource,
        digest: ManifestDigest,
        manifest: Manifest,
        *,
        cached: int = CACHED,
        on_bad_chunk: Callable[[BadChunk], object] | None = None,
    ) -> None:
        """`on_bad_chunk` is called with every BadChunk before it is raised, to count and log it."""
        self.manifest = manifest
        self.digest = digest
        self._store = store
        self._on_bad_chunk = on_bad_chunk or (lambda _: None)
        self._cache: Lru[int, bytes] = Lru(cached)
        self._lock = threading.Lock()
        self._bad = 0
        self._before = [0, *accumulate(run.stop - run.first for run in manifest.runs)]  # stored chunks before each run
        self._tags = FrameTags(self._before[-1])

    @property
    def bad(self) -> int:
        """The number of bad chunks read so far."""
        return self._bad

    def chunk(self, index: int) -> bytes:
        """All bytes of one chunk."""
        frame = self._load(index)
        return zeros(self.manifest.length(index)) if frame is None else self._raw(index, frame)

    def read(self, offset: int, length: int) -> bytes:
        """A range of the disk as one bytes object, for small ranges. Raises ValueError outside the disk."""
        if offset < 0 or length < 0 or offset + length > self.manifest.size:
            raise ValueError(f"{length} bytes at {offset} are not inside a disk of {self.manifest.size}")
        size = self.manifest.chunk_size
        pieces = []
        for index in range(offset // size, -(-(offset + length) // size) if length else 0):
            begins = index * size
            pieces.append(self._cached_chunk(index)[max(0, offset - begins) : offset + length - begins])
        return b"".join(pieces)

    def chunks(self, start: int = 0, stop: int | None = None, max_ahead: int = AHEAD) -> Iterator[bytes]:
        """The bytes from `start` up to `stop`, in pieces of at most a chunk. Raises ValueError outside the disk."""
        stop = self.manifest.size if stop is None else stop
        if not 0 <= start <= stop <= self.manifest.size:
            raise ValueError(f"{start} to {stop} is not inside a disk of {self.manifest.size} bytes")
        return self._pieces(start, stop, max_ahead)

    def frames(self, first: int = 0, stop: int | None = None, max_ahead: int = AHEAD) -> Iterator[bytes]:
        """The zstd frames of the chunks from `first` up to `stop`; all of them are the disk as one zstd file."""
        indices = range(first, self.manifest.count if stop is None else stop)
        return prefetch(self.frame, indices, max_ahead)

    def frame(self, index: int, sha256: bytes = b"") -> bytes:
        """The verified zstd frame of one chunk; for zeros the constant one.

        A frame with this SHA-256 counts as verified. Any other one is decompressed, and the digest of the chunk decides.
        """
        frame = self._load(index)
        if frame is None:
            return zero_frame(self.manifest.length(index))
        place, digest = self._place(index)
        if self._tags.find(place, digest, frame) is Verified.NOT:
            if sha256 and new_sha256(frame).digest() == sha256:
                self._tags.note(place, digest, frame, Verified.AS_LISTED)
            else:
                self._raw(index, frame)
        return frame

    def _pieces(self, start: int, stop: int, max_ahead: int) -> Iterator[bytes]:
        size = self.manifest.chunk_size
        indices = range(start // size, -(-stop // size)) if start < stop else range(0)

        def piece(index: int) -> bytes:
            begins = index * size
            if start <= begins and begins + self.manifest.length(index) <= stop:
                return self.chunk(index)
            return self._cached_chunk(index)[max(0, start - begins) : stop - begins]

        return prefetch(piece, indices, max_ahead if len(indices) > 1 else 0)

    def _cached_chunk(self, index: int) -> bytes:
        """A chunk from the cache, or else from the store."""
        with self._lock:
            cached = self._cache.get(index)
        if cached is not None:
            return cached
        raw = self.chunk(index)
        with self._lock:
            self._cache.put(index, raw)
        return raw

    def _load(self, index: int) -> bytes | None:
        """The stored frame of a chunk, unverified; None for zeros."""
        if not 0 <= index < self.manifest.count:
            raise IndexError(f"chunk {index} of {self.manifest.count}")
        digest = self.manifest.chunk(index)
        if digest is None:
            return None
        try:
            return self._store.get(chunk_name(digest))
        except Absent:
            raise self._bad_chunk(index, digest, "missing", "it is not in the store") from None
        except StoreFailure as failure:
            if failure.passing:
                raise
            raise self._bad_chunk(index, digest, "unreadable", str(failure)) from failure

    def _raw(self, index: int, frame: bytes) -> bytes:
        """The verified raw bytes of a stored chunk."""
        place, digest = self._place(index)
        was_unpacked = self._tags.find(place, digest, frame) is Verified.UNPACKED
        try:
            raw = unpack(frame, None if was_unpacked else digest, self.manifest.length(index))
        except Damaged as error:
            raise self._bad_chunk(index, digest, "corrupt", str(error)) from error
        if not was_unpacked:
            self._tags.note(place, digest, frame, Verified.UNPACKED)
        return raw

    def _place(self, index: int) -> tuple[int, ChunkDigest]:
        """The number of a stored chunk among the stored ones, and its digest."""
        run = bisect_right(self.manifest.runs, index, key=lambda run: run.first) - 1
        digest = self.manifest.chunk(index)
        assert digest is not None
        return self._before[run] + index - self.manifest.runs[run].first, digest

    def _bad_chunk(
        self, index: int, digest: ChunkDigest, kind: Literal["missing", "corrupt", "unreadable"], reason: str
    ) -> BadChunk:
        bad = BadChunk(self.digest, digest.hex(), index, index * self.manifest.chunk_size, kind, reason)
        with self._lock:
            self._bad += 1
        self._on_bad_chunk(bad)
        return bad


def open_disk(store: Store, digest: ManifestDigest) -> DiskReader:
    """A reader of an image's bytes. Raises BadManifest."""
    return DiskReader(store, digest, load_manifest(store, digest))
