"""Which bytes go where on a disk: the head and the tail, which are written last, the body between them, and its zeros."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from phimage.agent.gpt import TableChange
from phimage.agent.image_chunks import ImageChunks

MIB = 1 << 20
WINDOW = MIB
"""The size of the head and of the tail."""
MIN_DISK = 3 * WINDOW


class WritePlan:
    """An image on a disk of at least MIN_DISK bytes and at least its own size."""

    def __init__(self, chunks: ImageChunks, disk_size: int, sector: int, changes: Sequence[TableChange]) -> None:
        """`changes` are what the disk gets in place of the image's bytes."""
        self.chunks = chunks
        self.disk_size = disk_size
        self.tail_start = disk_size - WINDOW
        self.changes = changes
        self._sector = sector

    def changed_sectors(self) -> list[tuple[int, int]]:
        """The first and the last sector of each range that differs from the image on purpose."""
        ranges: list[tuple[int, int]] = []
        for change in sorted(self.changes, key=lambda change: change.offset):
            first, last = change.offset // self._sector, (change.offset + len(change.data) - 1) // self._sector
            if ranges and first <= ranges[-1][1] + 1:
                ranges[-1] = ranges[-1][0], max(last, ranges[-1][1])
            else:
                ranges.append((first, last))
        return ranges

    def is_plain(self, place: int) -> bool:
        """Whether a chunk is written whole and unchanged to the body, so that its digest is that of the disk."""
        start, length = self.chunks.offset(place), self.chunks.length(place)
        inside = start >= WINDOW and start + length <= self.tail_start and length % self._sector == 0
        return inside and not any(_overlap(change.offset, len(change.data), start, length) for change in self.changes)

    def body(self, place: int, raw: bytes) -> tuple[int, bytes]:
        """The offset and the bytes of a chunk's part in the body, in whole sectors; no bytes if it has none."""
        start = self.chunks.offset(place)
        data = bytearray(raw)
        data += bytes(-len(data) % self._sector)
        for change in self.changes:
            _put(data, start, change.offset, change.data)
        begin, end = max(start, WINDOW), min(start + len(data), self.tail_start)
        return begin, bytes(data[begin - start : end - start]) if begin < end else b""

    def hold(self, place: int, raw: bytes, head: bytearray, tail: bytearray) -> None:
        """Copy a chunk's parts in the head and in the tail into these."""
        start = self.chunks.offset(place)
        _put(head, 0, start, raw)
        _put(tail, self.tail_start, start, raw)

    def change(self, head: bytearray, tail: bytearray) -> None:
        """Make the changes in a complete head and tail."""
        for change in self.changes:
            _put(head, 0, change.offset, change.data)
            _put(tail, self.tail_start, change.offset, change.data)

    def zeros(self) -> Iterator[tuple[int, int]]:
        """The offset and the length of each run of zeros in the body, to the end of the disk, in whole sectors."""
        for offset, length in self.chunks.holes(self.disk_size):
            start = max(-(-offset // self._sector) * self._sector, WINDOW)
            stop = min(offset + length, self.tail_start)
            if start < stop:
                yield start, stop - start


def _put(target: bytearray, target_start: int, offset: int, data: bytes) -> None:
    """Copy the part of `data`, which begins at `offset`, that lies within the target."""
    begin, end = max(offset, target_start), min(offset + len(data), target_start + len(target))
    if begin < end:
        target[begin - target_start : end - target_start] = data[begin - offset : end - offset]


def _overlap(start: int, length: int, other: int, other_length: int) -> bool:
    return start < other + other_length and other < start + length
