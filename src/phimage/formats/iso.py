"""ISO 9660 discs (ECMA-119), also those that are a disk at the same time: an MBR or a GPT in the system area.

Such a hybrid is how installers boot from a stick. Both readings are looked at, by `partitions` and here, and neither is
a reason to refuse: the bytes are published as they are.
"""

from __future__ import annotations

from typing import Final

from phimage.formats import partitions
from phimage.formats.failure import Malformed
from phimage.formats.finding import Report
from phimage.formats.limits import Limits
from phimage.formats.reader import Reader, exactly, unpack
from phimage.formats.signature import ISO_VOLUME

DESCRIPTOR: Final = 2048
MAX_DESCRIPTORS: Final = 64
BOOT, PRIMARY, TERMINATOR = 0, 1, 255
EL_TORITO: Final = b"EL TORITO SPECIFICATION"


def inspect(reader: Reader, report: Report, limits: Limits) -> None:
    """Report what a file is that has an ISO 9660 volume descriptor. Raises Malformed, Truncated."""
    report.virtual_size = -(-reader.size // 512) * 512
    volume = 0
    for index in range(MAX_DESCRIPTORS):
        offset = ISO_VOLUME + index * DESCRIPTOR
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
        report.note("iso.truncated", f"the volume has {volume} bytes and the file {reader.size}")
    table = partitions.read(reader)
    report.details["hybrid"] = bool(table.partitions)
    if not table.partitions:
        report.note("iso.not-hybrid", "it has no partition table")


def _volume_size(reader: Reader, offset: int) -> int:
    """Bytes of the volume; both byte orders of each number must agree (8.4.8, 8.4.12)."""
    blocks, blocks_again = unpack("<I", reader, offset + 80, "volume size") + unpack(">I", reader, offset + 84, "volume size")
    size, size_again = unpack("<H", reader, offset + 128, "block size") + unpack(">H", reader, offset + 130, "block size")
    if blocks != blocks_again or size != size_again or size not in (512, 1024, 2048):
        raise Malformed(f"a volume of {blocks} or {blocks_again} blocks of {size} or {size_again} bytes")
    return int(blocks * size)
