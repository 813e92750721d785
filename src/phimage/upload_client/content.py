"""The request body of a part: compressed if it shrinks, with its digest, sent in counted blocks."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Final

from phimage.chunks.frame import pack, zero_frame, zeros

PAYS: Final = 0.95
"""A part is compressed if its frame has at most this share of the raw size."""

_LEVEL: Final = 1
_SAMPLE: Final = 16 << 10
_SAMPLE_EVERY: Final = 1 << 20
_BLOCK: Final = 256 << 10


class PartContent:
    """The body and header fields of a request. `sent` is the share of the body sent so far, from 0 to 1."""

    def __init__(self, data: bytes, raw_digest: bytes, *, zstd: bool) -> None:
        """`raw_digest` is the SHA-256 of the raw bytes, which `data` are, or which it is the frame of."""
        self._data = data
        digest = sha256(data).digest() if zstd else raw_digest
        self.fields = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(data)),
            "Content-Digest": f"sha-256=:{base64.b64encode(digest).decode('ascii')}:",
        } | ({"Content-Encoding": "zstd"} if zstd else {})
        self.sent = 0.0

    def blocks(self, check: Callable[[], object]) -> Iterator[bytes]:
        """The body from its beginning, in blocks. `check` is called before each block and may raise to end it."""
        for place in range(0, len(self._data), _BLOCK):
            self.sent = place / len(self._data)
            check()
            yield self._data[place : place + _BLOCK]
        self.sent = 1.0


def part_content(raw: bytes, digest: bytes) -> PartContent:
    """The body for raw bytes with this SHA-256."""
    if raw == zeros(len(raw)):
        return PartContent(zero_frame(len(raw)), digest, zstd=True)
    sample = b"".join(raw[place : place + _SAMPLE] for place in range(0, len(raw), _SAMPLE_EVERY))
    if _shrinks(sample):  # a cheap test for incompressible parts
        frame = pack(raw, _LEVEL)
        if len(frame) <= len(raw) * PAYS:
            return PartContent(frame, digest, zstd=True)
    return PartContent(raw, digest, zstd=False)


def _shrinks(sample: bytes) -> bool:
    return len(pack(sample, _LEVEL)) <= len(sample) * PAYS
