"""VHDX, fixed and dynamic. The rules are those of Microsoft's open specification [MS-VHDX]; section numbers are its own."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from msgspec import Struct

from phimage.formats.errors import Malformed, Truncated
from phimage.formats.finding import FETCH_AGAIN, FLATTEN, REWRITE, InspectionReport, refuses
from phimage.formats.limits import KIB, MIB, DiskLimits
from phimage.formats.reader import ReaderAt, exactly, slices, unpack

HEADERS: Final = (64 * KIB, 128 * KIB)
REGION_TABLES: Final = (192 * KIB, 256 * KIB)
REGION_TABLE: Final = 64 * KIB
MAX_ENTRIES: Final = 2047

BAT = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")

FILE_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
VIRTUAL_SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
VIRTUAL_ID = UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
LOGICAL_SECTOR = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
PHYSICAL_SECTOR = UUID("cda348c7-445d-4471-9cc9-e9885251c556")
PARENT_LOCATOR = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
ITEMS: Final = {FILE_PARAMETERS: 8, VIRTUAL_SIZE: 8, VIRTUAL_ID: 16, LOGICAL_SECTOR: 4, PHYSICAL_SECTOR: 4}

HAS_PARENT: Final = 2
REQUIRED_REGION: Final = 1
REQUIRED_ITEM: Final = 4
FULLY_PRESENT, PARTIALLY_PRESENT = 6, 7


KINDS: Final = (
    refuses(
        "vhdx.log",
        "the log has unapplied changes, so the blocks are not the disk",
        "attach it once in Windows, which replays the log",
    ),
    refuses("vhdx.malformed", "a header or table breaks the VHDX rules", REWRITE),
    refuses("vhdx.parent", "the disk continues in a parent file", FLATTEN),
    refuses("vhdx.truncated", "a table or data lies beyond the end of the file", FETCH_AGAIN),
    refuses("vhdx.unknown", "the file requires a region, an item or a sector size that phimage does not read", REWRITE),
)


class VhdxRange(Struct, frozen=True):
    """The range of a region or of a metadata item in the file."""

    offset: int
    length: int


def inspect(reader: ReaderAt, report: InspectionReport, limits: DiskLimits) -> None:
    """Inspect a file with the VHDX signature. Raises Malformed, Truncated."""
    _header(reader, report)
    regions = _regions(reader, report)
    if not {BAT, METADATA} <= regions.keys():
        raise Malformed("no block table or no metadata region")
    items = _items(regions[METADATA], reader, report)
    if PARENT_LOCATOR in items:
        report.note("vhdx.parent", "it has a parent locator")
    for item, length in ITEMS.items():
        if item not in items or items[item].length < length:
            raise Malformed(f"the metadata item {item} is missing")
    block, flags = unpack("<II", reader, items[FILE_PARAMETERS].offset, "file parameters")
    (size,) = unpack("<Q", reader, items[VIRTUAL_SIZE].offset, "virtual size")
    (sector,) = unpack("<I", reader, items[LOGICAL_SECTOR].offset, "sector size")
    report.virtual_size = size
    report.details |= {"block": block, "sector": sector, "subformat": "fixed" if flags & 1 else "dynamic"}
    if flags & HAS_PARENT:
        report.note("vhdx.parent", "the file parameters say that it has a parent")
    if not MIB <= block <= 256 * MIB or block & block - 1 or sector not in (512, 4096) or size % sector or size >= 1 << 62:
        raise Malformed(f"blocks of {block} bytes, sectors of {sector}, a disk of {size}")
    if sector != 512:
        report.note("vhdx.unknown", f"logical sectors of {sector} bytes")
    if not report.refused:
        _blocks(regions[BAT], size, block, sector, reader, limits)


def _header(reader: ReaderAt, report: InspectionReport) -> None:
    """Check the current header: the valid one with the higher sequence number (2.2.2)."""
    best: tuple[int, bytes] | None = None
    for offset in HEADERS:
        data = exactly(reader, offset, 4096, "header")
        (sequence,) = struct.unpack_from("<Q", data, 8)
        if data.startswith(b"head") and _checked(data) and (best is None or sequence > best[0]):
            best = sequence, data
    if best is None:
        raise Malformed("neither header is valid")
    log, log_version, version, log_length, log_offset = struct.unpack_from("<16sHHIQ", best[1], 48)
    if version != 1 or log_version:
        raise Malformed(f"version {version}, log version {log_version}")
    if log_offset % MIB or log_length % MIB:
        raise Malformed(f"a log of {log_length} bytes at {log_offset}")
    if log.strip(b"\0"):
        report.note("vhdx.log", "the log is not empty")


def _regions(reader: ReaderAt, report: InspectionReport) -> Mapping[UUID, VhdxRange]:
    """Read the first region table, which qemu reads; the second is a copy (2.2.3)."""
    table = exactly(reader, REGION_TABLES[0], REGION_TABLE, "region table")
    signature, _checksum, count = struct.unpack_from("<4sII", table)
    if signature != b"regi" or not _checked(table):
        raise Malformed("the region table is damaged")
    if exactly(reader, REGION_TABLES[1], REGION_TABLE, "region table") != table:
        raise Malformed("the two region tables differ")
    if count > MAX_ENTRIES:
        raise Malformed(f"{count} regions")
    ranges: dict[UUID, VhdxRange] = {}
    for index in range(count):
        identity, offset, length, required = struct.unpack_from("<16sQII", table, 16 + 32 * index)
        region = UUID(bytes_le=identity)
        if region in ranges:
            raise Malformed(f"there are two regions {region}")
        if region not in (BAT, METADATA):
            if required & REQUIRED_REGION:
                report.note("vhdx.unknown", f"region {region}")
            continue
        if offset < MIB or offset % MIB or length % MIB or not length:
            raise Malformed(f"the region {region} has {length} bytes at {offset}")
        if offset + length > reader.size:
            raise Truncated(f"the region {region} exceeds the file, which ends at byte {reader.size}")
        ranges[region] = VhdxRange(offset, length)
    return ranges


def _items(region: VhdxRange, reader: ReaderAt, report: InspectionReport) -> Mapping[UUID, VhdxRange]:
    """Read the metadata table: the ranges of its items (2.6)."""
    table = exactly(reader, region.offset, min(region.length, 64 * KIB), "metadata table")
    signature, _reserved, count = struct.unpack_from("<8sHH", table)
    if signature != b"metadata" or count > MAX_ENTRIES:
        raise Malformed("the metadata table is damaged")
    ranges: dict[UUID, VhdxRange] = {}
    for index in range(count):
        identity, offset, length, flags = struct.unpack_from("<16sIII", table, 32 + 32 * index)
        item = UUID(bytes_le=identity)
        if item in ranges:
            raise Malformed(f"there are two metadata items {item}")
        if item not in ITEMS and item != PARENT_LOCATOR:
            if flags & REQUIRED_ITEM:
                report.note("vhdx.unknown", f"metadata item {item}")
            continue
        if offset < 64 * KIB or offset + length > region.length:
            raise Malformed(f"the metadata item {item} exceeds its region")
        ranges[item] = VhdxRange(region.offset + offset, length)
    return ranges


def _blocks(region: VhdxRange, size: int, block: int, sector: int, reader: ReaderAt, limits: DiskLimits) -> None:
    """Check that every present block lies in the file. Entries of sector bitmaps stand between those of blocks (2.5)."""
    ratio = (sector << 23) // block
    blocks = -(-size // block)
    entries = blocks + max(0, blocks - 1) // ratio
    if 8 * entries > limits.table:
        raise Malformed(f"a block table of {entries} entries")
    if 8 * entries > region.length:
        raise Malformed(f"a block table of {entries} entries in a region of {region.length} bytes")
    for start, part in slices(reader, region.offset, 8 * entries, "block table", 1 << 16):
        if part.count(0) == len(part):
            continue
        for place, value in enumerate(struct.unpack(f"<{len(part) // 8}Q", part), start // 8):
            if place % (ratio + 1) != ratio:
                _block(value, block, reader.size)


def _block(value: int, block: int, end: int) -> None:
    state, offset = value & 7, value >> 20 << 20
    if state == PARTIALLY_PRESENT:
        raise Malformed("a block is partially present, which only a disk with a parent has")
    if state in (4, 5):
        raise Malformed(f"a block is in the state {state}")
    if state == FULLY_PRESENT and (offset < MIB or offset + block > end):
        raise Truncated(f"the block at {offset} exceeds the file, which ends at byte {end}")


def _checked(data: bytes) -> bool:
    """Whether the CRC-32C is right; it is computed with its own field as zeros (1.1.1)."""
    (stated,) = struct.unpack_from("<I", data, 4)
    return bool(crc32c(data[:4] + bytes(4) + data[8:]) == stated)


POLYNOMIAL: Final = 0x82F63B78


def _row(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
    return value


_TABLE = tuple(_row(value) for value in range(256))


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli, RFC 3720 appendix B.4) of some bytes. Takes about 0.1 s for a MiB, enough for headers."""
    table = _TABLE
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
