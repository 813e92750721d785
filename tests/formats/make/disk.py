"""Makes disks and discs: partition tables, volume descriptors, superblocks."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from uuid import UUID


def mbr(*entries: tuple[int, int, int, int], code: bytes = b"", chs: bytes = b"\0\x02\0") -> bytes:
    """A boot record. An entry is flag, type, first sector, sectors."""
    data = bytearray(512)
    data[: len(code)] = code
    data[440:444] = b"\x78\x56\x34\x12"
    for index, (flag, type, start, size) in enumerate(entries):
        struct.pack_into("<B3sB3sII", data, 446 + 16 * index, flag, chs, type, b"\xfe\xff\xff", start, size)
    data[510:] = b"\x55\xaa"
    return bytes(data)


LINUX = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
ESP = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
BIOS_BOOT = UUID("21686148-6449-6e6f-744e-656564454649")
DISK_ID = UUID("11111111-2222-3333-4444-555555555555")


def gpt(
    size: int,
    parts: Sequence[tuple[UUID, int, int, str]],
    *,
    sector: int = 512,
    code: bytes = b"",
    mixed: Sequence[tuple[int, int, int, int]] = (),
    flags: int = 0,
) -> bytearray:
    """A disk with a GPT and its backup. A part is type, first and last sector, name."""
    data = bytearray(size)
    last = size // sector - 1
    entries = bytearray(128 * 128)
    for index, (type, first, end, name) in enumerate(parts):
        struct.pack_into(
            "<16s16sQQQ72s",
            entries,
            128 * index,
            type.bytes_le,
            UUID(int=index + 1).bytes_le,
            first,
            end,
            flags,
            name.encode("utf-16-le"),
        )
    area = len(entries) // sector
    data[:512] = mbr((0, 0xEE, 1, min(last, 0xFFFFFFFF)), *mixed, code=code)
    for own, other, entries_at in ((1, last, 2), (last, 1, last - area)):
        header = bytearray(92)
        struct.pack_into(
            "<8sIIIIQQQQ16sQIII",
            header,
            0,
            b"EFI PART",
            0x10000,
            92,
            0,
            0,
            own,
            other,
            2 + area,
            last - area - 1,
            DISK_ID.bytes_le,
            entries_at,
            128,
            128,
            zlib.crc32(entries),
        )
        struct.pack_into("<I", header, 16, zlib.crc32(header))
        data[own * sector : own * sector + 92] = header
        data[entries_at * sector : entries_at * sector + len(entries)] = entries
    return data


def _both(value: int, letter: str) -> bytes:
    return struct.pack("<" + letter, value) + struct.pack(">" + letter, value)


def iso(
    *, blocks: int = 600, system_area: bytes = b"", said: int | None = None, boot: Sequence[int] = (), skewed: bool = False
) -> bytes:
    """A disc: system area, primary descriptor, boot record for the platforms, terminator, boot catalogue at sector 19."""
    said = blocks if said is None else said
    primary = bytearray(2048)
    primary[:8] = b"\x01CD001\x01\0"
    primary[40:72] = b"PHIMAGE_TEST".ljust(32)
    primary[80:88] = _both(said, "I")
    primary[128:132] = _both(2048, "H")
    if skewed:
        primary[84:88] = struct.pack(">I", said + 1)
    primary[813:829] = b"2026112310203000"
    record = bytearray(2048)
    record[:7] = b"\0CD001\x01"
    record[7:30] = b"EL TORITO SPECIFICATION"
    record[71:75] = struct.pack("<I", 19)
    catalogue = bytearray(2048)
    if boot:
        catalogue[:2] = bytes([1, boot[0]])
        catalogue[30:32] = b"\x55\xaa"
        catalogue[32] = 0x88
        for index, platform in enumerate(boot[1:]):
            at = 64 + 64 * index
            catalogue[at : at + 4] = bytes([0x91 if index == len(boot) - 2 else 0x90, platform, 1, 0])
            catalogue[at + 32] = 0x88
    descriptors = bytes(primary) + (bytes(record) if boot else b"") + b"\xffCD001\x01".ljust(2048, b"\0")
    data = system_area.ljust(32768, b"\0") + descriptors
    data = data.ljust(19 * 2048, b"\0") + bytes(catalogue)
    return data.ljust(blocks * 2048, b"\0")


def ext_superblock() -> bytes:
    """The signature of an ext4 file system, from its first byte on: 2 KiB. Nothing follows it."""
    block = bytearray(2048)
    struct.pack_into("<II", block, 1024, 16, 4096)
    struct.pack_into("<H", block, 1024 + 56, 0xEF53)
    struct.pack_into("<III", block, 1024 + 92, 0x4, 0x40, 0x8)
    block[1024 + 104 : 1024 + 120] = DISK_ID.bytes
    block[1024 + 120 : 1024 + 136] = b"root".ljust(16, b"\0")
    return bytes(block)
