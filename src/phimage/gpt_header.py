"""The header of a GUID partition table (UEFI 2.10, 5.3) with its entries, verified. The agent ships this file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

SIGNATURE: Final = b"EFI PART"
SECTOR_SIZES: Final = (512, 4096)
_MAX_ENTRIES: Final = 1 << 20
CHECKSUM: Final = 16
"""Where a header has its checksum, which is computed over zeros in its place."""

_HEADER: Final = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY: Final = struct.Struct("<16s16sQQQ72s")


class GptEntry(NamedTuple):
    """A partition as its table has it. First and last are sectors."""

    type: bytes
    id: bytes
    first: int
    last: int
    flags: int
    name: bytes


@dataclass(frozen=True)
class GptHeader:
    """A header with valid checksums, and its entries. Places are in sectors; `data` is the header without its padding."""

    data: bytes
    place: int
    alternate: int
    disk_id: bytes
    entry_size: int
    entries: bytes

    def partitions(self) -> Iterator[tuple[int, GptEntry]]:
        """The partitions with their numbers, from 1."""
        for index in range(len(self.entries) // self.entry_size):
            entry = GptEntry(*_ENTRY.unpack_from(self.entries, index * self.entry_size))
            if any(entry.type) and entry.last >= entry.first:
                yield index + 1, entry


def read_header(read: Callable[[int, int], bytes], size: int, sector: int, place: int) -> GptHeader | None:
    """The header in a sector of a disk; None if it, or its entries, are not whole.

    `read` returns bytes of the disk from an offset, fewer only at the end of its `size`.
    """
    data = read(place * sector, sector) if 0 < place < size // sector else b""
    if len(data) < sector or not data.startswith(SIGNATURE):
        return None
    fields = _HEADER.unpack_from(data)
    _signature, revision, length, checksum, _reserved, own, alternate, _first, _last, disk_id = fields[:10]
    entries_at, count, entry_size, entries_checksum = fields[10:]
    if revision >> 16 != 1 or not _HEADER.size <= length <= sector or own != place:
        return None
    if checksum_of(data[:length]) != checksum:
        return None
    whole = count * entry_size
    if entry_size < _ENTRY.size or entry_size % 8 or not 0 < whole <= _MAX_ENTRIES or entries_at * sector > size:
        return None
    entries = read(entries_at * sector, whole)
    if len(entries) != whole or zlib.crc32(entries) != entries_checksum:
        return None
    return GptHeader(data[:length], place, alternate, disk_id, entry_size, entries)


def checksum_of(header: bytes | bytearray) -> int:
    """The checksum that a header should have."""
    return zlib.crc32(bytes(header[:CHECKSUM]) + bytes(4) + bytes(header[CHECKSUM + 4 :]))
