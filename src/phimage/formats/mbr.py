"""The master boot record, and the chain of extended boot records with the logical partitions."""

from __future__ import annotations

import struct
from typing import Final

from msgspec import Struct

from phimage.formats.partition import EXTENDED, Partition, Remark
from phimage.formats.reader import ReaderAt

SECTOR: Final = 512
CODE: Final = 440
MAX_LOGICAL: Final = 60
VOLUME_BOOT_RECORDS: Final = ((3, b"NTFS    "), (3, b"EXFAT   "), (54, b"FAT12   "), (54, b"FAT16   "), (82, b"FAT32   "))


class BootRecord(Struct, frozen=True):
    """The content of a boot record. `protective` means that it announces a GPT."""

    partitions: tuple[Partition, ...] = ()
    boot_code: bytes = b""
    id: str = ""
    protective: bool = False
    remarks: tuple[Remark, ...] = ()


def read(reader: ReaderAt) -> BootRecord:
    """Read the boot record of a disk; an empty one when there is none, or when it belongs to a file system."""
    sector = reader.read_at(0, SECTOR)
    if len(sector) < SECTOR or sector[510:] != b"\x55\xaa":
        return BootRecord()
    if any(sector.startswith(name, place) for place, name in VOLUME_BOOT_RECORDS):
        return BootRecord()
    code = sector[:CODE] if sector[:CODE].strip(b"\0") else b""
    unusual = [index + 1 for index in range(4) if sector[446 + 16 * index] & 0x7F]
    if unusual:
        return BootRecord(boot_code=code, remarks=(("mbr.unusual", f"unusual boot flags in entries {unusual}"),))
    (identity,) = struct.unpack_from("<I", sector, CODE)
    primary = _entries(sector, 0, [1, 2, 3, 4])
    logical = _logical(primary, reader)
    protective = any(partition.type == "ee" for partition in primary)
    return BootRecord((*primary, *logical), code, f"{identity:08x}", protective)


def _entries(sector: bytes, base: int, numbers: list[int]) -> list[Partition]:
    partitions = []
    for index, number in enumerate(numbers):
        flag, type, start, size = struct.unpack_from("<B3xB3xII", sector, 446 + 16 * index)
        if type and size:
            partitions.append(Partition(number, (base + start) * SECTOR, size * SECTOR, f"{type:02x}", "", "", flag == 0x80))
    return partitions


def _logical(primary: list[Partition], reader: ReaderAt) -> list[Partition]:
    """Each extended boot record has one partition and a pointer to the next record, relative to the chain's beginning."""
    partitions: list[Partition] = []
    for container in primary:
        base = container.start // SECTOR
        place, seen = base, set[int]()
        while container.type in EXTENDED and place not in seen and len(seen) < MAX_LOGICAL:
            seen.add(place)
            sector = reader.read_at(place * SECTOR, SECTOR)
            if sector[510:] != b"\x55\xaa":
                break
            entries = _entries(sector, place, [5 + len(partitions)])
            partitions += [entry for entry in entries if entry.type not in EXTENDED]
            type, start = struct.unpack_from("<4xB3xI", sector, 446 + 16)
            if f"{type:02x}" not in EXTENDED:
                break
            place = base + start
    return partitions
