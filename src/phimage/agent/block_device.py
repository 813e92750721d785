"""Disks as the agent reads and writes them: exclusive, past the page cache, in whole sectors.

O_EXCL refuses a disk of which anything is mounted or held, and no mount succeeds while it is held. O_DIRECT costs less than
buffered writes, fails in the call that failed, and makes reading back real.
"""

from __future__ import annotations

import array
import errno
import fcntl
import mmap
import os
import stat
import struct
import threading
from hashlib import sha256
from typing import Protocol, Self

from phimage.agent.errors import DiskFailed, DiskRefused

MIB = 1 << 20

# linux/fs.h
_BLKROGET = 0x125E
_BLKRRPART = 0x125F
_BLKSSZGET = 0x1268
_BLKGETSIZE64 = 0x80081272
_BLKZEROOUT = 0x127F

_DEFAULT_SECTOR = 512
_NO_ZEROOUT = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL})


class SectorDevice(Protocol):
    """A disk's bytes. Offsets and lengths are multiples of the sector size. Safe to use from several threads."""

    path: str
    size: int
    sector_size: int

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes. Raises DiskFailed."""

    def digest(self, offset: int, length: int) -> bytes:
        """The SHA-256 of `length` bytes. Raises DiskFailed."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data`. Raises DiskFailed."""

    def zero(self, offset: int, length: int) -> None:
        """Make `length` bytes read as zeros. Raises DiskFailed."""

    def sync(self) -> None:
        """Make all that was written durable. Raises DiskFailed."""


class BlockDevice:
    """A block device, or a regular file in its place, opened with O_EXCL and O_DIRECT. A context manager."""

    def __init__(self, path: str, *, writable: bool, sector_size: int = _DEFAULT_SECTOR) -> None:
        """`sector_size` is that of a regular file; a device says its own. Raises DiskRefused."""
        self.path = path
        self._file = _open(path, os.O_RDWR if writable else os.O_RDONLY)
        try:
            self._is_device = stat.S_ISBLK(os.fstat(self._file).st_mode)
            self.size = self._ioctl_int(_BLKGETSIZE64, "Q") if self._is_device else os.fstat(self._file).st_size
            self.sector_size = self._ioctl_int(_BLKSSZGET, "i") if self._is_device else sector_size
            if writable and self._is_device and self._ioctl_int(_BLKROGET, "i"):
                raise DiskRefused(f"{path} is read-only: its switch, or blockdev --setrw {path}, makes it writable")
        except BaseException:
            os.close(self._file)
            raise
        self._zeroout = self._is_device
        self._thread = threading.local()
        self._reads = 0
        self._read_ended = threading.Condition()

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes. Raises DiskFailed."""
        return bytes(self._read(offset, length))

    def digest(self, offset: int, length: int) -> bytes:
        """The SHA-256 of `length` bytes, without a copy. Raises DiskFailed."""
        return sha256(self._read(offset, length)).digest()

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data`. Raises DiskFailed."""
        length, done = len(data), 0
        buffer = self._buffer(length)
        buffer[:length] = data  # O_DIRECT needs memory that is aligned to sectors
        view = memoryview(buffer)[:length]
        while done < length:
            try:
                count = os.pwrite(self._file, view[done:], offset + done)
            except OSError as error:
                raise DiskFailed(self.path, "write", offset + done, _reason(error)) from error
            if count <= 0 or count % self.sector_size:
                raise DiskFailed(self.path, "write", offset + done + count, "the disk took less than a sector")
            done += count

    def zero(self, offset: int, length: int) -> None:
        """Make `length` bytes read as zeros. Raises DiskFailed.

        Never discards alone: what a discarded sector reads as is up to the disk. A device without a command for zeros gets
        them from the kernel; only a regular file gets them from here.
        """
        if self._zeroout and length:
            try:
                fcntl.ioctl(self._file, _BLKZEROOUT, struct.pack("QQ", offset, length))
                return
            except OSError as error:
                if error.errno not in _NO_ZEROOUT:
                    raise DiskFailed(self.path, "zero", offset, _reason(error)) from error
                self._zeroout = False
        zeros = bytes(min(length, MIB))
        for at in range(offset, offset + length, MIB):
            self.write(at, zeros[: min(MIB, offset + length - at)])

    def sync(self) -> None:
        """Make all that was written durable, in the disk's own cache too. Raises DiskFailed."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise DiskFailed(self.path, "flush", 0, _reason(error)) from error

    def reread_partition_table(self) -> str:
        """Let the kernel read the partition table again. Returns why that failed, or an empty text."""
        if not self._is_device:
            return ""
        try:
            fcntl.ioctl(self._file, _BLKRRPART)
        except OSError as error:
            return "" if error.errno == errno.EINVAL else _reason(error)  # a device that has no partitions
        return ""

    def close(self) -> None:
        """Close the disk, when its reads have ended: until then the kernel lets nobody else have it. No write may be under
        way, and later reads raise DiskFailed.
        """
        with self._read_ended:
            file, self._file = self._file, -1
            self._read_ended.wait_for(lambda: not self._reads)
        if file >= 0:
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, offset: int, length: int) -> memoryview:
        """The bytes in the thread's memory, until its next call."""
        with self._read_ended:
            file = self._file
            self._reads += 1
        try:
            if file < 0:
                raise DiskFailed(self.path, "read", offset, "it is closed")
            return self._read_from(file, offset, length)
        finally:
            with self._read_ended:
                self._reads -= 1
                self._read_ended.notify_all()

    def _read_from(self, file: int, offset: int, length: int) -> memoryview:
        view = memoryview(self._buffer(length))[:length]
        done = 0
        while done < length:
            try:
                count = os.preadv(file, [view[done:]], offset + done)
            except OSError as error:
                raise DiskFailed(self.path, "read", offset + done, _reason(error)) from error
            if count <= 0:
                raise DiskFailed(self.path, "read", offset + done, "the disk ends there")
            done += count
        return view

    def _buffer(self, length: int) -> mmap.mmap:
        """The calling thread's aligned memory, at least `length` bytes."""
        buffer: mmap.mmap | None = getattr(self._thread, "buffer", None)
        if buffer is None or len(buffer) < length:
            buffer = self._thread.buffer = mmap.mmap(-1, max(length, MIB))
        return buffer

    def _ioctl_int(self, request: int, kind: str) -> int:
        value = array.array(kind, [0])
        fcntl.ioctl(self._file, request, value)
        return value[0]


def _open(path: str, mode: int) -> int:
    """Raises DiskRefused."""
    is_device = stat.S_ISBLK(_mode(path))
    mode |= os.O_CLOEXEC | (os.O_EXCL if is_device else 0)
    try:
        try:
            return os.open(path, mode | os.O_DIRECT)
        except OSError as error:
            if is_device or error.errno != errno.EINVAL:
                raise
            return os.open(path, mode)  # a file in memory
    except OSError as error:
        raise DiskRefused(f"{path}: {_reason(error)}; {_REMEDIES.get(error.errno or 0, 'check the path')}") from None


def _mode(path: str) -> int:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  the agent is small: it does without pathlib
    except OSError as error:
        raise DiskRefused(f"{path}: {_reason(error)}; `phimage-agent disks` lists the disks of this machine") from None
    if not (stat.S_ISBLK(mode) or stat.S_ISREG(mode)):
        raise DiskRefused(f"{path} is neither a disk nor a file; `phimage-agent disks` lists the disks of this machine")
    return mode


_REMEDIES = {
    errno.EBUSY: "something holds it: unmount its file systems, and stop its swap, RAID and volume groups",
    errno.EACCES: "run this as root",
    errno.EPERM: "run this as root",
    errno.EROFS: "it is read-only",
    errno.ENOMEDIUM: "it has no medium",
}


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
