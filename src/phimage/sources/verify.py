"""Reading with a proof: the digest is made on the way, and at the end it is right, or there is an error instead of an end."""

from __future__ import annotations

from types import TracebackType
from typing import Final

from phimage.sources.digest import Digests, Expected, Hashes
from phimage.sources.source import Reader

PIECE: Final = 1024 * 1024


class Verified:
    """A reader whose bytes were the expected ones if it came to its end. Until then they are anybody's: keep them apart."""

    def __init__(self, reader: Reader, expected: Expected, where: str) -> None:
        """`reader` is at its beginning; `where` names it in errors."""
        self._reader = reader
        self._expected = expected
        self._where = where
        self._hashes = Hashes(expected)
        self._ended = False

    @property
    def size(self) -> int:
        """How many bytes were read."""
        return self._hashes.size

    def read(self, size: int, /) -> bytes:
        """As many bytes as asked for, fewer only at the end. Raises WrongDigest instead of ending, every time."""
        found = b"" if self._ended else self._reader.read(size)
        self._hashes.update(found)
        if len(found) < size:
            self._ended = True
            self._expected.check(self._where, self._hashes.digests(), self._hashes.size)
        return found

    def skip(self, offset: int) -> None:
        """Read up to a place, for their digest only: an upload that goes on there needs the digest of all."""
        while self.size < offset and self.read(min(PIECE, offset - self.size)):
            pass

    def finish(self) -> Digests:
        """Read what is left and give the digests of all. Raises WrongDigest. Who stops reading earlier proved nothing."""
        while not self._ended:
            self.read(PIECE)
        self._expected.check(self._where, self._hashes.digests(), self._hashes.size)
        return self._hashes.digests()

    def close(self) -> None:
        """Close the reader beneath."""
        self._reader.close()

    def __enter__(self) -> Verified:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()
