"""Random access to untrusted bytes: files, memory, the head of a stream, stored disks; and readers that limit, cut or cache."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from phimage.formats.errors import BeyondHead, FormatError, ReadLimitExceeded, Truncated
from phimage.lru import Lru


class ReaderAt(Protocol):
    """Random access to `size` bytes that do not change."""

    @property
    def size(self) -> int:
        """The size in bytes."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on, fewer only at the end, b"" behind it."""


class BytesReader:
    """Bytes in memory."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = memoryview(data)

    @property
    def size(self) -> int:
        """The size in bytes."""
        return len(self._data)

    def read_at(self, offset: int, length: int) -> bytes:
        """See `ReaderAt`."""
        return bytes(self._data[offset : offset + length]) if offset < len(self._data) else b""


class HeadReader:
    """The first bytes of a file that is still arriving. Raises BeyondHead for later bytes.

    `size` is the declared size, None when it is unknown.
    """

    def __init__(self, head: bytes, size: int | None) -> None:
        self._head = head
        self._size = size

    @property
    def size(self) -> int:
        """The declared size. Raises BeyondHead when it is unknown."""
        if self._size is None:
            raise BeyondHead("the size is unknown")
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """See `ReaderAt`."""
        if self._size is not None:
            length = min(length, self._size - offset)
        if length <= 0:
            return b""
        if offset + length > len(self._head):
            raise BeyondHead(f"bytes {offset} to {offset + length} have not arrived yet")
        return self._head[offset : offset + length]


class FileReader:
    """A regular file or a block device, opened once, so that renaming or replacing it does not change the bytes.

    Raises FormatError for anything else, such as a folder or a pipe, and OSError like `open`.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            mode = os.fstat(self._file).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
                raise FormatError(f"{path} is neither a regular file nor a block device")
            self._size = os.lseek(self._file, 0, os.SEEK_END)
        except BaseException:
            os.close(self._file)
            raise

    @property
    def size(self) -> int:
        """The size in bytes when the file was opened."""
        return self._size

    @property
    def descriptor(self) -> int:
        """The open file descriptor, for a child process."""
        return self._file

    def read_at(self, offset: int, length: int) -> bytes:
        """See `ReaderAt`."""
        length = min(length, self._size - offset)
        parts: list[bytes] = []
        while length > 0 and (part := os.pread(self._file, length, offset)):
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class MeteredReader:
    """A reader with a limit on all reads together. Each call counts as at least 4 KiB. Raises ReadLimitExceeded."""

    def __init__(self, reader: ReaderAt, max_size: int) -> None:
        self._reader = reader
        self._max_size = max_size
        self._left = max_size

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self._reader.size

    def read_at(self, offset: int, length: int) -> bytes:
        """See `ReaderAt`."""
        self._left -= max(length, 4096)
        if self._left < 0:
            raise ReadLimitExceeded(f"its metadata makes the examination read more than {self._max_size} bytes")
        return self._reader.read_at(offset, length)


class PartReader:
    """A range of another reader, such as a partition of a disk, cut off at the end of that reader."""

    def __init__(self, reader: ReaderAt, offset: int, size: int) -> None:
        self._reader = reader
        self._offset = offset
        self._size = max(0, min(size, reader.size - offset))

    @property
    def size(self) -> int:
        """The size in bytes, without bytes behind the end of the other reader."""
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """See `ReaderAt`."""
        length = min(length, self._size - offset)
        return self._reader.read_at(self._offset + offset, length) if length > 0 else b""


class PagedReader:
    """A reader that reads whole pages and caches the last ones, for many small reads of an expensive reader."""

    PAGE = 65536
    MAX_PAGES = 64

    def __init__(self, reader: ReaderAt) -> None:
        self._reader = reader
        self._pages: Lru[int, bytes] = Lru(self.MAX_PAGES)

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self._reader.size

    def read_at(self, offset: int, length: int) -> bytes:
        """See `ReaderAt`."""
        end = min(offset + length, self.size)
        if end - offset > self.PAGE:
            return self._reader.read_at(offset, length)
        parts = []
        while offset < end:
            start = offset % self.PAGE
            parts.append(self._page(offset // self.PAGE)[start : start + end - offset])
            offset += self.PAGE - start
        return b"".join(parts)

    def _page(self, number: int) -> bytes:
        page = self._pages.get(number)
        if page is None:
            page = self._reader.read_at(number * self.PAGE, self.PAGE)
            self._pages.put(number, page)
        return page


def exactly(reader: ReaderAt, offset: int, length: int, what: str) -> bytes:
    """Exactly `length` bytes. Raises Truncated, with `what` as their name."""
    data = reader.read_at(offset, length)
    if len(data) != length:
        raise Truncated(f"the {what} at {offset} should have {length} bytes and the file ends at {reader.size}")
    return data


def unpack(layout: str, reader: ReaderAt, offset: int, what: str) -> tuple[Any, ...]:
    """The fields of a structure. Raises Truncated."""
    return struct.unpack(layout, exactly(reader, offset, struct.calcsize(layout), what))


def slices(reader: ReaderAt, offset: int, length: int, what: str, step: int = 1 << 20) -> Iterator[tuple[int, bytes]]:
    """A long table in slices: the offset of each within the table, and its bytes. Raises Truncated."""
    for start in range(0, length, step):
        yield start, exactly(reader, offset + start, min(step, length - start), what)
