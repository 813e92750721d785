"""Readers around other readers: one that counts, one that is a part, one that remembers."""

from __future__ import annotations

from phimage.formats.failure import TooLong
from phimage.formats.reader import Reader
from phimage.lru import Lru


class Metered:
    """A reader that gives no more than so many bytes in all. Each call counts as 4 KiB at least. Raises TooLong."""

    def __init__(self, reader: Reader, max_size: int) -> None:
        self._reader = reader
        self._max_size = max_size
        self._left = max_size

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._reader.size

    def read_at(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
        self._left -= max(length, 4096)
        if self._left < 0:
            raise TooLong(f"its metadata makes an examination read more than {self._max_size} bytes")
        return self._reader.read_at(offset, length)


class Part:
    """A part of another reader, such as a partition of a disk. What lies behind the end of the disk is absent."""

    def __init__(self, reader: Reader, offset: int, size: int) -> None:
        self._reader = reader
        self._offset = offset
        self._size = max(0, min(size, reader.size - offset))

    @property
    def size(self) -> int:
        """How many bytes of the part are there."""
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
        length = min(length, self._size - offset)
        return self._reader.read_at(self._offset + offset, length) if length > 0 else b""


class Paged:
    """A reader that reads whole pages and remembers the last ones: for many small reads where each one costs."""

    PAGE = 65536
    MOST = 64

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._pages: Lru[int, bytes] = Lru(self.MOST)

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._reader.size

    def read_at(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
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
