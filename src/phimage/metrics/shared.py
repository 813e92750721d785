"""Shared memory for metrics: each worker and publisher of a server writes its own slot, and any worker reads all slots.

All workers listen on one port, so a request for metrics reaches one of them, which answers for all. The memory is anonymous
and ends with the processes. The main process gives slots to processes. When one ends, it adds what the process counted to
the slot of ended ones, so that no sum becomes smaller, and the slot can be used again.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from mmap import mmap
from typing import NamedTuple

SLOT_BYTES = 256 * 1024
"""The size of a slot. Pages that were never written take no memory."""
_HEAD = struct.Struct("<II")
_CHANGES = struct.Struct("<Q")
_TRIES = 20
_ENDED = 0
_FIRST = 1


class Slots(NamedTuple):
    """What was written, of one moment: by the other workers, by the publishers, and by processes that have ended."""

    workers: list[bytes]
    publishers: list[bytes]
    ended: bytes


# docs/decisions.md#metrics-are-plain-counters-in-shared-memory
class SharedMetrics:
    """Slots for workers and for publishers. Construct it in the main process, before the workers fork.

    Only the main process may call `claim` and `release`.
    """

    def __init__(self, workers: int = 1, publishers: int = 0) -> None:
        """The most workers, and the most publishers, that run at a time."""
        self._workers = range(_FIRST, _FIRST + workers)
        self._publishers = range(_FIRST + workers, _FIRST + workers + publishers)
        self._used: set[int] = set()
        self._file = os.memfd_create("phimage-metrics")
        size = (1 + self._publishers.stop) * SLOT_BYTES  # the last one counts the changes of several slots
        os.ftruncate(self._file, size)
        self._memory = mmap(self._file, size)
        self._changes = size - SLOT_BYTES

    def claim(self) -> WorkerSlot:
        """A free slot of a worker. Raises RuntimeError when all are in use."""
        return WorkerSlot(self, self._claim(self._workers))

    def has_slot_for_publisher(self) -> bool:
        """Whether a slot of a publisher is free."""
        return not self._used.issuperset(self._publishers)

    def claim_for_publisher(self) -> MetricsSlot:
        """A free slot of a publisher, which inherits the open file. Raises RuntimeError when all are in use."""
        return MetricsSlot(self._file, self._claim(self._publishers))

    def release(self, slot: int, add: Callable[[bytes, bytes], bytes]) -> None:
        """Free the slot of a process that has ended. `add` adds the second data to the first, for the ended processes."""
        try:
            data = self.read(slot)
            ended = add(self.read(_ENDED), data) if data else b""
        except ValueError:  # it was killed while it wrote: what it counted is lost
            ended = b""
        self._count_change()
        if ended:
            self.write(_ENDED, ended)
        self.write(slot, b"")
        self._count_change()
        self._used.discard(slot)

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

    def read_all(self, own: int) -> Slots:
        """The data of all slots but the caller's own. No process is in it twice, or missing, while it ends."""
        while True:
            before = self._number_of_changes()
            workers = [data for slot in self._workers if slot != own and (data := self._read_whole(slot))]
            publishers = [data for slot in self._publishers if (data := self._read_whole(slot))]
            slots = Slots(workers, publishers, self.read(_ENDED))
            if before % 2 == 0 and before == self._number_of_changes():
                return slots

    def _claim(self, slots: range) -> int:
        free = next((slot for slot in slots if slot not in self._used), None)
        if free is None:
            raise RuntimeError("too many processes run, some of them perhaps still ending; try again later")
        self._used.add(free)
        return free

    def _read_whole(self, slot: int) -> bytes:
        """The data of a slot; none of a process that was killed while it wrote."""
        try:
            return self.read(slot)
        except ValueError:
            return b""

    def _number_of_changes(self) -> int:
        number: int = _CHANGES.unpack_from(self._memory, self._changes)[0]
        return number

    def _count_change(self) -> None:
        _CHANGES.pack_into(self._memory, self._changes, self._number_of_changes() + 1)


class WorkerSlot(NamedTuple):
    """The slot of a worker."""

    shared: SharedMetrics
    number: int

    def write(self, data: bytes) -> None:
        """Replace the data. Raises ValueError for more than a slot holds."""
        self.shared.write(self.number, data)

    def read_others(self) -> Slots:
        """The data of the others."""
        return self.shared.read_all(self.number)


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
