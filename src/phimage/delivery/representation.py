"""A form of a disk, as HTTP sees it. Ranges, conditions and sending are written once, over this."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

Piece = Callable[[], bytes]
"""Makes some bytes. May be called in any thread, and waits for the store there."""


class Representation(Protocol):
    """Bytes that never change, of a size that is known before the first of them."""

    @property
    def size(self) -> int:
        """In bytes."""

    @property
    def etag(self) -> str:
        """A strong entity tag: other bytes have another one."""

    @property
    def digest(self) -> str:
        """The SHA-256 of all bytes in hexadecimal, empty if nobody knows."""

    @property
    def media_type(self) -> str:
        """The Content-Type."""

    @property
    def piece_bytes(self) -> int:
        """How large a piece can be; at least one."""

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """The bytes from `start` until before `stop`, in order and in pieces. Does not wait.

        A piece raises BadChunk or StoreFailure instead of giving a byte that is not verified.
        """


class Text:
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
        yield partial(bytes, self._content[start:stop])


def repr_digest(digest: str) -> str:
    """The Repr-Digest header of a SHA-256 in hexadecimal (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode('ascii')}:"
