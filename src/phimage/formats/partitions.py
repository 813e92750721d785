"""The partition table of a disk: an MBR, a GPT, or both at once."""

from __future__ import annotations

from msgspec import Struct

from phimage.formats import gpt, mbr
from phimage.formats.partition import EXTENDED, Partition, Remark
from phimage.formats.reader import Reader


class Table(Struct, frozen=True):
    """What partitions a disk has. `scheme` is gpt, mbr or ""; `hybrid` means that both tables are there and differ.

    `boot_code` is what a BIOS runs, empty where there is none; `active` says that an MBR entry is marked for it.
    """

    scheme: str
    hybrid: bool
    sector_size: int
    id: str
    partitions: tuple[Partition, ...]
    boot_code: bytes
    active: bool
    remarks: tuple[Remark, ...]


def read(reader: Reader) -> Table:
    """The partition table of a disk, one of scheme "" where there is none. Raises OutOfSight, TooLong.

    A GPT counts where the MBR protects it or has nothing of its own to say; otherwise the MBR does (UEFI 2.10, 5.2.3).
    """
    record = mbr.read(reader)
    found = gpt.read(reader, protected=record.protective)
    own = tuple(partition for partition in record.partitions if partition.type != "ee")
    remarks = [*record.remarks]
    if found is not None and own:
        counts = "the GPT counts" if record.protective else "the MBR counts, which does not protect the GPT"
        remarks.append(("gpt.hybrid", f"the MBR has {len(own)} partitions beside the GPT; {counts}"))
    scheme, sector, id, partitions = "", 512, "", own
    if found is not None and (record.protective or not own):
        remarks += found.remarks
        scheme, sector, id, partitions = "gpt", found.sector_size, found.id, found.partitions
    elif own:
        scheme, id = "mbr", record.id
    remarks += _misplaced(partitions, reader.size)
    active = any(partition.active for partition in record.partitions)
    return Table(scheme, found is not None and bool(own), sector, id, partitions, record.boot_code, active, tuple(remarks))


def _misplaced(partitions: tuple[Partition, ...], size: int) -> list[Remark]:
    remarks: list[Remark] = []
    reached = 0
    for partition in sorted(partitions, key=lambda partition: partition.start):
        end = partition.start + partition.size
        if end > size:
            remarks.append(("disk.truncated", f"partition {partition.number} ends at {end} and the disk at {size}"))
        if partition.type in EXTENDED:
            continue
        if partition.start < reached:
            remarks.append(("disk.overlap", f"partition {partition.number} begins inside of another one"))
        reached = max(reached, end)
    return remarks
