"""The forms of a disk as HTTP sees them. Ranges, conditions and sending are written once, for any Representation."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from phimage.chunks.frame import zeros
from phimage.chunks.read import DiskReader

Bytes = bytes | memoryview
Piece = Callable[[], Bytes | list[Bytes]] | Bytes
"""Some bytes of a body, or what makes them, maybe in several parts that are not joined: it may be called in any thread, and
blocks until the store has answered."""

_ZERO_BYTES = 1 << 20


class Representation(Protocol):
    """Immutable bytes whose size is known before the first of them is made."""

    @property
    def size(self) -> int:
        """In bytes."""

    @property
    def etag(self) -> str:
        """A strong entity tag: different bytes have different tags."""

    @property
    def digest(self) -> str:
        """The SHA-256 of all bytes in hexadecimal, empty if unknown."""

    @property
    def media_type(self) -> str:
        """The Content-Type."""

    @property
    def piece_bytes(self) -> int:
        """The maximum size of a piece; at least one."""

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """The bytes from `start` until before `stop`, in order, as pieces. Does not block.

        A piece raises BadChunk or StoreFailure rather than return an unverified byte.
        """


class InMemory:
    """A small representation that is in memory."""

    def __init__(self, content: bytes, etag: str, media_type: str, digest: str = "") -> None:
        self._content = content
        self.etag = etag
        self.media_type = media_type
        self.piece_bytes = max(1, len(content))
        self.digest = digest

    @property
    def size(self) -> int:
        """See Representation."""
        return len(self._content)

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """See Representation."""
        yield self._content[start:stop]


class RawDisk:
    """A disk as it is."""

    media_type = "application/octet-stream"

    def __init__(self, reader: DiskReader) -> None:
        self._reader = reader
        self.size = reader.manifest.size
        self.digest: str = reader.manifest.sha256
        self.etag = f'"{self.digest}"'
        self.piece_bytes = reader.manifest.chunk_size

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """See Representation."""
        return disk_pieces(self._reader, start, stop)


def disk_pieces(reader: DiskReader, start: int, stop: int) -> Iterator[Piece]:
    """The bytes of a disk, chunk by chunk, and zeros without their chunks. Parts of chunks are read through the reader's
    cache, so that many small ranges load a chunk once."""
    size = reader.manifest.chunk_size
    while start < stop:
        index = start // size
        stored, ends = reader.manifest.run(index)
        if not stored:
            end = min(stop, ends * size)
            yield from zero_pieces(end - start)
        else:
            end = min(stop, (index + 1) * size)
            whole = end - start == reader.manifest.length(index)
            yield partial(reader.chunk, index) if whole else partial(reader.read, start, end - start)
        start = end


def zero_pieces(count: int) -> Iterator[Bytes]:
    """So many zeros, all of them the same memory."""
    while count >= _ZERO_BYTES:
        yield zeros(_ZERO_BYTES)
        count -= _ZERO_BYTES
    if count:
        yield memoryview(zeros(_ZERO_BYTES))[:count]


def repr_digest(digest: str) -> str:
    """The Repr-Digest header field of a SHA-256 in hexadecimal (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode('ascii')}:"
