"""Partition tables as far as the size of a disk concerns them: where the last partition ends, and the GPT for another size.

A GPT has its backup in the last sectors of the disk, and both headers say where the other one is (UEFI 2.10, 5.3). So a disk
of another size needs another protective entry in the MBR, two other headers, and the entries at its new end.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

Read = Callable[[int, int], bytes]
"""Reads bytes of a disk, by offset and length, both multiples of the sector size."""

_SIGNATURE = b"EFI PART"
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_MBR_ENTRIES, _MBR_ENTRY, _MBR_END = 446, 16, 510
_PROTECTIVE = 0xEE
_MAX_ENTRIES_BYTES = 1 << 20


class BadTable(ValueError):
    """A disk has no partition table, or one that is damaged or does not fit. The text has no name of the disk."""


@dataclass(frozen=True)
class Patch:
    """Bytes that replace those of a disk from an offset on."""

    offset: int
    data: bytes


@dataclass(frozen=True)
class GuidTable:
    """A GPT, of which the primary header and its entries have valid checksums. Places are in sectors."""

    sector_size: int
    header: bytes
    entries: bytes
    alternate: int
    entry_size: int

    @property
    def end(self) -> int:
        """The first byte after the last partition."""
        return (max(self._lasts(), default=0) + 1) * self.sector_size

    @property
    def tail(self) -> int:
        """The bytes of the backup: the entries in whole sectors, and the header."""
        return (-(-len(self.entries) // self.sector_size) + 1) * self.sector_size

    def patches(self, size: int, record: bytes) -> list[Patch]:
        """What makes this GPT that of a disk of `size` bytes, whose first sector is `record`. Raises BadTable."""
        sector = self.sector_size
        last = size // sector - 1
        backup = last - self.tail // sector + 1
        if backup * sector < self.end:
            raise BadTable(f"its partitions end at byte {self.end}, and the backup GPT begins at byte {backup * sector}")
        patches = [Patch(sector, self._header(1, last, backup - 1, None))]
        patches += [
            Patch(backup * sector, _padded(self.entries, sector)),
            Patch(last * sector, self._header(last, 1, backup - 1, backup)),
        ]
        protective = _protected(record, last)
        return patches if protective == record else [Patch(0, protective), *patches]

    def _header(self, own: int, other: int, last_usable: int, entries_at: int | None) -> bytes:
        """A header, with the checksums. Without `entries_at` the entries stay where they are."""
        fields = list(_HEADER.unpack_from(self.header))
        length = fields[2]
        fields[3], fields[5], fields[6], fields[8] = 0, own, other, last_usable
        if entries_at is not None:
            fields[10] = entries_at
        made = bytearray(self.header)
        _HEADER.pack_into(made, 0, *fields)
        struct.pack_into("<I", made, 16, zlib.crc32(made[:length]))
        return bytes(made)

    def _lasts(self) -> list[int]:
        found = []
        for at in range(0, len(self.entries), self.entry_size):
            kind, first, last = struct.unpack_from("<16s16xQQ", self.entries, at)
            if any(kind) and last >= first:
                found.append(last)
        return found


def read_gpt(read: Read, sector_size: int) -> GuidTable | None:
    """The GPT of a disk, by its primary header; None if it has none. Raises BadTable for a damaged one."""
    header = read(sector_size, sector_size)
    if not header.startswith(_SIGNATURE):
        return None
    fields = _HEADER.unpack_from(header)
    length, checksum, own, alternate = fields[2], fields[3], fields[5], fields[6]
    entries_at, count, entry_size, entries_checksum = fields[10:]
    if (
        not _HEADER.size <= length <= sector_size
        or zlib.crc32(header[:16] + bytes(4) + header[20:length]) != checksum
        or own != 1
    ):
        raise BadTable("the header of its GPT is damaged; repair it with `gdisk` (r, b, w)")
    entries_bytes = count * entry_size
    if entry_size < 128 or entry_size % 8 or not 0 < entries_bytes <= _MAX_ENTRIES_BYTES:
        raise BadTable("the entries of its GPT have an impossible size; repair it with `gdisk`")
    entries = read(entries_at * sector_size, -(-entries_bytes // sector_size) * sector_size)[:entries_bytes]
    if zlib.crc32(entries) != entries_checksum:
        raise BadTable("the entries of its GPT are damaged; repair it with `gdisk` (r, b, w)")
    return GuidTable(sector_size, header, entries, alternate, entry_size)


def mbr_end(record: bytes, sector_size: int) -> int:
    """The first byte after the last partition of an MBR. Raises BadTable if it has none."""
    if len(record) < _MBR_END + 2 or record[_MBR_END : _MBR_END + 2] != b"\x55\xaa":
        raise BadTable("it has no partition table")
    ends = [first + count for kind, first, count in _mbr_entries(record) if kind and count]
    if not ends:
        raise BadTable("its partition table has no partitions")
    return max(ends) * sector_size


def _mbr_entries(record: bytes) -> list[tuple[int, int, int]]:
    """Type, first sector and number of sectors of the four entries."""
    places = range(_MBR_ENTRIES, _MBR_END, _MBR_ENTRY)
    return [(record[at + 4], *struct.unpack_from("<II", record, at + 8)) for at in places]


def _protected(record: bytes, last: int) -> bytes:
    """The first sector, whose protective entry spans the disk."""
    made = bytearray(record)
    for number, (kind, first, _count) in enumerate(_mbr_entries(record)):
        if kind == _PROTECTIVE and first == 1:
            struct.pack_into("<I", made, _MBR_ENTRIES + number * _MBR_ENTRY + 12, min(last, 0xFFFFFFFF))
    return bytes(made)


def _padded(data: bytes, sector: int) -> bytes:
    return data + bytes(-len(data) % sector)
