"""The partition table of a disk: an MBR, a GPT, or both at once."""

from __future__ import annotations

from msgspec import Struct

from phimage.formats import gpt, mbr
from phimage.formats.partition import EXTENDED, Partition, Remark
from phimage.formats.reader import ReaderAt


class PartitionTable(Struct, frozen=True):
    """The partitions of a disk. `scheme` is gpt, mbr or ""; `hybrid` means that both tables exist and differ.

    `boot_code` is the code that a BIOS runs, possibly empty; `active` means that an MBR entry is marked for booting.
    """

    scheme: str
    hybrid: bool
    sector_size: int
    id: str
    partitions: tuple[Partition, ...]
    boot_code: bytes
    active: bool
    remarks: tuple[Remark, ...]


def read(reader: ReaderAt) -> PartitionTable:
    """Read the partition table of a disk; its scheme is "" when there is none. Raises BeyondHead, ReadLimitExceeded.

    A GPT applies if the MBR protects it or has no partitions of its own; otherwise the MBR applies (UEFI 2.10, 5.2.3).
    """
    record = mbr.read(reader)
    guid_table = gpt.read(reader, protected=record.protective)
    own = tuple(partition for partition in record.partitions if partition.type != "ee")
    remarks = [*record.remarks]
    if guid_table is not None and own:
        applies = "the GPT applies" if record.protective else "the MBR applies, because it does not protect the GPT"
        remarks.append(("gpt.hybrid", f"the MBR has {len(own)} partitions beside the GPT; {applies}"))
    scheme, sector, id, partitions = "", 512, "", own
    if guid_table is not None and (record.protective or not own):
        remarks += guid_table.remarks
        scheme, sector, id, partitions = "gpt", guid_table.sector_size, guid_table.id, guid_table.partitions
    elif own:
        scheme, id = "mbr", record.id
    remarks += _misplaced(partitions, reader.size)
    active = any(partition.active for partition in record.partitions)
    hybrid = guid_table is not None and bool(own)
    return PartitionTable(scheme, hybrid, sector, id, partitions, record.boot_code, active, tuple(remarks))


def _misplaced(partitions: tuple[Partition, ...], size: int) -> list[Remark]:
    remarks: list[Remark] = []
    reached = 0
    for partition in sorted(partitions, key=lambda partition: partition.start):
        end = partition.start + partition.size
        if end > size:
            remarks.append(("disk.truncated", f"partition {partition.number} ends at byte {end}, the disk at byte {size}"))
        if partition.type in EXTENDED:
            continue
        if partition.start < reached:
            remarks.append(("disk.overlap", f"partition {partition.number} begins inside another one"))
        reached = max(reached, end)
    return remarks
