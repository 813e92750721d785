"""Sends a raw disk by chunks: holes are skipped, and only chunks that the server lacks are sent, as zstd frames.

It uses the standard library and zstd alone, so that a program beside a disk can ship it; the caller sends the requests. Nothing
is kept here between two runs: the server says what it has, so a second run sends the rest, and a changed disk its changes.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK = 1 << 20
"""The chunk size in bytes; the last chunk may be shorter."""

FORMAT = "phimage-disk-1"
THREADS = 3
LEVEL = 3

_WINDOW = 512
"""Chunks of one question, which is asked while the chunks before are being sent. The server answers up to 4,096."""
_BATCH = 15
"""Chunks of one request, so that their frames stay below 16 MiB even if they do not shrink."""
_MAX_BATCHES = 2 * THREADS
_OPTIONS: dict[int, int] = {zstd.CompressionParameter.compression_level: LEVEL, zstd.CompressionParameter.checksum_flag: 1}
_ZEROS = bytes(CHUNK)

Ask = Callable[[str, str, bytes], bytes]
"""Sends a request with a method, `need`, `chunks` or `seal`, and a body, and returns the body of the response.

Called from several threads. It retries what may pass; every request may be repeated.
"""


class DiskChanged(Exception):
    """The disk was changed or truncated while it was sent. Send it again."""


@dataclass(frozen=True)
class SentDisk:
    """A disk that the server has completely. `new_chunks` were sent by this call, in frames of `sent` bytes together."""

    size: int
    chunks: int  # that are not zeros
    new_chunks: int
    sent: int


def send_disk(path: str, ask: Ask, progress: Callable[[int, int], object] = lambda done, total: None) -> SentDisk:
    """Send a file or a block device. `progress` is called with the bytes done and the size, in the caller's thread.

    Raises DiskChanged, OSError, and what `ask` and `progress` raise. Idempotent: call it again after any interruption.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    sending = _Sending(file, ask, progress)
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


class _Sending:
    """One run. Only the caller's thread changes its fields; the threads of its pool read, hash, compress and send."""

    def __init__(self, file: int, ask: Ask, progress: Callable[[int, int], object]) -> None:
        self._file = file
        self._ask = ask
        self._progress = progress
        self._identity = _identity(file)
        self._size = os.lseek(file, 0, os.SEEK_END)
        self._asked: set[bytes] = set()
        self._batches: dict[Future[int], int] = {}
        self._done = self._new = self._sent = 0
        self._open = threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="phimage-send")

    def run(self) -> SentDisk:
        """Send what the server lacks, and seal."""
        chunks: list[bytes | int] = []
        end = 0  # the index after the last chunk that is not zeros
        indices = self._with_data()
        while window := list(islice(indices, _WINDOW)):
            digests = list(self._pool.map(self._digest, window))
            self._send_lacking(window, digests)
            for index, digest in zip(window, digests, strict=True):
                if digest is not None:
                    chunks += [index - end, digest] if index > end else [digest]
                    end = index + 1
            self._report((window[-1] + 1) * CHUNK)
        self._collect(0)
        count = -(-self._size // CHUNK)
        chunks += [count - end] if count > end else []
        if _identity(self._file) != self._identity:
            raise DiskChanged("it was changed while it was sent; send it again")
        self._ask("POST", "seal", manifest(self._size, chunks))
        self._progress(self._size, self._size)
        return SentDisk(self._size, sum(isinstance(chunk, bytes) for chunk in chunks), self._new, self._sent)

    def close(self) -> None:
        """Read and send nothing more. Requests that were begun may go on for a moment; they only have bytes of the disk."""
        with self._open:
            self._file, file = -1, self._file
            os.close(file)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _with_data(self) -> Iterator[int]:
        """The indices of all chunks that are not holes as a whole."""
        at = 0
        while at < self._size and (data := self._seek(at, os.SEEK_DATA)) < self._size:
            hole = self._seek(data, os.SEEK_HOLE)
            first, stop = max(at, data) // CHUNK, -(-hole // CHUNK)
            yield from range(first, stop)
            at = stop * CHUNK

    def _send_lacking(self, window: list[int], digests: list[bytes | None]) -> None:
        """Ask which chunks of a window the server needs, and begin to send them."""
        first_at: dict[bytes, int] = {}
        for index, digest in zip(window, digests, strict=True):
            if digest is not None and digest not in self._asked:
                first_at.setdefault(digest, index)
        self._asked.update(first_at)
        if not first_at:
            return
        answer = json.loads(self._ask("POST", "need", b"".join(first_at)))
        bits = base64.b64decode(answer["Need"])
        lacking = [index for number, index in enumerate(first_at.values()) if bits[number >> 3] >> (number & 7) & 1]
        for place in range(0, len(lacking), _BATCH):
            batch = lacking[place : place + _BATCH]
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

    def _digest(self, index: int) -> bytes | None:
        """The digest of a chunk; None for zeros."""
        raw = self._read(index)
        return None if raw == _ZEROS[: len(raw)] else sha256(raw).digest()

    def _send(self, batch: list[int]) -> int:
        """Send the frames of some chunks. Returns their size."""
        body = b"".join(self._frame(index) for index in batch)
        self._ask("PUT", "chunks", body)
        return len(body)

    def _frame(self, index: int) -> bytes:
        return zstd.compress(self._read(index), options=_OPTIONS)

    def _read(self, index: int) -> bytes:
        length = min(CHUNK, self._size - index * CHUNK)
        with self._open:  # else another file could have the descriptor
            raw = os.pread(self._file, length, index * CHUNK)
        if len(raw) != length:
            raise DiskChanged(f"it was truncated at byte {index * CHUNK + len(raw)} while it was sent; send it again")
        return raw

    def _report(self, done: int) -> None:
        self._done = max(self._done, min(done, self._size))
        self._progress(self._done, self._size)

    def _seek(self, at: int, what: int) -> int:
        """The offset of the next data or hole; the size if there is none."""
        try:
            return min(os.lseek(self._file, at, what), self._size)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return self._size
            if error.errno == errno.EINVAL:  # a block device, or a file system without support for holes
                return at if what == os.SEEK_DATA else self._size
            raise


def _identity(file: int) -> tuple[int, int, int]:
    """What changes with a file's bytes. The size and times of a block device say nothing of them."""
    status = os.fstat(file)
    return status.st_size, status.st_mtime_ns if status.st_size else 0, status.st_ino
