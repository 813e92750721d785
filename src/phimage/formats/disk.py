"""A disk's description from its bytes: partitions, file systems, boot modes, operating system; and the inspector of raw images.

It reads through a `ReaderAt`, so the disk may be a file or a stored image in chunks: a few hundred reads of 64 KiB at most.
A description refuses nothing; `examine` does.
"""

from __future__ import annotations

import struct
from typing import Final

from msgspec import Struct

from phimage.formats import filesystem, partitions
from phimage.formats.errors import FormatError
from phimage.formats.ext4 import Ext4
from phimage.formats.finding import InspectionReport
from phimage.formats.limits import MIB, DiskLimits
from phimage.formats.partition import BIOS_BOOT, ESP, EXTENDED, Partition
from phimage.formats.partitions import PartitionTable
from phimage.formats.reader import MeteredReader, PagedReader, PartReader, ReaderAt
from phimage.formats.system import kernels, system
from phimage.model.image_bytes import FilesystemFacts, PartitionFacts, SystemFacts

READING: Final = 32 * MIB
GRUB: Final = b"GRUB"

DISC_SECTOR: Final = 2048
BOOTABLE: Final = 0x88
MAX_SECTIONS: Final = 32
BIOS_PLATFORM, EFI_PLATFORM = 0x00, 0xEF


class DiskDescription(Struct, frozen=True):
    """A disk. `table` is gpt, mbr or "", `id` the id of the table; `boot` holds the supported modes, "bios" and "uefi".

    `filesystem` fills the whole disk; hybrid discs have it beside their partitions. `kernels` are versions.
    """

    size: int
    sector_size: int
    table: str
    hybrid: bool
    id: str
    partitions: tuple[PartitionFacts, ...]
    filesystem: FilesystemFacts | None
    boot: tuple[str, ...]
    system: SystemFacts | None
    kernels: tuple[str, ...]


def describe(disk: ReaderAt) -> DiskDescription:
    """Describe a disk. Unreadable and malformed parts are left out without an error."""
    reader = MeteredReader(PagedReader(disk), READING)
    try:
        table = partitions.read(reader)
    except FormatError:
        table = partitions.PartitionTable("", False, 512, "", (), b"", False, ())
    slots = tuple(_slot(partition, reader) for partition in table.partitions)
    whole = _filesystem(reader)
    if slots and whole is not None and whole.kind != "iso9660":
        whole = None  # a leftover in the gap before the first partition
    operating_system, versions = _system(slots, whole, reader)
    return DiskDescription(
        disk.size,
        table.sector_size,
        table.scheme,
        table.hybrid,
        table.id,
        slots,
        whole,
        _boot(table, slots, reader),
        operating_system,
        versions,
    )


def inspect_raw(reader: ReaderAt, report: InspectionReport, limits: DiskLimits) -> None:
    """Inspect a file without a signature: a raw disk. Raises BeyondHead, ReadLimitExceeded."""
    size = reader.size
    report.virtual_size = -(-size // 512) * 512
    if size % 512:
        report.note("size.odd", f"{size} bytes")
    if size < limits.smallest:
        report.note("body.tiny", f"{size} bytes")
    table = partitions.read(reader)
    report.details["partitions"] = len(table.partitions)
    for id, text in table.remarks:
        report.note(id, text)
    if table.partitions:
        return
    whole = filesystem.recognise(reader)
    if whole is None:
        report.note("disk.unknown", "no partition table and no known file system")
    else:
        report.note("disk.bare", f"the whole disk is {whole.kind}")


def boot_platforms(reader: ReaderAt) -> frozenset[int]:
    """The platforms of the bootable entries in a disc's boot catalogue; none when it has no catalogue.

    Follows the "El Torito" Bootable CD-ROM Format Specification 1.0, and UEFI 2.10, 13.3.2.1.
    """
    record = reader.read_at(17 * DISC_SECTOR, DISC_SECTOR)
    if len(record) < DISC_SECTOR or record[:7] != b"\0CD001\1" or not record.startswith(b"EL TORITO SPECIFICATION", 7):
        return frozenset()
    catalogue = reader.read_at(struct.unpack_from("<I", record, 71)[0] * DISC_SECTOR, DISC_SECTOR)
    if len(catalogue) < DISC_SECTOR or catalogue[0] != 1 or catalogue[30:32] != b"\x55\xaa":
        return frozenset()
    platforms = {catalogue[1]} if catalogue[32] == BOOTABLE else set[int]()
    offset = 64
    for _ in range(MAX_SECTIONS):
        if offset + 32 > DISC_SECTOR or catalogue[offset] not in (0x90, 0x91):
            break
        platform = catalogue[offset + 1]
        (count,) = struct.unpack_from("<H", catalogue, offset + 2)
        for entry in range(offset + 32, min(offset + 32 + 32 * count, DISC_SECTOR), 32):
            if catalogue[entry] == BOOTABLE:
                platforms.add(platform)
        if catalogue[offset] == 0x91:
            break
        offset += 32 + 32 * count
    return frozenset(platforms)


def _slot(partition: Partition, reader: ReaderAt) -> PartitionFacts:
    inside = None if partition.type in EXTENDED else _filesystem(PartReader(reader, partition.start, partition.size))
    return PartitionFacts(
        partition.number,
        partition.start,
        partition.size,
        partition.type,
        partition.type_name,
        partition.name,
        partition.uuid,
        partition.active,
        inside,
    )


def _filesystem(reader: ReaderAt) -> FilesystemFacts | None:
    try:
        return filesystem.recognise(reader)
    except FormatError:
        return None


def _boot(table: PartitionTable, slots: tuple[PartitionFacts, ...], reader: ReaderAt) -> tuple[str, ...]:
    """BIOS: boot code and an active or BIOS boot partition, or GRUB. UEFI: an ESP with FAT. Discs: their boot catalogue."""
    try:
        disc = boot_platforms(reader)
    except FormatError:
        disc = frozenset()
    types = {slot.type for slot in slots}
    legacy = table.active or any(slot.active for slot in slots) or BIOS_BOOT in types or GRUB in table.boot_code
    efi = any(slot.type in (ESP, "ef") and slot.filesystem and slot.filesystem.kind == "vfat" for slot in slots)
    modes = []
    if (table.boot_code and legacy) or BIOS_PLATFORM in disc:
        modes.append("bios")
    if efi or EFI_PLATFORM in disc:
        modes.append("uefi")
    return tuple(modes)


def _system(
    slots: tuple[PartitionFacts, ...], whole: FilesystemFacts | None, reader: ReaderAt
) -> tuple[SystemFacts | None, tuple[str, ...]]:
    """The operating system of the first root file system, and the kernels of all file systems."""
    parts = [
        PartReader(reader, slot.start, slot.size)
        for slot in slots
        if slot.filesystem and slot.filesystem.kind.startswith("ext")
    ]
    if whole is not None and whole.kind.startswith("ext"):
        parts.append(PartReader(reader, 0, reader.size))
    first: SystemFacts | None = None
    versions: set[str] = set()
    for part in parts:
        try:
            root = Ext4(part)
            first = first or system(root)
            versions.update(kernels(root))
        except FormatError:
            continue
    return first, tuple(sorted(versions))
