"""A capture: the disk of a host into an image of a server, by need, or into a file.

A server gets each chunk once, and none that it has already; a killed capture goes on when it is run again.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

from phimage.agent.captured_disk import CapturedDisk
from phimage.agent.upload_requests import ChunksMissing, UploadRefused, UploadRequests
from phimage.chunk_upload import CHUNK, THREADS, DiskTooLarge, OnProgress, SendLimits, SendProgress, SentDisk, send_disk
from phimage.errors import ClientError
from phimage.zstd_frame import compress

_MAX_RUNS = 3
_LIMITS = SendLimits(window=8, batch=4)
"""A rescue system has little memory: with these, the agent takes 64 MiB."""
_AHEAD = 2 * THREADS
_ZEROS = bytes(CHUNK)


class FileFailed(ClientError):
    """The file that a capture goes to cannot be written."""


@dataclass(frozen=True)
class CapturedFile:
    """A disk in a file. `sha256` is that of the file, `written` its bytes without holes."""

    size: int
    written: int
    sha256: str


def capture_to_server(disk: CapturedDisk, upload: UploadRequests, on_progress: OnProgress) -> SentDisk:
    """Send what the server lacks, and seal. May be repeated.

    Raises as `CapturedDisk` and `UploadRequests` do, and as `on_progress` does, which is called in the caller's thread.
    """
    for run in range(_MAX_RUNS):
        try:
            return send_disk(disk, upload.ask, on_progress, _LIMITS)
        except DiskTooLarge as large:
            raise UploadRefused(f"the disk is too large: {large}; use --trim, or capture it to a file") from None
        except ChunksMissing as missing:
            if run == _MAX_RUNS - 1:
                raise UploadRefused(f"{missing}; images are being withdrawn all the time: capture again later") from None
    raise AssertionError


def capture_to_file(disk: CapturedDisk, path: str, on_progress: OnProgress) -> CapturedFile:
    """Write a raw file with holes, or a zstd file if the name ends in `.zst`. The name has the whole disk or nothing.

    Raises as `CapturedDisk` and `on_progress` do, and FileFailed.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113  the agent is small: it does without pathlib
        # The finished file takes the name, and in /dev would replace the device: the disk behind it would get nothing.
        raise FileFailed(f"{path} is not a file; give a file in a folder with room for the disk")
    partial = f"{path}.part"
    try:
        # Only its owner may read it: a disk has private keys.
        file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            captured = _write(disk, file, path.endswith(".zst"), on_progress)
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(partial, path)  # noqa: PTH105
        return captured
    except OSError as error:
        raise FileFailed(f"{path}: {error.strerror}; give a file in a folder with room for the disk") from None
    finally:
        with suppress(OSError):
            os.unlink(partial)  # noqa: PTH108


def _write(disk: CapturedDisk, file: int, compressed: bool, on_progress: OnProgress) -> CapturedFile:
    digest, size, written = sha256(), 0, 0
    for index, piece in enumerate(_pieces(disk, compressed)):
        digest.update(piece)
        if compressed or piece != _ZEROS[: len(piece)]:
            _write_all(file, piece, size)
            written += len(piece)
        size += len(piece)
        on_progress(SendProgress(min((index + 1) * CHUNK, disk.size), disk.size, written, 0))
    os.ftruncate(file, size)
    return CapturedFile(disk.size, written, digest.hexdigest())


def _pieces(disk: CapturedDisk, compressed: bool) -> Iterator[bytes]:
    """The chunks in order, or their frames, read and compressed a few ahead."""

    def piece(index: int) -> bytes:
        raw = disk.read(index)
        return compress(raw) if compressed else raw

    indices = disk.data()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="phimage-read") as pool:
        ahead = deque(pool.submit(piece, index) for index in islice(indices, _AHEAD))
        while ahead:
            done = ahead.popleft().result()
            ahead.extend(pool.submit(piece, index) for index in islice(indices, 1))
            yield done


def _write_all(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(file, view, offset)
        view, offset = view[count:], offset + count
