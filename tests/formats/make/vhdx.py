"""Makes VHDX images."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from uuid import UUID

from phimage.formats.vhdx import crc32c
from tests.formats.make.content import KIB, MIB, pattern

BAT = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
FILE_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
VIRTUAL_SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
VIRTUAL_ID = UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
LOGICAL_SECTOR = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
PHYSICAL_SECTOR = UUID("cda348c7-445d-4471-9cc9-e9885251c556")
PARENT_LOCATOR = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")


def _crc(data: bytearray) -> bytes:
    struct.pack_into("<I", data, 4, 0)
    struct.pack_into("<I", data, 4, crc32c(bytes(data)))
    return bytes(data)


_CACHED: dict[bytes, bytes] = {}


def _checked_table(head: bytes) -> bytes:
    """A region table with its checksum. Cached, because the checksum is slow."""
    if head not in _CACHED:
        _CACHED[head] = _crc(bytearray(head.ljust(64 * KIB, b"\0")))
    return _CACHED[head]


def vhdx(
    *,
    size: int = 4 * MIB,
    block: int = MIB,
    sector: int = 512,
    flags: int = 0,
    log: bytes = bytes(16),
    version: int = 1,
    regions: Sequence[tuple[UUID, int, int, int]] = (),
    items: Sequence[tuple[UUID, bytes, int]] = (),
    without: Sequence[UUID] = (),
    bat: Sequence[int] = (),
    size_length: int = 8,
) -> bytes:
    """A disk of 4 blocks: headers, region tables, log at 1 MiB, metadata at 2 MiB, table at 3 MiB, blocks from 4 MiB on."""
    headers = []
    for sequence in (1, 2):
        header = bytearray(4096)
        struct.pack_into("<4sIQ16s16s16sHHIQ", header, 0, b"head", 0, sequence, bytes(16), bytes(16), log, 0, version, MIB, MIB)
        headers.append(_crc(header).ljust(64 * KIB, b"\0"))
    known = [region for region in [(BAT, 3 * MIB, MIB, 1), (METADATA, 2 * MIB, MIB, 1)] if region[0] not in without]
    known += regions
    table = struct.pack("<4sIII", b"regi", 0, len(known), 0)
    table += b"".join(struct.pack("<16sQII", id.bytes_le, at, length, required) for id, at, length, required in known)
    tables = _checked_table(table) * 2
    contents = [
        (FILE_PARAMETERS, struct.pack("<II", block, flags), 4),
        (VIRTUAL_SIZE, struct.pack("<Q", size), 6),
        (VIRTUAL_ID, bytes(range(16)), 6),
        (LOGICAL_SECTOR, struct.pack("<I", sector), 6),
        (PHYSICAL_SECTOR, struct.pack("<I", 4096), 6),
        *items,
    ]
    contents = [item for item in contents if item[0] not in without]
    metadata = bytearray(MIB)
    struct.pack_into("<8sHH", metadata, 0, b"metadata", 0, len(contents))
    place = 64 * KIB
    for index, (id, value, bits) in enumerate(contents):
        length = size_length if id == VIRTUAL_SIZE else len(value)
        struct.pack_into("<16sIII", metadata, 32 + 32 * index, id.bytes_le, place, length, bits)
        metadata[place : place + len(value)] = value
        place += 64
    blocks = struct.pack(f"<{len(bat)}Q", *bat).ljust(MIB, b"\0")
    data = b"vhdxfile".ljust(64 * KIB, b"\0") + b"".join(headers) + tables
    data = data.ljust(MIB, b"\0") + bytes(MIB) + bytes(metadata) + blocks
    return data + b"".join(pattern(512).ljust(MIB, b"\0") for value in bat if value & 7 == 6)
