"""Writes archives in the format that the kernel unpacks as its first file system (Documentation/driver-api/early-userspace)."""

from __future__ import annotations

import stat
from typing import IO, Final

_MAGIC: Final = b"070701"
_END: Final = "TRAILER!!!"


class CpioWriter:
    """An archive of the "new ASCII" format. All files belong to root. `close` ends it; the file stays open."""

    def __init__(self, file: IO[bytes], mtime: int) -> None:
        """`mtime`: Unix seconds, which all files get."""
        self._file = file
        self._mtime = mtime
        self._count = 0

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder. Its parents must have been added, as for all that follows."""
        self._entry(path, stat.S_IFDIR | mode, b"")

    def regular(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a regular file."""
        self._entry(path, stat.S_IFREG | mode, data)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a device node."""
        self._entry(path, stat.S_IFCHR | mode, b"", (major, minor))

    def close(self) -> None:
        """End the archive."""
        self._write(_END, 0, 0, 0, b"", (0, 0))

    def _entry(self, path: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)) -> None:
        self._count += 1
        self._write(path, self._count, mode, self._mtime, data, device)

    def _write(self, path: str, number: int, mode: int, mtime: int, data: bytes, device: tuple[int, int]) -> None:
        name = path.encode() + b"\0"
        owner, links, checksum = (0, 0), 1, 0
        fields = (number, mode, *owner, links, mtime, len(data), 0, 0, *device, len(name), checksum)
        head = _MAGIC + b"".join(b"%08x" % field for field in fields) + name
        self._file.write(head + bytes(-len(head) % 4))
        self._file.write(data + bytes(-len(data) % 4))
