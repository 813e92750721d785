"""Writing a disk into the store: its chunks are hashed, compressed and put, and only then named by a manifest.

The caller's thread cuts the disk, and a thread of its own hashes it as a whole; worker threads hash, look up and compress
chunks, and put them in batches (zstd and SHA-256 release the GIL). Zeros are counted, and read by the whole hash alone. In
memory are the chunk being filled, `2 * workers` chunks, a few that wait for the whole hash, and the frames of a few batches.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

from phimage.chunks.errors import WrongDisk
from phimage.chunks.frame import pack, zeros
from phimage.chunks.frame_list import ListedFrame, listed, put_known_frames
from phimage.chunks.gc_guard import GcGuard
from phimage.chunks.layout import (
    CHUNK_SIZE,
    MAX_CHUNKS,
    MAX_DISK_SIZE,
    ChunkDigest,
    DiskDigest,
    ManifestDigest,
    chunk_name,
    manifest_name,
)
from phimage.chunks.manifest import Manifest, build, digest_of, encode
from phimage.chunks.read import DiskReader
from phimage.chunks.store import Store
from phimage.chunks.whole_digest import WholeDigest
from phimage.zstd_frame import LEVEL

WORKERS = 4
"""Enough for two cores to compress while the other threads wait for the disk or the network."""

BATCH_BYTES = 4 << 20
"""Frames of at least so many bytes are put together, because making many objects durable at once costs little more than one."""

BATCH_OBJECTS = 128

_MAX_REMEMBERED = 1 << 20
_ZEROS_AT_ONCE = 64 << 20
"""A longer run of zeros is taken in steps, so that its progress is seen and it can be aborted."""


class Written(Struct, frozen=True):
    """A complete, durable and verified disk in the store."""

    digest: ManifestDigest
    manifest: Manifest
    register_before: float  # Unix seconds; the disk may be collected later, unless the collection's `live` names its digest
    new_chunks: int
    new_bytes: int  # compressed size of the new chunks

    @property
    def reused_bytes(self) -> int:
        """Raw bytes of the chunks that the store had already, each counted once."""
        known = len({chunk for _, chunk in self.manifest.stored()}) - self.new_chunks
        return known * self.manifest.chunk_size


class DiskWriter:
    """Writes one disk. Ends with `finish` or `abort`; leaving a `with` block without `finish` aborts.

    `settle` comes before `finish` for who wants to read the disk before there is a manifest.

    Not thread-safe. After an error, abort and write the disk again; chunks that are already in the store are not put again.
    """

    def __init__(
        self,
        store: Store,
        size: int | None,
        *,
        chunk_size: int = CHUNK_SIZE,
        level: int = LEVEL,
        workers: int = WORKERS,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        """`size` is that of the raw disk in bytes, None if it ends where its bytes end. `progress` is called after each chunk
        with the bytes taken so far."""
        if size is not None:
            build(size, chunk_size, DiskDigest("0" * 64), [-(-size // chunk_size)], {})  # refuses impossible sizes
        self._store = store
        self._size = size
        self._max_size = MAX_DISK_SIZE if size is None else size
        self._chunk_size = chunk_size
        self._level = level
        self._progress = progress or (lambda _: None)
        self._guard = GcGuard(store, now, sleep)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="phimage-write")
        self._slots = threading.Semaphore(2 * workers)
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._settled: Manifest | None = None
        self._ended = False
        self._whole = WholeDigest()
        self._filling = bytearray()
        self._chunks: list[ChunkDigest | int] = []
        self._stored = 0
        self._seen: set[ChunkDigest] = set()
        self._frames: dict[ChunkDigest, ListedFrame] = {}  # those that were put
        self._batch: list[tuple[str, bytes]] = []
        self._batch_bytes = 0
        self._new_chunks = 0
        self._new_bytes = 0
        self._taken = 0

    @property
    def taken(self) -> int:
        """The number of bytes written so far."""
        return self._taken

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write the next bytes of the disk. Raises WrongDisk beyond its size, and errors of earlier writes."""
        view = memoryview(data)
        self._check(len(view))
        while view:
            if not self._filling and len(view) >= self._chunk_size:
                piece = view[: self._chunk_size]
                self._cut(data if isinstance(data, bytes) and len(data) == len(piece) else bytes(piece))
            else:
                piece = view[: self._chunk_size - len(self._filling)]
                self._filling += piece
                if len(self._filling) == self._chunk_size:
                    self._cut_filled()
            view = view[len(piece) :]

    def zeros(self, count: int) -> None:
        """Write `count` zeros, such as a hole. Raises like `write`."""
        at_once = max(_ZEROS_AT_ONCE, self._chunk_size)
        while count > at_once:
            self._zeros(at_once)
            count -= at_once
        self._zeros(count)

    def chunk(self, raw: bytes, digest: ChunkDigest, frame: bytes) -> None:
        """Write the next whole chunk, whose digest and frame the caller has verified. Raises like `write`.

        The last chunk of a disk may be shorter if its size was announced.
        """
        if self._taken % self._chunk_size:
            raise ValueError("a whole chunk begins where one ended")
        self._check(len(raw))
        if len(raw) != self._chunk_size and self._taken != self._size:
            raise WrongDisk(f"a chunk of {len(raw)} bytes is not the last one")
        self._cut(raw, (digest, frame))

    def settle(self) -> DiskReader:
        """End the disk: wait until every chunk is in the store, and return a reader of them, which has no facts.

        Only `finish` or `abort` may follow. Raises WrongDisk and StoreFailure.
        """
        draft = self._settle()
        return DiskReader(self._store, digest_of(encode(draft)), draft)

    def finish(
        self, facts: Mapping[str, Any], sha256: str | None = None, check: Callable[[DiskDigest], object] = lambda _: None
    ) -> Written:
        """Put the manifest once every chunk is durable. `sha256` is the expected digest of the raw disk.

        `check` is called with its actual digest before that, and may raise. Raises WrongDisk, StoreFailure, Lost; then there is
        no manifest, and a garbage collection removes the chunks later.
        """
        try:
            draft = self._settle()
            if sha256 is not None and sha256 != draft.sha256:
                raise WrongDisk(f"the disk has the SHA-256 {draft.sha256}, not {sha256}")
            check(draft.sha256)
            manifest = build(draft.size, self._chunk_size, draft.sha256, self._chunks, facts)
            data = encode(manifest)
            digest = digest_of(data)
            name = manifest_name(digest)
            self._guard.ensure(name)  # so that a collection that has listed an old manifest does not remove the new one
            register_before = self._guard.confirm(lambda: {chunk_name(chunk) for _, chunk in manifest.stored()})
            put_known_frames(self._store, digest, manifest, self._frames)
            self._store.put(name, data)
        finally:
            self.abort()
        return Written(digest, manifest, register_before, self._new_chunks, self._new_bytes)

    def abort(self) -> None:
        """Stop without a manifest. Chunks stay until a garbage collection. Does nothing after the end."""
        self._ended = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._whole.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.abort()

    def _settle(self) -> Manifest:
        """Every chunk is in the store afterwards. Returns a manifest without facts."""
        if self._settled is None or self._ended:
            self._check(0)
            if self._filling:
                self._cut_filled()
            self._pool.shutdown(wait=True)
            self._check(0)
            self._put_batch(self._batch)
            if not self._taken or (self._size is not None and self._taken != self._size):
                announced = "" if self._size is None else f" of {self._size}"
                raise WrongDisk(f"the disk ended after {self._taken}{announced} bytes")
            self._settled = build(self._taken, self._chunk_size, self._whole.result(), self._chunks, {})
        return self._settled

    def _check(self, more: int) -> None:
        if self._ended:
            raise ValueError("this disk was finished or aborted")
        if self._failure is not None:
            raise self._failure
        if self._settled is not None and more:
            raise ValueError("this disk has ended")
        if more < 0 or self._taken + more > self._max_size:
            announced = "possible" if self._size is None else "announced"
            raise WrongDisk(f"the disk has more than the {self._max_size} {announced} bytes")
        self._taken += more

    def _zeros(self, count: int) -> None:
        self._check(count)
        if self._filling:
            first = min(count, self._chunk_size - len(self._filling))
            self._filling += zeros(self._chunk_size)[:first]
            count -= first
            if len(self._filling) == self._chunk_size:
                self._cut_filled()
        whole_chunks, rest = divmod(count, self._chunk_size)
        if whole_chunks:
            self._whole.update(whole_chunks * self._chunk_size)
            self._count_zeros(whole_chunks)
        if rest:
            self._filling += zeros(self._chunk_size)[:rest]

    def _cut_filled(self) -> None:
        chunk = bytes(self._filling)
        self._filling.clear()
        self._cut(chunk)

    def _cut(self, raw: bytes, known: tuple[ChunkDigest, bytes] | None = None) -> None:
        if raw == (zeros(self._chunk_size) if len(raw) == self._chunk_size else bytes(len(raw))):
            self._whole.update(len(raw))
            self._count_zeros(1)
            return
        self._whole.update(raw)
        self._stored += 1
        if self._stored > MAX_CHUNKS:
            raise WrongDisk(f"the disk has more than {MAX_CHUNKS} chunks that are not zeros")
        self._chunks.append(ChunkDigest(b""))
        self._slots.acquire()
        self._pool.submit(self._keep, len(self._chunks) - 1, raw, known)
        self._progress(self._taken)

    def _count_zeros(self, chunks: int) -> None:
        last = self._chunks[-1] if self._chunks else b""
        if isinstance(last, int):
            self._chunks[-1] = last + chunks
        else:
            self._chunks.append(chunks)
        self._progress(self._taken)

    def _keep(self, at: int, raw: bytes, known: tuple[ChunkDigest, bytes] | None) -> None:
        """Store one chunk, in a thread of the pool."""
        try:
            if self._failure is None:
                digest, frame = known or (ChunkDigest(sha256(raw).digest()), None)
                self._chunks[at] = digest
                self._keep_once(digest, raw, frame)
        except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
            self._failure = self._failure or error
        finally:
            self._slots.release()

    def _keep_once(self, digest: ChunkDigest, raw: bytes, frame: bytes | None) -> None:
        with self._lock:
            if digest in self._seen:
                return  # put already, being put, or failed, which fails the whole disk
            if len(self._seen) < _MAX_REMEMBERED:
                self._seen.add(digest)
        name = chunk_name(digest)
        if self._guard.ensure(name):
            return
        frame = frame or pack(raw, self._level)
        entry = listed(frame)
        with self._lock:
            if len(self._frames) < _MAX_REMEMBERED:
                self._frames[digest] = entry
            self._batch.append((name, frame))
            self._batch_bytes += len(frame)
            if self._batch_bytes < BATCH_BYTES and len(self._batch) < BATCH_OBJECTS:
                return
            batch, self._batch, self._batch_bytes = self._batch, [], 0
        self._put_batch(batch)

    def _put_batch(self, batch: list[tuple[str, bytes]]) -> None:
        if not batch:
            return
        self._store.put_all(batch)
        with self._lock:
            self._new_chunks += len(batch)
            self._new_bytes += sum(len(frame) for _, frame in batch)


def write_file(writer: DiskWriter, path: Path) -> None:
    """Write a raw disk file, without reading its holes. Raises WrongDisk if it is truncated meanwhile, and OSError."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(file).st_size or os.lseek(file, 0, os.SEEK_END)  # the second is for block devices
        at = 0
        while at < size:
            data = _seek(file, at, os.SEEK_DATA, size)
            begin = max(at, data - data % CHUNK_SIZE) if data < size else size  # a chunk with data is read as a whole
            writer.zeros(begin - at)
            at = begin
            hole = _seek(file, data, os.SEEK_HOLE, size) if data < size else size
            while at < hole:
                wanted = min(size - at, CHUNK_SIZE - at % CHUNK_SIZE)
                piece = os.pread(file, wanted, at)
                if not piece:
                    raise WrongDisk(f"{path} was truncated at byte {at} while it was read")
                writer.write(piece)
                at += len(piece)
    finally:
        os.close(file)


def _seek(file: int, at: int, what: int, size: int) -> int:
    """The offset of the next data or hole; the size if there is none."""
    try:
        return min(os.lseek(file, at, what), size)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size
        if error.errno == errno.EINVAL:  # a block device, or a file system without support for holes
            return at if what == os.SEEK_DATA else size
        raise
