"""What is knowable of a disk from its bytes: partitions, file systems, how it boots, which system is on it.

It reads through a `Reader`, so the disk may be a file or a stored image in chunks: a few hundred reads of 64 KiB at most.
Nothing here refuses; `examine` does.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from phimage.formats import el_torito, filesystem, partitions
from phimage.formats.ext4 import Ext4
from phimage.formats.failure import FormatError
from phimage.formats.filesystem import Filesystem
from phimage.formats.limits import MIB
from phimage.formats.partition import BIOS_BOOT, ESP, EXTENDED, Partition
from phimage.formats.partitions import Table
from phimage.formats.reader import Reader
from phimage.formats.system import System, kernels, system
from phimage.formats.view import Metered, Paged, Part

READING: Final = 32 * MIB
GRUB: Final = b"GRUB"


class Slot(Struct, frozen=True):
    """A partition with what fills it. `start` and `size` are bytes; `type` is a GUID or two hexadecimal digits."""

    number: int
    start: int
    size: int
    type: str
    type_name: str
    name: str
    uuid: str
    active: bool
    filesystem: Filesystem | None


class Disk(Struct, frozen=True):
    """A disk. `table` is gpt, mbr or "", `id` that of the table; `boot` holds "bios" and "uefi", where it is made for them.

    `filesystem` fills the whole disk, which on hybrid discs is so beside the partitions. `kernels` are versions.
    """

    size: int
    sector_size: int
    table: str
    hybrid: bool
    id: str
    partitions: tuple[Slot, ...]
    filesystem: Filesystem | None
    boot: tuple[str, ...]
    system: System | None
    kernels: tuple[str, ...]


def describe(disk: Reader) -> Disk:
    """Describe a disk. What cannot be read is left out; bytes that make no sense are no error."""
    reader = Metered(Paged(disk), READING)
    try:
        table = partitions.read(reader)
    except FormatError:
        table = partitions.Table("", False, 512, "", (), b"", False, ())
    slots = tuple(_slot(partition, reader) for partition in table.partitions)
    whole = _filesystem(reader)
    if slots and whole is not None and whole.kind != "iso9660":
        whole = None  # left over in the gap before the first partition
    found, versions = _system(slots, whole, reader)
    return Disk(
        disk.size,
        table.sector_size,
        table.scheme,
        table.hybrid,
        table.id,
        slots,
        whole,
        _boot(table, slots, reader),
        found,
        versions,
    )


def _slot(partition: Partition, reader: Reader) -> Slot:
    inside = None if partition.type in EXTENDED else _filesystem(Part(reader, partition.start, partition.size))
    return Slot(
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


def _filesystem(reader: Reader) -> Filesystem | None:
    try:
        return filesystem.recognise(reader)
    except FormatError:
        return None


def _boot(table: Table, slots: tuple[Slot, ...], reader: Reader) -> tuple[str, ...]:
    """BIOS: code in the first sector and something to go on with. UEFI: a FAT partition of its type. Discs: their catalogue."""
    try:
        disc = el_torito.platforms(reader)
    except FormatError:
        disc = frozenset()
    types = {slot.type for slot in slots}
    legacy = table.active or any(slot.active for slot in slots) or BIOS_BOOT in types or GRUB in table.boot_code
    efi = any(slot.type in (ESP, "ef") and slot.filesystem and slot.filesystem.kind == "vfat" for slot in slots)
    modes = []
    if (table.boot_code and legacy) or el_torito.BIOS in disc:
        modes.append("bios")
    if efi or el_torito.EFI in disc:
        modes.append("uefi")
    return tuple(modes)


def _system(slots: tuple[Slot, ...], whole: Filesystem | None, reader: Reader) -> tuple[System | None, tuple[str, ...]]:
    """The system of the first file system that is a root; the kernels of all."""
    parts = [
        Part(reader, slot.start, slot.size) for slot in slots if slot.filesystem and slot.filesystem.kind.startswith("ext")
    ]
    if whole is not None and whole.kind.startswith("ext"):
        parts.append(Part(reader, 0, reader.size))
    found: System | None = None
    versions: set[str] = set()
    for part in parts:
        try:
            root = Ext4(part)
            found = found or system(root)
            versions.update(kernels(root))
        except FormatError:
            continue
    return found, tuple(sorted(versions))
