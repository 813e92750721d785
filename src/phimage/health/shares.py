"""Memory that the worker processes of a server share: each writes its own part, and any of them reads all.

All workers answer on one port, so whoever asks for measures reaches one of them, and gets everybody's. The memory is anonymous:
nothing is left of it when the processes are gone.
"""

from __future__ import annotations

import os
import struct
import zlib
from mmap import mmap

PART_BYTES = 256 * 1024
"""Most that a worker can write; pages that nobody wrote cost nothing."""
_HEAD = struct.Struct("<II")
_TRIES = 20


class Shares:
    """Made before the workers are forked."""

    def __init__(self, parts: int) -> None:
        self._memory = mmap(-1, parts * PART_BYTES)
        self._parts = parts
        self._numbers, write = os.pipe()
        os.write(write, bytes(range(parts)))  # each worker takes one
        os.close(write)

    def take(self) -> int:
        """A part of one's own, once in each worker. Raises RuntimeError when all are taken."""
        number = os.read(self._numbers, 1)
        if not number:
            raise RuntimeError("more workers than parts")
        return number[0]

    def write(self, part: int, data: bytes) -> None:
        """Put data in one's own part, in place of what was there. Raises ValueError when it is too long."""
        if len(data) > PART_BYTES - _HEAD.size:
            raise ValueError(f"{len(data)} bytes are more than a part has")
        start = part * PART_BYTES
        self._memory[start : start + _HEAD.size + len(data)] = _HEAD.pack(len(data), zlib.crc32(data)) + data

    def read(self, part: int) -> bytes:
        """What is in a part, whole; empty when nothing was written. Raises ValueError when it never was whole."""
        start = part * PART_BYTES
        for _ in range(_TRIES):  # the writer does not wait for readers, so one may see half of it
            length, digest = _HEAD.unpack(self._memory[start : start + _HEAD.size])
            data = self._memory[start + _HEAD.size : start + _HEAD.size + length]
            if zlib.crc32(data) == digest:
                return data
        raise ValueError(f"part {part} is not whole")

    def others(self, part: int) -> list[bytes]:
        """What all other parts have."""
        return [data for other in range(self._parts) if other != part and (data := self.read(other))]
