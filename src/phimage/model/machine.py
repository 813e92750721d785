"""Machine types and where they are offered."""

from __future__ import annotations

from msgspec import Struct

from phimage.model.ids import ClusterId, MachineTypeId, ZoneId


class Cpu(Struct, frozen=True):
    """Processors. `frequency` is in GHz as decimal text; `cores` are the logical ones of all sockets together."""

    model: str
    frequency: str
    count: int
    cores: int


class Disk(Struct, frozen=True):
    """A group of equal disks. `size` is GB of one disk; `io_cap` 0 means no limit."""

    role: str
    type: str
    size: int
    count: int
    raid: str
    io_cap: int


class Gpu(Struct, frozen=True):
    """Accelerators of a machine."""

    name: str
    count: int
    memory: str
    performance: str


class MachineType(Struct, frozen=True):
    """A model of machine. `memory` is in GB; `disk_class` is LocalDisk or CloudDisk."""

    id: MachineTypeId
    name_zh: str
    name_en: str
    disk_class: str
    cpu: Cpu
    memory: int
    disks: tuple[Disk, ...]
    gpu: Gpu | None
    raid_supported: bool
    scenes: tuple[str, ...]


class Offer(Struct, frozen=True):
    """A machine type can be had in a zone, on a cluster. Stock 0 is sold out."""

    machine_type: MachineTypeId
    zone: ZoneId
    cluster: ClusterId
    stock: int
