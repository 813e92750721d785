"""The facts about a disk that everyone who may see its image can read. The same disk always has the same facts."""

from __future__ import annotations

from phimage.formats.disk import DescribedPartition, DiskDescription
from phimage.formats.filesystem import Filesystem
from phimage.formats.system import OperatingSystem
from phimage.model.image_bytes import DiskFacts, FilesystemFacts, PartitionFacts, SystemFacts, TableFacts


def facts_of(disk: DiskDescription) -> DiskFacts:
    """Partition table, boot modes, file systems and operating system."""
    return DiskFacts(
        boot=disk.boot,
        sector_size=disk.sector_size,
        table=TableFacts(disk.table, disk.id, disk.hybrid) if disk.table else None,
        partitions=tuple(_partition(slot) for slot in disk.partitions) if disk.table else None,
        filesystem=_filesystem(disk.filesystem),
        system=_system(disk.system),
        kernels=disk.kernels,
    )


def _partition(slot: DescribedPartition) -> PartitionFacts:
    return PartitionFacts(
        number=slot.number,
        start=slot.start,
        size=slot.size,
        type=slot.type,
        type_name=slot.type_name,
        name=slot.name,
        uuid=slot.uuid,
        active=slot.active,
        filesystem=_filesystem(slot.filesystem),
    )


def _filesystem(filesystem: Filesystem | None) -> FilesystemFacts | None:
    return None if filesystem is None else FilesystemFacts(filesystem.kind, filesystem.label, filesystem.uuid)


def _system(system: OperatingSystem | None) -> SystemFacts | None:
    if system is None:
        return None
    return SystemFacts(
        id=system.id,
        version_id=system.version_id,
        name=system.name,
        pretty_name=system.pretty_name,
        codename=system.codename,
        architecture=system.architecture,
    )
