"""VHD, fixed and dynamic. The rules are those of Microsoft's "Virtual Hard Disk Image Format Specification 1.0" (2006).

The size of the disk is the footer's Current Size, which its machine saw. Old programs used the geometry instead; an option in
`table.py` makes qemu use the Current Size.
"""

from __future__ import annotations

import struct
from typing import Final

from msgspec import Struct

from phimage.formats.errors import Malformed, Truncated
from phimage.formats.finding import FETCH_AGAIN, FLATTEN, REWRITE, InspectionReport, notes, refuses
from phimage.formats.limits import DiskLimits
from phimage.formats.reader import ReaderAt, exactly, slices

FOOTER: Final = 512
DYNAMIC_HEADER: Final = 1024
FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
NOWHERE: Final = (1 << 64) - 1
ABSENT: Final = 0xFFFFFFFF
MAX_DISK: Final = 2040 << 30


KINDS: Final = (
    refuses("vhd.differencing", "the disk continues in a parent file", FLATTEN),
    refuses("vhd.malformed", "the footer, header or table breaks the VHD rules", REWRITE),
    refuses(
        "vhd.truncated", "a table or data lies beyond the end of the file, or the footer at the end is missing", FETCH_AGAIN
    ),
    notes("vhd.saved-state", "the disk's machine was suspended, not shut down", "nothing if the file system is clean"),
)


class VhdFooter(Struct, frozen=True):
    """The inspected fields of the footer. Sizes are bytes."""

    cookie: bytes
    features: int
    version: int
    header_offset: int
    original_size: int
    current_size: int
    geometry: int
    type: int
    checksum: int
    identity: bytes
    saved: int


def inspect(reader: ReaderAt, report: InspectionReport, limits: DiskLimits) -> None:
    """Inspect a file that begins or ends with the VHD cookie. Raises Malformed, Truncated."""
    first = exactly(reader, 0, FOOTER, "footer")
    dynamic = first.startswith(b"conectix")
    footer = _footer(first if dynamic else exactly(reader, reader.size - FOOTER, FOOTER, "footer"))
    report.virtual_size = footer.current_size
    report.details["subformat"] = "dynamic" if dynamic else "fixed"
    if footer.type == DIFFERENCING:
        report.note("vhd.differencing", "its type is differencing")
        return
    if footer.type != (DYNAMIC if dynamic else FIXED):
        raise Malformed(f"type {footer.type} with a footer {'at the beginning' if dynamic else 'only at the end'}")
    if footer.current_size % 512 or footer.current_size > MAX_DISK:
        raise Malformed(f"a disk of {footer.current_size} bytes")
    if footer.saved:
        report.note("vhd.saved-state", "the footer has the saved state flag")
    if dynamic:
        _dynamic(footer, reader, report, limits)
    elif footer.header_offset != NOWHERE:
        raise Malformed(f"a fixed disk with a header at {footer.header_offset}")
    elif footer.current_size > reader.size - FOOTER:
        raise Truncated(f"a disk of {footer.current_size} bytes in a file of {reader.size}")


def _footer(data: bytes) -> VhdFooter:
    footer = VhdFooter(*struct.unpack(">8sIIQ16xQQIII16sB", data[:85]))
    if footer.version >> 16 != 1:
        raise Malformed(f"version {footer.version:#x}")
    if footer.checksum != _checksum(data, 64):
        raise Malformed("the checksum of the footer is wrong")
    return footer


def _identity(footer: VhdFooter) -> tuple[int, int, int, bytes]:
    """The fields that both copies must share; programs may write a time or a mark into only one of them."""
    return footer.type, footer.current_size, footer.header_offset, footer.identity


def _checksum(data: bytes, place: int) -> int:
    """One's complement of the sum of all bytes without the checksum itself."""
    return ~(sum(data) - sum(data[place : place + 4])) & 0xFFFFFFFF


def _dynamic(footer: VhdFooter, reader: ReaderAt, report: InspectionReport, limits: DiskLimits) -> None:
    header = exactly(reader, footer.header_offset, DYNAMIC_HEADER, "dynamic header")
    cookie, table, version, entries, block, checksum, parent = struct.unpack(">8s8xQIIII16s", header[:56])
    if cookie != b"cxsparse" or version >> 16 != 1 or checksum != _checksum(header, 36):
        raise Malformed("the dynamic header is damaged")
    if parent.strip(b"\0") or header[64:576].strip(b"\0") or header[576:768].strip(b"\0"):
        report.note("vhd.differencing", "it names a parent")
        return
    if block < 512 or block & block - 1:
        raise Malformed(f"blocks of {block} bytes")
    if entries * block < footer.current_size:
        raise Malformed(f"{entries} blocks of {block} bytes are fewer than the {footer.current_size} bytes of the disk")
    if 4 * entries > limits.table:
        raise Malformed(f"a block table of {entries} entries")
    report.details["block"] = block
    _blocks(table, entries, block, reader)
    last = exactly(reader, reader.size - FOOTER, FOOTER, "footer")
    if not last.startswith(b"conectix") or _identity(_footer(last)) != _identity(footer):
        raise Truncated("the footer at the end is missing, or differs from the one at the beginning")


def _blocks(table: int, entries: int, block: int, reader: ReaderAt) -> None:
    """Check that every block, a bitmap of its sectors and their data, lies in the file."""
    bitmap = -(-(block // 512) // 8 // 512) * 512 or 512
    for _start, part in slices(reader, table, 4 * entries, "block table", 1 << 16):
        last = max((value for value in struct.unpack(f">{len(part) // 4}I", part) if value != ABSENT), default=0)
        if last * 512 + (bitmap + block if last else 0) > reader.size:
            raise Truncated(f"the block at sector {last} exceeds the file, which ends at byte {reader.size}")
