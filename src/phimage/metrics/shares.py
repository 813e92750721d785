"""Memory that the processes of a server share, workers and publishers: each writes its own part, and any of them reads all.

All workers answer on one port, so whoever asks for measures reaches one of them, and gets everybody's. The memory is anonymous:
nothing is left of it when the processes are gone.
"""

from __future__ import annotations

import os
import struct
import zlib
from mmap import mmap
from typing import NamedTuple

PART_BYTES = 256 * 1024
"""Most that a worker can write; pages that nobody wrote cost nothing."""
_HEAD = struct.Struct("<II")
_TRIES = 20


class Shares:
    """Made before the workers are forked, with a part for each and further ones for processes that are started later."""

    def __init__(self, workers: int, further: int = 0) -> None:
        self.workers = workers
        self._parts = workers + further
        self._file = os.memfd_create("phimage-measures")
        os.ftruncate(self._file, self._parts * PART_BYTES)
        self._memory = mmap(self._file, self._parts * PART_BYTES)
        self._numbers, write = os.pipe()
        os.write(write, bytes(range(workers)))  # each worker takes one
        os.close(write)

    def place(self, number: int) -> Place:
        """Where a process that is started later finds the further part of a number. It must get the file as it is open here."""
        return Place(self._file, self.workers + number)

    def take(self) -> int:
        """A part of one's own, once in each worker. Raises RuntimeError when all are taken."""
        number = os.read(self._numbers, 1)
        if not number:
            raise RuntimeError("more workers than parts")
        return number[0]

    def write(self, part: int, data: bytes) -> None:
        """Put data in one's own part, in place of what was there. Raises ValueError when it is too long."""
        _write(self._memory, part * PART_BYTES, data)

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
        """What the parts of all other workers have."""
        return [data for other in range(self.workers) if other != part and (data := self.read(other))]

    def further(self) -> list[bytes]:
        """What the further parts have."""
        return [data for other in range(self.workers, self._parts) if (data := self.read(other))]


class Place(NamedTuple):
    """A part, as a process that was started with the open file knows it."""

    file: int
    part: int

    def write(self, data: bytes) -> None:
        """Put data there. Raises ValueError when it is too long, OSError when there is no such file or it is shorter."""
        start = self.part * PART_BYTES
        with mmap(self.file, PART_BYTES, offset=start) as memory:
            _write(memory, 0, data)


def _write(memory: mmap, start: int, data: bytes) -> None:
    if len(data) > PART_BYTES - _HEAD.size:
        raise ValueError(f"{len(data)} bytes are more than a part has")
    memory[start : start + _HEAD.size + len(data)] = _HEAD.pack(len(data), zlib.crc32(data)) + data
