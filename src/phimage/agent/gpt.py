"""GUID partition tables, as far as an agent changes them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from phimage.gpt_header import CHECKSUM, SECTOR_SIZES, SIGNATURE, GptHeader, checksum_of, read_header

_MY_LBA, _ALTERNATE_LBA, _LAST_USABLE_LBA, _ENTRIES_LBA = 24, 32, 48, 72
_MBR_ENTRY = struct.Struct("<B3sB3sII")
_MBR_ENTRIES = range(446, 510, _MBR_ENTRY.size)
_PROTECTIVE = 0xEE
_MAX_OLD_ENTRIES = 512 << 10


@dataclass(frozen=True)
class TableChange:
    """Bytes that a disk gets in place of the image's."""

    offset: int
    data: bytes


def sector_size(head: bytes) -> int:
    """The sector size that the partition table at the beginning of a disk is made for; 0 if it has no GPT."""
    return next((size for size in SECTOR_SIZES if head[size : size + len(SIGNATURE)] == SIGNATURE), 0)


def move_backup(head: bytes, sector: int, disk_size: int, read: Callable[[int, int], bytes]) -> list[TableChange]:
    """What moves the backup table of an image to the end of a disk, with all that refers to its place, in order of the disk.

    `head` is the first MiB of the image; `read` returns other bytes of it, short at its end. Returns nothing for a disk without
    a whole GPT, or whose backup is there already.
    """
    table = _table(head, sector)
    last = disk_size // sector - 1
    if table is None or table.alternate == last:
        return []
    entry_sectors = -(-len(table.entries) // sector)
    primary = bytearray(table.data)
    struct.pack_into("<Q", primary, _ALTERNATE_LBA, last)
    struct.pack_into("<Q", primary, _LAST_USABLE_LBA, last - entry_sectors - 1)
    backup = bytearray(primary)
    struct.pack_into("<QQ", backup, _MY_LBA, last, 1)
    struct.pack_into("<Q", backup, _ENTRIES_LBA, last - entry_sectors)
    entries = table.entries.ljust(entry_sectors * sector, b"\0")
    return [
        *_protective_mbr(head[:sector], disk_size // sector),
        TableChange(sector, _summed(primary)),
        *_old_backup(table.alternate * sector, sector, read),
        TableChange((last - entry_sectors) * sector, entries + _summed(backup).ljust(sector, b"\0")),
    ]


def smallest_size(head: bytes, sector: int) -> int | None:
    """The bytes of the smallest disk that has all partitions of a GPT, and a backup behind them; 0 if it has no partitions, and
    None if the GPT is not whole.
    """
    table = _table(head, sector)
    if table is None:
        return None
    last = max((entry.last for _, entry in table.partitions()), default=-1)
    entry_sectors = -(-len(table.entries) // sector)
    return int(last + 1 + entry_sectors + 1) * sector if last >= 0 else 0


def _table(head: bytes, sector: int) -> GptHeader | None:
    """The primary table; None if it is not whole or not within the head."""
    return read_header(lambda at, length: head[at : at + length], len(head), sector, 1)


def _old_backup(offset: int, sector: int, read: Callable[[int, int], bytes]) -> list[TableChange]:
    """Zeros in place of the backup that the image has where it ends."""
    header = read(offset, sector)
    if header[: len(SIGNATURE)] != SIGNATURE:
        return []
    start = min(struct.unpack_from("<Q", header, _ENTRIES_LBA)[0] * sector, offset)
    if offset - start > _MAX_OLD_ENTRIES:
        start = offset
    return [TableChange(start, bytes(offset + sector - start))]


def _protective_mbr(mbr: bytes, sectors: int) -> list[TableChange]:
    """The protective entry of the whole disk. A hybrid table, whose entry ends where its author meant, stays."""
    entries = [_MBR_ENTRY.unpack_from(mbr, at) for at in _MBR_ENTRIES]
    if [entry[2] for entry in entries if entry[2]] != [_PROTECTIVE] or mbr[510:512] != b"\x55\xaa":
        return []
    at = next(at for at, entry in zip(_MBR_ENTRIES, entries, strict=True) if entry[2])
    return [TableChange(at + _MBR_ENTRY.size - 4, struct.pack("<I", min(sectors - 1, 0xFFFFFFFF)))]


def _summed(header: bytearray) -> bytes:
    """A header with its checksum."""
    struct.pack_into("<I", header, CHECKSUM, checksum_of(header))
    return bytes(header)
