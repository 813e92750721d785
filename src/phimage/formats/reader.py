"""Random access to bytes that are not trusted: files, memory, the first part of a stream, a chunk store."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from phimage.formats.failure import FormatError, OutOfSight, Truncated


class Reader(Protocol):
    """Random access to `size` bytes that do not change meanwhile."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    def read_at(self, offset: int, length: int) -> bytes:
        """The bytes from an offset on: `length` of them, fewer only where the end is nearer, none behind it."""


class BytesReader:
    """Bytes in memory."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = memoryview(data)

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self._data)

    def read_at(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
        return bytes(self._data[offset : offset + length]) if offset < len(self._data) else b""


class HeadReader:
    """The first bytes of a file of which more will come. Raises OutOfSight for what is not here yet.

    `size` is what the sender promised, None when it said nothing.
    """

    def __init__(self, head: bytes, size: int | None) -> None:
        self._head = head
        self._size = size

    @property
    def size(self) -> int:
        """The promised size. Raises OutOfSight when there is none."""
        if self._size is None:
            raise OutOfSight("the size is not known yet")
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
        if self._size is not None:
            length = min(length, self._size - offset)
        if length <= 0:
            return b""
        if offset + length > len(self._head):
            raise OutOfSight(f"bytes {offset} to {offset + length} are not here yet")
        return self._head[offset : offset + length]


class FileReader:
    """A regular file or a block device, opened once: whatever happens to its name, the bytes stay the same file's.

    Raises FormatError for anything else, such as a folder or a pipe, and OSError as `open` does.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            mode = os.fstat(self._file).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
                raise FormatError(f"{path} is neither a file nor a disk")
            self._size = os.lseek(self._file, 0, os.SEEK_END)
        except BaseException:
            os.close(self._file)
            raise

    @property
    def size(self) -> int:
        """How many bytes the file had when it was opened."""
        return self._size

    @property
    def descriptor(self) -> int:
        """The open file, for a child process."""
        return self._file

    def read_at(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
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


def exactly(reader: Reader, offset: int, length: int, what: str) -> bytes:
    """Bytes that must be there. Raises Truncated, naming `what` they are."""
    data = reader.read_at(offset, length)
    if len(data) != length:
        raise Truncated(f"the {what} at {offset} should have {length} bytes and the file ends at {reader.size}")
    return data


def unpack(layout: str, reader: Reader, offset: int, what: str) -> tuple[Any, ...]:
    """The fields of a structure that must be there. Raises Truncated."""
    return struct.unpack(layout, exactly(reader, offset, struct.calcsize(layout), what))


def slices(reader: Reader, offset: int, length: int, what: str, step: int = 1 << 20) -> Iterator[tuple[int, bytes]]:
    """A long table that must be there, in parts: where each begins in the table, and its bytes. Raises Truncated."""
    for start in range(0, length, step):
        yield start, exactly(reader, offset + start, min(step, length - start), what)
