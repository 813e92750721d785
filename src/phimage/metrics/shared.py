"""Shared memory for metrics: each worker and publisher of a server writes its own slot, and any worker reads all slots.

All workers listen on one port, so a request for metrics reaches one of them, which answers for all. The memory is anonymous
and ends with the processes.
"""

from __future__ import annotations

import os
import struct
import zlib
from mmap import mmap
from typing import NamedTuple

SLOT_BYTES = 256 * 1024
"""The size of a slot. Pages that were never written take no memory."""
_HEAD = struct.Struct("<II")
_TRIES = 20


# docs/decisions.md#metrics-are-plain-counters-in-shared-memory
class SharedMetrics:
    """One slot for each worker, and further ones for processes that are started later. Construct it before the workers fork."""

    def __init__(self, workers: int, further: int = 0) -> None:
        self.workers = workers
        self._slots = workers + further
        self._file = os.memfd_create("phimage-metrics")
        os.ftruncate(self._file, self._slots * SLOT_BYTES)
        self._memory = mmap(self._file, self._slots * SLOT_BYTES)
        self._numbers, write = os.pipe()
        os.write(write, bytes(range(workers)))  # each worker reads one
        os.close(write)

    def further_slot(self, number: int) -> MetricsSlot:
        """A further slot, by number, for a process that is started later and inherits the open file."""
        return MetricsSlot(self._file, self.workers + number)

    def take(self) -> int:
        """The slot of the calling worker. Call once in each; raises RuntimeError when all are taken."""
        number = os.read(self._numbers, 1)
        if not number:
            raise RuntimeError("there are more workers than slots")
        return number[0]

    def write(self, slot: int, data: bytes) -> None:
        """Replace the data of the caller's slot. Raises ValueError for more than a slot holds."""
        _write(self._memory, slot * SLOT_BYTES, data)

    def read(self, slot: int) -> bytes:
        """The data of a slot, empty before the first write. Raises ValueError when its checksum stays wrong."""
        start = slot * SLOT_BYTES
        for _ in range(_TRIES):  # there is no lock, so a read may see half of a write
            length, digest = _HEAD.unpack(self._memory[start : start + _HEAD.size])
            data = self._memory[start + _HEAD.size : start + _HEAD.size + length]
            if zlib.crc32(data) == digest:
                return data
        raise ValueError(f"the data of slot {slot} does not have its checksum")

    def others(self, slot: int) -> list[bytes]:
        """The data of all other workers."""
        return [data for other in range(self.workers) if other != slot and (data := self.read(other))]

    def further(self) -> list[bytes]:
        """The data of the further slots."""
        return [data for other in range(self.workers, self._slots) if (data := self.read(other))]


# docs/decisions.md#publishers-share-the-metrics-of-their-server
class MetricsSlot(NamedTuple):
    """A slot, for a process that inherited the open file."""

    file: int
    number: int

    def write(self, data: bytes) -> None:
        """Replace the data. Raises ValueError for more than a slot holds, OSError when the file is not open or is too short."""
        start = self.number * SLOT_BYTES
        with mmap(self.file, SLOT_BYTES, offset=start) as memory:
            _write(memory, 0, data)


def _write(memory: mmap, start: int, data: bytes) -> None:
    if len(data) > SLOT_BYTES - _HEAD.size:
        raise ValueError(f"{len(data)} bytes are more than a slot holds")
    memory[start : start + _HEAD.size + len(data)] = _HEAD.pack(len(data), zlib.crc32(data)) + data
