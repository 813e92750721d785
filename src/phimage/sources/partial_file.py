"""A partially fetched file that survives interruptions, kills and damage, and the free space beside it.

`FILE.resume` stands beside `FILE`: JSON with the URL, size and validators of the bytes, the number of bytes that are on disk,
and their SHA-256. Only bytes that match a record are reused. One process at a time holds the file's lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec
from msgspec import Struct

from phimage.sources.digest import FIRST_USE, Algorithm, Digests, ExpectedDigest, Hashes
from phimage.sources.errors import SourceInterrupted, TooLarge
from phimage.sources.response import Validators

READ_SIZE: Final = 1024 * 1024

MeasureFree = Callable[[Path], int]
"""Returns the free bytes of the file system that holds a folder."""

CHECK_EVERY_BYTES: Final = 64 * 1024 * 1024
"""Bytes written between two checks of the free space."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REMEDY: Final = "free space there or choose another folder, then run the same again"


class ResumeRecord(Struct, frozen=True):
    """The record beside a work file: `offset` bytes are on disk and have this `sha256`."""

    url: str
    size: int | None
    version: Validators
    offset: int
    sha256: str
    whole: bool


class PartialFile:
    """The bytes received so far. Create it with `open`; as a context manager it keeps them on exit."""

    def __init__(self, path: Path, descriptor: int, url: str, expected: ExpectedDigest) -> None:
        self.path = path
        self.offset = 0
        self.size: int | None = None
        self.validators = Validators()
        self.complete = False
        self.resumed = 0
        self._descriptor = descriptor
        self._url = url
        self._expected = expected
        self._hashes = Hashes(expected)
        self._synced: ResumeRecord | None = None
        self._begun = False

    @classmethod
    def open(cls, path: Path, url: str, expected: ExpectedDigest = FIRST_USE) -> PartialFile:
        """Open or create a work file for the bytes of `url`. Raises SourceInterrupted while another process holds it."""
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is(path, descriptor):
                    partial = cls(path, descriptor, url, expected)
                    partial._resume()
                    return partial
            except BlockingIOError:
                os.close(descriptor)
                message = "another process is fetching into this file"
                raise SourceInterrupted(str(path), message, "wait until it has finished", reason="busy") from None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # discarded by another process between open and lock

    def restart(self, size: int | None, validators: Validators) -> None:
        """Drop all bytes and start from zero with bytes of this size and these validators."""
        os.ftruncate(self._descriptor, 0)
        self._reset(size, validators)
        self._begun = True

    def write(self, data: bytes) -> None:
        """Append bytes. They are durable after `sync`."""
        view = memoryview(data)
        while view:
            view = view[os.pwrite(self._descriptor, view, self.offset + len(data) - len(view)) :]
        self._hashes.update(data)
        self.offset += len(data)

    def head(self, size: int) -> bytes:
        """The first `size` bytes, or fewer."""
        return os.pread(self._descriptor, min(size, self.offset), 0)

    def digests(self) -> Digests:
        """The digests of all bytes received so far."""
        return self._hashes.digests()

    def finish(self) -> None:
        """Mark the file as complete, durably."""
        self.size, self.complete = self.offset, True
        self.sync()

    def sync(self) -> None:
        """Make all bytes and their record durable."""
        record = ResumeRecord(self._url, self.size, self.validators, self.offset, _sha256(self._hashes), self.complete)
        if record == self._synced:
            return
        os.fdatasync(self._descriptor)  # before the record; a disk that reorders the two is caught by the digest
        draft = _beside(self.path, ".resume.new")
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(record))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(_beside(self.path, ".resume"))
        self._synced = record

    def discard(self) -> None:
        """Remove the file and its record."""
        discard_partial(self.path)
        self._begun = False
        self._reset(None, Validators())

    def close(self) -> None:
        """Keep the received bytes and release the lock."""
        try:
            if self._begun:
                with suppress(OSError):  # an earlier record stays valid
                    self.sync()
        finally:
            os.close(self._descriptor)

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()

    def _resume(self) -> None:
        """Continue from the record if it is of the same URL and the bytes still match it."""
        try:
            record = msgspec.json.decode(_beside(self.path, ".resume").read_bytes(), type=ResumeRecord)
        except (OSError, msgspec.DecodeError):
            return
        if record.url != self._url or not 0 < record.offset <= os.fstat(self._descriptor).st_size:
            return
        hashes, offset = Hashes(self._expected), 0
        while offset < record.offset and (data := os.pread(self._descriptor, min(READ_SIZE, record.offset - offset), offset)):
            hashes.update(data)
            offset += len(data)
        if _sha256(hashes) != record.sha256:
            return
        os.ftruncate(self._descriptor, record.offset)
        self.offset = self.resumed = record.offset
        self.size, self.validators, self.complete = record.size, record.version, record.whole
        self._hashes, self._synced, self._begun = hashes, record, True

    def _reset(self, size: int | None, validators: Validators) -> None:
        self.resumed = 0
        self.offset, self.size, self.validators, self.complete = 0, size, validators, False
        self._hashes = Hashes(self._expected)
        self._synced = None


def discard_partial(path: Path) -> None:
    """Remove a work file and its record, if they exist."""
    for name in (_beside(path, ".resume"), _beside(path, ".resume.new"), path):
        name.unlink(missing_ok=True)


def free_bytes(folder: Path) -> int:
    """The free bytes that the operating system reports."""
    return shutil.disk_usage(folder).free


class FreeSpace:
    """A folder whose file system keeps `min_free` bytes free, for the database beside the work files."""

    def __init__(self, folder: Path, min_free: int, free: MeasureFree = free_bytes) -> None:
        self._folder = folder
        self._min_free = min_free
        self._free = free

    def check(self, where: str, more: int) -> None:
        """Raises TooLarge when `more` bytes would leave less than the minimum."""
        free = self._free(self._folder)
        if free - more < self._min_free:
            message = (
                f"{more} more bytes do not fit into {self._folder}, which has {free} free and must keep {self._min_free} free"
            )
            raise TooLarge(where, message, _REMEDY, reason="space")

    @contextmanager
    def writing(self, where: str) -> Iterator[None]:
        """Turn the operating system's "no space left" into TooLarge."""
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise TooLarge(where, f"{self._folder} is full", _REMEDY, reason="space") from None


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sha256(hashes: Hashes) -> str:
    return hashes.digests()[Algorithm.SHA256].hex
