"""The boot catalogue of a disc ("El Torito" Bootable CD-ROM Format Specification 1.0, and UEFI 2.10, 13.3.2.1)."""

from __future__ import annotations

import struct
from typing import Final

from phimage.formats.reader import Reader

SECTOR: Final = 2048
BOOTABLE: Final = 0x88
MAX_SECTIONS: Final = 32
BIOS, EFI = 0x00, 0xEF


def platforms(reader: Reader) -> frozenset[int]:
    """The platforms for which a disc has something bootable; none when it has no catalogue."""
    record = reader.read_at(17 * SECTOR, SECTOR)
    if len(record) < SECTOR or record[:7] != b"\0CD001\1" or not record.startswith(b"EL TORITO SPECIFICATION", 7):
        return frozenset()
    catalogue = reader.read_at(struct.unpack_from("<I", record, 71)[0] * SECTOR, SECTOR)
    if len(catalogue) < SECTOR or catalogue[0] != 1 or catalogue[30:32] != b"\x55\xaa":
        return frozenset()
    found = {catalogue[1]} if catalogue[32] == BOOTABLE else set[int]()
    offset = 64
    for _ in range(MAX_SECTIONS):
        if offset + 32 > SECTOR or catalogue[offset] not in (0x90, 0x91):
            break
        platform = catalogue[offset + 1]
        (count,) = struct.unpack_from("<H", catalogue, offset + 2)
        for entry in range(offset + 32, min(offset + 32 + 32 * count, SECTOR), 32):
            if catalogue[entry] == BOOTABLE:
                found.add(platform)
        if catalogue[offset] == 0x91:
            break
        offset += 32 + 32 * count
    return frozenset(found)
