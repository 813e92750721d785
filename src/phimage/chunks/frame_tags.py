"""Frames that were verified before: a tag for each stored chunk of a disk, so that the same bytes are not hashed again.

A tag is a GMAC (NIST SP 800-38D) of the frame under a random key that never leaves the process. Only bytes that were verified
get one, and other bytes have the same tag with a probability of about 2^-100, also if an attacker chose them. It costs a tenth
of a SHA-256.
"""

from __future__ import annotations

import secrets
from enum import IntEnum
from functools import lru_cache

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from phimage.chunks.layout import ChunkDigest

_NONCE_BYTES = 12
_TAG_BYTES = 16
_ENTRY_BYTES = 1 + _TAG_BYTES


class Verified(IntEnum):
    """How a frame was verified."""

    NOT = 0
    AS_LISTED = 1  # its SHA-256 is that of the frame list
    UNPACKED = 2  # its chunk has the right digest, which is more


# docs/decisions.md#verified-frames-have-a-tag
class FrameTags:
    """The tags of the frames of one disk, in memory: 17 bytes for each stored chunk. Thread-safe."""

    def __init__(self, count: int) -> None:
        """`count` is the number of stored chunks, each of which has a place."""
        self._entries = bytearray(count * _ENTRY_BYTES)

    def find(self, place: int, digest: ChunkDigest, frame: bytes) -> Verified:
        """How these very bytes were verified."""
        entry = self._entries[place * _ENTRY_BYTES : (place + 1) * _ENTRY_BYTES]
        if not entry[0] or entry[1:] != _tag(digest, frame):
            return Verified.NOT
        return Verified(entry[0])

    def note(self, place: int, digest: ChunkDigest, frame: bytes, how: Verified) -> None:
        """Note that these bytes were verified."""
        self._entries[place * _ENTRY_BYTES : (place + 1) * _ENTRY_BYTES] = bytes([how]) + _tag(digest, frame)


def _tag(digest: ChunkDigest, frame: bytes) -> bytes:
    return _cipher().encrypt(digest[:_NONCE_BYTES], b"", frame)


@lru_cache(maxsize=1)
def _cipher() -> AESGCM:
    return AESGCM(secrets.token_bytes(32))
