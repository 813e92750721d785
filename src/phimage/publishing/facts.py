"""What is told of a disk to everyone who may see its image. The same disk always gives the same facts."""

from __future__ import annotations

from typing import Any

from phimage.formats.disk import DescribedPartition, DiskDescription
from phimage.formats.filesystem import Filesystem


def facts_of(disk: DiskDescription) -> dict[str, Any]:
    """Partition table, boot modes, file systems and operating system, as JSON. What is not known is left out."""
    found: dict[str, Any] = {"boot": list(disk.boot), "sector_size": disk.sector_size}
    if disk.table:
        found["table"] = {"type": disk.table, "id": disk.id, "hybrid": disk.hybrid}
        found["partitions"] = [_partition(slot) for slot in disk.partitions]
    if disk.filesystem is not None:
        found["filesystem"] = _filesystem(disk.filesystem)
    if disk.system is not None:
        found["system"] = {name: getattr(disk.system, name) for name in disk.system.__struct_fields__}
    if disk.kernels:
        found["kernels"] = list(disk.kernels)
    return found


def _partition(slot: DescribedPartition) -> dict[str, Any]:
    found: dict[str, Any] = {
        "number": slot.number,
        "start": slot.start,
        "size": slot.size,
        "type": slot.type,
        "type_name": slot.type_name,
        "name": slot.name,
        "uuid": slot.uuid,
        "active": slot.active,
    }
    if slot.filesystem is not None:
        found["filesystem"] = _filesystem(slot.filesystem)
    return found


def _filesystem(filesystem: Filesystem) -> dict[str, Any]:
    return {name: getattr(filesystem, name) for name in filesystem.__struct_fields__}
