"""ISO 9660 discs (ECMA-119), including hybrid ones with an MBR or a GPT in the system area.

Installers boot from USB sticks as hybrid discs. Both structures are inspected, and neither is a reason to refuse: the bytes are
published unchanged.
"""

from __future__ import annotations

from typing import Final

from phimage.formats import partitions
from phimage.formats.errors import Malformed
from phimage.formats.finding import FETCH_AGAIN, InspectionReport, notes, refuses
from phimage.formats.limits import DiskLimits
from phimage.formats.reader import ReaderAt, exactly, unpack

VOLUME: Final = 32768
"""The offset of the volume descriptors, behind 16 sectors of system area (ECMA-119, 6.2.1)."""

DESCRIPTOR: Final = 2048
MAX_DESCRIPTORS: Final = 64
BOOT, PRIMARY, TERMINATOR = 0, 1, 255
EL_TORITO: Final = b"EL TORITO SPECIFICATION"


KINDS: Final = (
    refuses("iso.malformed", "the volume descriptors break ISO 9660", FETCH_AGAIN),
    refuses(
        "iso.truncated",
        "the file ends before the volume does",
        f"{FETCH_AGAIN}; override for a disc image that has always been like this",
        override=True,
    ),
    notes(
        "iso.not-hybrid",
        "an ISO without a partition table",
        "nothing if it is meant as a disc; written to a disk it does not boot",
    ),
)


def inspect(reader: ReaderAt, report: InspectionReport, limits: DiskLimits) -> None:
    """Inspect a file with an ISO 9660 volume descriptor. Raises Malformed, Truncated."""
    report.virtual_size = -(-reader.size // 512) * 512
    volume = 0
    for index in range(MAX_DESCRIPTORS):
        offset = VOLUME + index * DESCRIPTOR
        data = exactly(reader, offset, DESCRIPTOR, "volume descriptor")
        if data[1:6] != b"CD001":
            break
        if data[0] == PRIMARY:
            volume = volume or _volume_size(reader, offset)
        elif data[0] == BOOT and data[7:30] == EL_TORITO:
            report.details["el_torito"] = True
        elif data[0] == TERMINATOR:
            break
    if not volume:
        raise Malformed("there is no primary volume descriptor")
    if volume > reader.size:
        report.note("iso.truncated", f"the volume has {volume} bytes, the file {reader.size}")
    table = partitions.read(reader)
    report.details["hybrid"] = bool(table.partitions)
    if not table.partitions:
        report.note("iso.not-hybrid", "it has no partition table")


def _volume_size(reader: ReaderAt, offset: int) -> int:
    """The size of the volume in bytes. Each number is stored in both byte orders, which must agree (8.4.8, 8.4.12)."""
    blocks, blocks_again = unpack("<I", reader, offset + 80, "volume size") + unpack(">I", reader, offset + 84, "volume size")
    size, size_again = unpack("<H", reader, offset + 128, "block size") + unpack(">H", reader, offset + 130, "block size")
    if blocks != blocks_again or size != size_again or size not in (512, 1024, 2048):
        raise Malformed(f"a volume of {blocks} or {blocks_again} blocks of {size} or {size_again} bytes")
    return int(blocks * size)
