"""VMDK in one file: monolithicSparse and streamOptimized. The rules are those of VMware's "Virtual Disk Format 1.1" (2007).

All other kinds of VMDK name other files and are refused: bare descriptors, flat and split extents, parents. A header of
capacity 0 is refused too, because it makes readers look for such a descriptor behind it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from phimage.formats import vmdk_descriptor
from phimage.formats.errors import Malformed, Truncated
from phimage.formats.finding import FETCH_AGAIN, FLATTEN, REWRITE, InspectionReport, refuses, warns
from phimage.formats.limits import DiskLimits
from phimage.formats.reader import ReaderAt, exactly, slices, unpack

SECTOR: Final = 512
LAYOUT: Final = "<4sIIQQQQIQQQBBBBBH"
AT_END: Final = (1 << 64) - 1
NEWLINES: Final = 1 << 0
REDUNDANT: Final = 1 << 1
ZERO_GRAINS: Final = 1 << 2
COMPRESSED: Final = 1 << 16
MARKERS: Final = 1 << 17
DEFLATE: Final = 1
FOOTER_MARKER, END_MARKER = 3, 0
MAY_DIFFER: Final = ("directory", "redundant_directory", "overhead", "unclean")
READ_BY_QEMU: Final = 20 * SECTOR
"""How much of the descriptor qemu searches for a parent, regardless of the length in the header."""

MAX_GRAIN: Final = 0x200000
MAX_ENTRIES: Final = 512


KINDS: Final = (
    refuses(
        "vmdk.descriptor",
        "a bare descriptor: text that names the files of the disk",
        "publish the disk itself: `qemu-img convert` or `ovftool` write one file",
    ),
    refuses("vmdk.extent", "the descriptor names another file or more than one", FLATTEN),
    refuses("vmdk.malformed", "the header, the descriptor or a table breaks the VMDK rules", REWRITE),
    refuses("vmdk.parent", "the disk continues in a parent file", FLATTEN),
    refuses(
        "vmdk.subformat",
        "neither monolithicSparse nor streamOptimized",
        "`qemu-img convert -O vmdk -o subformat=streamOptimized`, where you trust it",
    ),
    refuses("vmdk.truncated", "a table or data lies beyond the end of the file, or its end marker is missing", FETCH_AGAIN),
    warns("vmdk.unclean", "the file was not closed properly", "check the file system inside"),
)


class VmdkHeader(Struct, frozen=True):
    """SparseExtentHeader. Offsets, sizes and capacity count sectors of 512 bytes."""

    magic: bytes
    version: int
    flags: int
    capacity: int
    grain: int
    descriptor: int
    descriptor_size: int
    entries: int
    redundant_directory: int
    directory: int
    overhead: int
    unclean: int
    newline: int
    space: int
    return_: int
    newline_again: int
    compression: int


def inspect(reader: ReaderAt, report: InspectionReport, limits: DiskLimits) -> None:
    """Inspect a file with a VMDK signature. Raises Malformed, Truncated."""
    header = VmdkHeader(*unpack(LAYOUT, reader, 0, "header"))
    if header.magic != b"KDMV":
        report.note("vmdk.subformat", "a sparse disk of an ESX host")
        return
    _check(header, report)
    text = _descriptor(header, reader, limits)
    subformat = vmdk_descriptor.inspect(text, header.capacity, report)
    report.virtual_size = header.capacity * SECTOR
    report.details |= {"subformat": subformat, "version": header.version}
    if report.refused:
        return
    if header.directory == AT_END:
        header = _footer(header, reader)
    _tables(header, reader, limits)


def _check(header: VmdkHeader, report: InspectionReport) -> None:
    if header.version not in (1, 2, 3):
        raise Malformed(f"version {header.version}")
    if not header.capacity:
        raise Malformed("a capacity of 0 makes readers open the files that a descriptor names")
    if header.capacity >= 1 << 54:
        raise Malformed(f"a capacity of {header.capacity} sectors")
    if not 0 < header.grain <= MAX_GRAIN or header.grain & header.grain - 1:
        raise Malformed(f"grains of {header.grain} sectors")
    if not 0 < header.entries <= MAX_ENTRIES:
        raise Malformed(f"grain tables of {header.entries} entries")
    if header.compression > DEFLATE:
        raise Malformed(f"compression {header.compression}")
    if bool(header.flags & COMPRESSED) != (header.compression == DEFLATE):
        raise Malformed("the compression and its flag contradict each other")
    if header.flags & NEWLINES and (header.newline, header.space, header.return_, header.newline_again) != (10, 32, 13, 10):
        raise Malformed("line ends were converted: the file was copied as text")
    if header.unclean:
        report.note("vmdk.unclean", "the header marks the file as in use")


def _descriptor(header: VmdkHeader, reader: ReaderAt, limits: DiskLimits) -> bytes:
    if header.descriptor != 1:
        raise Malformed(f"the descriptor is at sector {header.descriptor}, not right behind the header")
    size = header.descriptor_size * SECTOR
    if not 0 < size <= limits.descriptor:
        raise Malformed(f"a descriptor of {size} bytes")
    exactly(reader, SECTOR, size, "descriptor")
    return reader.read_at(SECTOR, max(size, READ_BY_QEMU)).split(b"\0", 1)[0]


def _footer(header: VmdkHeader, reader: ReaderAt) -> VmdkHeader:
    """The header at the end of a stream: equal to the first one except for the place of the grain directory."""
    if reader.size % SECTOR or reader.size < 4 * SECTOR:
        raise Truncated(f"a stream of {reader.size} bytes does not end with a sector")
    start = reader.size - 3 * SECTOR
    for offset, type in ((start, FOOTER_MARKER), (start + 2 * SECTOR, END_MARKER)):
        value, size, marker, padding = unpack("<QII496s", reader, offset, "marker")
        if size or marker != type or padding.strip(b"\0") or (type == END_MARKER and value):
            raise Truncated("the footer and the end marker are missing")
    footer = VmdkHeader(*unpack(LAYOUT, reader, start + SECTOR, "footer"))
    if footer.directory == AT_END:
        raise Malformed("the footer names another footer")
    for field in header.__struct_fields__:
        if field not in MAY_DIFFER and getattr(header, field) != getattr(footer, field):
            raise Malformed(f"header and footer differ in {field}")
    return footer


def _tables(header: VmdkHeader, reader: ReaderAt, limits: DiskLimits) -> None:
    """Check that every grain table, and every grain whose size is known, lies in the file."""
    count = -(-header.capacity // (header.grain * header.entries))
    if 4 * count > limits.table:
        raise Malformed(f"a grain directory of {count} entries")
    if header.overhead != AT_END and header.overhead * SECTOR > reader.size:
        raise Truncated(f"{header.overhead} sectors of metadata in a file of {reader.size} bytes")
    needed = 1 if header.flags & COMPRESSED else header.capacity % header.grain or header.grain
    for table in _pointers(reader, header.directory * SECTOR, count, "grain directory"):
        entries = exactly(reader, table * SECTOR, 4 * header.entries, "grain table")
        last = max(struct.unpack(f"<{header.entries}I", entries))
        if last and (last + needed) * SECTOR > reader.size:
            raise Truncated(f"the grain at sector {last} exceeds the file, which ends at byte {reader.size}")
    if header.flags & REDUNDANT:
        last = max(_pointers(reader, header.redundant_directory * SECTOR, count, "redundant grain directory"), default=0)
        if last * SECTOR + 4 * header.entries > reader.size:
            raise Truncated(f"the redundant grain table at sector {last} exceeds the file, which ends at byte {reader.size}")


def _pointers(reader: ReaderAt, offset: int, count: int, what: str) -> Iterator[int]:
    for _start, part in slices(reader, offset, 4 * count, what, 1 << 16):
        yield from (value for value in struct.unpack(f"<{len(part) // 4}I", part) if value)
