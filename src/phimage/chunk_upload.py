"""Sends a raw disk by chunks: holes are skipped, and only chunks that the server lacks are sent, as zstd frames.

It uses the standard library and zstd alone, so that a program beside a disk can ship it; the caller sends the requests. Nothing
is kept here between two runs: the server says what it has, so a second run sends the rest, and a changed disk its changes.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Protocol

from phimage.zstd_frame import compress

CHUNK = 1 << 20
"""The chunk size in bytes; the last chunk may be shorter."""

FORMAT = "phimage-disk-1"
THREADS = 3
MAX_CHUNKS = 240_000
"""Chunks that are not zeros of one disk: the list of more is larger than a server takes."""

_MAX_BATCHES = THREADS
_ZEROS = bytes(CHUNK)

Ask = Callable[[str, str, bytes], bytes]
"""Sends a request with a method, `need`, `chunks` or `seal`, and a body, and returns the body of the response.

Called from several threads. It retries what may pass; every request may be repeated.
"""


class DiskChanged(Exception):
    """The disk was changed or truncated while it was sent. Send it again."""


class DiskTooLarge(Exception):
    """The disk has more than `MAX_CHUNKS` chunks that are not zeros."""


class SourceDisk(Protocol):
    """What is sent: `size` bytes that do not change meanwhile. Its methods raise DiskChanged and OSError."""

    @property
    def size(self) -> int:
        """In bytes."""
        ...

    def data(self) -> Iterator[int]:
        """The indices of all chunks that may have other bytes than zeros, in order."""
        ...

    def read(self, index: int) -> bytes:
        """A chunk. Called from several threads."""
        ...

    def check(self) -> None:
        """Raises DiskChanged if it is known to have changed since it was opened."""
        ...


@dataclass(frozen=True)
class SentDisk:
    """A disk that the server has completely. `new_chunks` were sent by this call, in frames of `sent` bytes together."""

    size: int
    chunks: int  # that are not zeros
    new_chunks: int
    sent: int


@dataclass(frozen=True)
class SendProgress:
    """What a call has done so far: bytes of the disk, and its size. `sent` counts bytes of frames, `reused` those of the disk
    that the server had.
    """

    done: int
    total: int
    sent: int
    reused: int


@dataclass(frozen=True)
class SendLimits:
    """How many chunks a call holds in memory: those of one question, and three times those of one request."""

    window: int = 16  # of one question, which is asked while the chunks before are being sent
    batch: int = 8  # of one request


OnProgress = Callable[[SendProgress], object]


def send_disk(
    disk: SourceDisk, ask: Ask, on_progress: OnProgress = lambda progress: None, limits: SendLimits = SendLimits()
) -> SentDisk:
    """Send a disk. `on_progress` is called in the caller's thread, after each window.

    Raises DiskChanged, DiskTooLarge, OSError, and what `ask` and `on_progress` raise. Idempotent: call it again after any
    interruption. After an error, threads may read the disk for a moment.
    """
    sending = _Sending(disk, ask, on_progress, limits)
    try:
        return sending.run()
    finally:
        sending.close()


def manifest(size: int, chunks: Iterable[bytes | int]) -> bytes:
    """The manifest of a disk without its facts and its digest, in canonical form: what `seal` takes.

    A chunk is its digest, or how many chunks of zeros follow one another.
    """
    entries = [chunk if isinstance(chunk, int) else chunk.hex() for chunk in chunks]
    document = {"chunk_size": CHUNK, "chunks": entries, "format": FORMAT, "size": size}
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


_HashedChunk = tuple[bytes, bytes]
"""The digest of a chunk, and its bytes."""


class _Sending:
    """One run. Only the caller's thread changes its fields; the threads of its pool read, hash, compress and send."""

    def __init__(self, disk: SourceDisk, ask: Ask, on_progress: OnProgress, limits: SendLimits) -> None:
        self._disk = disk
        self._limits = limits
        self._ask = ask
        self._on_progress = on_progress
        self._asked: set[bytes] = set()
        self._batches: dict[Future[int], int] = {}
        self._new = self._sent = self._reused = 0
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="phimage-send")

    def run(self) -> SentDisk:
        """Send what the server lacks, and seal."""
        size = self._disk.size
        chunks: list[bytes | int] = []
        end = stored = 0  # the index after the last chunk that is not zeros, and the number of these
        indices = self._disk.data()
        while window := list(islice(indices, self._limits.window)):
            read = list(self._pool.map(self._read, window))
            self._send_lacking([chunk for chunk in read if chunk is not None])
            for index, chunk in zip(window, read, strict=True):
                if chunk is not None:
                    chunks += [index - end, chunk[0]] if index > end else [chunk[0]]
                    end = index + 1
                    stored += 1
            if stored > MAX_CHUNKS:
                raise DiskTooLarge(f"more than {MAX_CHUNKS} MiB of it are not zeros, which is more than one image has")
            del read  # before the next window is read
            self._report(min((window[-1] + 1) * CHUNK, size))
        self._collect(0)
        count = -(-size // CHUNK)
        chunks += [count - end] if count > end else []
        self._disk.check()
        self._ask("POST", "seal", manifest(size, chunks))
        self._report(size)
        return SentDisk(size, stored, self._new, self._sent)

    def close(self) -> None:
        """Send nothing more. Requests that were begun may go on for a moment; they only have bytes of the disk."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, index: int) -> _HashedChunk | None:
        """A chunk with its digest; None for zeros."""
        raw = self._disk.read(index)
        return None if raw == _ZEROS[: len(raw)] else (sha256(raw).digest(), raw)

    def _send_lacking(self, window: list[_HashedChunk]) -> None:
        """Ask which chunks of a window the server needs, and begin to send them."""
        first = {digest: raw for digest, raw in window if digest not in self._asked}
        self._asked.update(first)
        self._reused += sum(len(raw) for _, raw in window)
        if not first:
            return
        answer = json.loads(self._ask("POST", "need", b"".join(first)))
        bits = base64.b64decode(answer["Need"])
        lacking = [raw for number, raw in enumerate(first.values()) if bits[number >> 3] >> (number & 7) & 1]
        self._reused -= sum(map(len, lacking))
        for place in range(0, len(lacking), self._limits.batch):
            batch = lacking[place : place + self._limits.batch]
            self._collect(_MAX_BATCHES - 1)
            self._batches[self._pool.submit(self._send, batch)] = len(batch)

    def _collect(self, limit: int) -> None:
        """Wait until at most `limit` batches are being sent. Raises their errors."""
        while True:
            ended = {batch for batch in self._batches if batch.done()}
            if len(self._batches) - len(ended) > limit:
                ended |= wait(self._batches, return_when=FIRST_COMPLETED).done
            for batch in ended:
                self._sent += batch.result()
                self._new += self._batches.pop(batch)
            if len(self._batches) <= limit:
                return

    def _send(self, batch: list[bytes]) -> int:
        """Send the frames of some chunks, which it takes out of the list. Returns their size."""
        frames: list[bytes] = []
        while batch:
            frames.append(compress(batch.pop()))
        body = b"".join(frames)
        del frames
        self._ask("PUT", "chunks", body)
        return len(body)

    def _report(self, done: int) -> None:
        self._on_progress(SendProgress(done, self._disk.size, self._sent, self._reused))


class FileDisk:
    """A file, or a block device through the cache of its system, as a disk. A context manager."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._identity = _identity(self._file)
        self.size = os.lseek(self._file, 0, os.SEEK_END)
        self._open = threading.Lock()

    def data(self) -> Iterator[int]:
        """The indices of all chunks that are not holes as a whole."""
        at = 0
        while at < self.size and (data := self._seek(at, os.SEEK_DATA)) < self.size:
            hole = self._seek(data, os.SEEK_HOLE)
            first, stop = max(at, data) // CHUNK, -(-hole // CHUNK)
            yield from range(first, stop)
            at = stop * CHUNK

    def read(self, index: int) -> bytes:
        """A chunk."""
        length = min(CHUNK, self.size - index * CHUNK)
        with self._open:  # else another file could have the descriptor
            raw = os.pread(self._file, length, index * CHUNK)
        if len(raw) != length:
            raise DiskChanged(f"it was truncated at byte {index * CHUNK + len(raw)} while it was sent; send it again")
        return raw

    def check(self) -> None:
        """Raises DiskChanged if the file was written to."""
        if _identity(self._file) != self._identity:
            raise DiskChanged("it was changed while it was sent; send it again")

    def __enter__(self) -> FileDisk:
        return self

    def __exit__(self, *_: object) -> None:
        with self._open:
            self._file, file = -1, self._file
            os.close(file)

    def _seek(self, at: int, what: int) -> int:
        """The offset of the next data or hole; the size if there is none."""
        try:
            return min(os.lseek(self._file, at, what), self.size)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return self.size
            if error.errno == errno.EINVAL:  # a block device, or a file system without support for holes
                return at if what == os.SEEK_DATA else self.size
            raise


def _identity(file: int) -> tuple[int, int, int]:
    """What changes with a file's bytes. The size and times of a block device say nothing of them."""
    status = os.fstat(file)
    return status.st_size, status.st_mtime_ns if status.st_size else 0, status.st_ino
