"""Bytes and how to change some."""

from __future__ import annotations

import struct
from functools import cache

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
AT_END = (1 << 64) - 1


def patched(image: bytes, *changes: tuple[int, bytes]) -> bytes:
    """An image with some bytes changed. A negative place counts from the end."""
    data = bytearray(image)
    for place, new in changes:
        start = place % len(data) if place < 0 else place
        data[start : start + len(new)] = new
    return bytes(data)


@cache
def pattern(length: int) -> bytes:
    """Bytes that compress badly and are the same each time."""
    return b"".join(struct.pack("<I", number * 2654435761 % (1 << 32)) for number in range(-(-length // 4)))[:length]
