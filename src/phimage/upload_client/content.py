"""A part as it is sent: compressed if that pays, with its digest, in blocks that are counted."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Final

from phimage.chunks.frame import pack, zero_frame, zeros

PAYS: Final = 0.95
"""A frame is sent if it has at most this share of the raw bytes."""

_LEVEL: Final = 1
_SAMPLE: Final = 16 << 10
_SAMPLE_EVERY: Final = 1 << 20
_BLOCK: Final = 256 << 10


class Content:
    """The content of a request. `sent` is the share of it that went out, from 0 to 1."""

    def __init__(self, data: bytes, raw_digest: bytes, *, zstd: bool) -> None:
        """`raw_digest` is the SHA-256 of what `data` is, or is the frame of."""
        self._data = data
        digest = sha256(data).digest() if zstd else raw_digest
        self.fields = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(data)),
            "Content-Digest": f"sha-256=:{base64.b64encode(digest).decode('ascii')}:",
        } | ({"Content-Encoding": "zstd"} if zstd else {})
        self.sent = 0.0

    def blocks(self, check: Callable[[], object]) -> Iterator[bytes]:
        """The content once more from its beginning. `check` is called before each block, and ends it by raising."""
        for place in range(0, len(self._data), _BLOCK):
            self.sent = place / len(self._data)
            check()
            yield self._data[place : place + _BLOCK]
        self.sent = 1.0


def content(raw: bytes, digest: bytes) -> Content:
    """The content for raw bytes, which have this SHA-256."""
    if raw == zeros(len(raw)):
        return Content(zero_frame(len(raw)), digest, zstd=True)
    sample = b"".join(raw[place : place + _SAMPLE] for place in range(0, len(raw), _SAMPLE_EVERY))
    if _pays(sample):  # what does not shrink costs little time to find out
        frame = pack(raw, _LEVEL)
        if len(frame) <= len(raw) * PAYS:
            return Content(frame, digest, zstd=True)
    return Content(raw, digest, zstd=False)


def _pays(sample: bytes) -> bool:
    return len(pack(sample, _LEVEL)) <= len(sample) * PAYS
