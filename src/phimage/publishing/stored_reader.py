"""Examining a disk that is in the store already: random access to it, and the file that stands for it before qemu-img."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from phimage.chunks.read import DiskReader
from phimage.formats.reader import ReaderAt
from phimage.sources.partial_file import FreeSpace
from phimage.sources.unpack import write_sparse

_END_BYTES = 1 << 20


class StoredReader:
    """The first `size` bytes of a stored disk as a `ReaderAt`. Raises BadChunk and StoreFailure."""

    def __init__(self, disk: DiskReader, size: int) -> None:
        self._disk = disk
        self._size = size

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """See `ReaderAt`."""
        length = min(length, self._size - offset)
        return self._disk.read(offset, length) if length > 0 else b""


def write_outline(disk: ReaderAt, where: str, file: Path, space: FreeSpace) -> None:
    """Write a sparse file of a raw disk's size with its first and its last MiB, which other users can read.

    qemu-img, to which phimage states the format, reads no more of it: its size alone. `where` names the disk in errors. Raises
    TooLarge, and what the disk raises.
    """
    write_sparse(_ends(disk), where, file, space)
    file.chmod(0o644)  # so that qemu-img can read it as nobody; the folder is closed to other users


def _ends(disk: ReaderAt) -> Iterator[bytes | int]:
    head = disk.read_at(0, _END_BYTES)
    tail = max(len(head), disk.size - _END_BYTES)
    yield head
    yield tail - len(head)
    yield disk.read_at(tail, _END_BYTES)
