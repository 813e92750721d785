"""The catalogue file: what it may say, as types.

The JSON Schema (`phimage catalog schema`), the reader and the exporter all follow these types, so a field
is described once. Text is text: `version: 8.10` is the version "8.10", never the number 8.1.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

FORMAT = 1
DATE = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", description="letters, digits, . _ -")]
Text = Annotated[str, Meta(max_length=255)]
Count = Annotated[int, Meta(ge=0, le=2_147_483_647)]

Role = Literal["system", "data"]
DiskClass = Literal["LocalDisk", "CloudDisk"]


class NameDoc(Struct, frozen=True, forbid_unknown_fields=True):
    """A name in two languages."""

    zh: Annotated[str, Meta(max_length=255, description="the name in Chinese")]
    en: Annotated[str, Meta(max_length=255, description="the name in English")]


Name = Annotated[NameDoc, Meta(description="name in two languages: {zh: 上海, en: Shanghai}")]


class ClusterDoc(Struct, frozen=True, forbid_unknown_fields=True):
    """A network kind of machines."""

    id: Annotated[Id, Meta(description="name of the cluster, such as 25G")]
    description: Annotated[Text, Meta(description="what the network is")] = ""
    default: Annotated[bool, Meta(description="meant when a query names a machine type and no cluster; exactly one")] = False


class ZoneDoc(Struct, frozen=True, forbid_unknown_fields=True):
    """An availability zone of the region it is listed under."""

    id: Annotated[Id, Meta(description="name of the zone, such as cn-bj2-02")]
    name: Name


class RegionDoc(Struct, frozen=True, forbid_unknown_fields=True):
    """A region and its zones."""

    id: Annotated[Id, Meta(description="name of the region, such as cn-bj2")]
    number: Annotated[int, Meta(ge=1, le=2_147_483_647, description="RegionId on the wire; unique, never used again")]
    name: Name
    default: Annotated[bool, Meta(description="the region clients start in; exactly one")] = False
    zones: Annotated[tuple[ZoneDoc, ...], Meta(description="zones of the region")] = ()


class CpuDoc(Struct, frozen=True, forbid_unknown_fields=True):
    """Processors of a machine type."""

    model: Annotated[Text, Meta(description="such as Intel Silver 4110")]
    frequency: Annotated[str, Meta(pattern=r"^\d{1,2}(\.\d{1,3})?$", description="clock in GHz, such as 2.1")]
    count: Annotated[int, Meta(ge=1, le=64, description="number of sockets")]
    cores: Annotated[int, Meta(ge=1, le=4096, description="number of logical cores of all sockets together")]


class DiskDoc(Struct, frozen=True, forbid_unknown_fields=True):
    """A group of equal disks of a machine type."""

    role: Annotated[Role, Meta(description="what the disks are for")]
    type: Annotated[Text, Meta(description="such as SSD, SAS, SATA, NVMe, RSSD")]
    size: Annotated[int, Meta(ge=1, le=1_000_000, description="capacity of one disk in GB")]
    count: Annotated[int, Meta(ge=1, le=1000, description="number of disks")] = 1
    raid: Annotated[Text, Meta(description="RAID level, such as RAID1; empty for none or of choice")] = ""
    io_cap: Annotated[Count, Meta(description="IO limit of one disk; 0 for none")] = 0


class GpuDoc(Struct, frozen=True, forbid_unknown_fields=True):
    """Accelerators of a machine type."""

    name: Annotated[Text, Meta(description="such as NVIDIA T4")]
    count: Annotated[int, Meta(ge=1, le=64, description="number of cards")]
    memory: Annotated[Text, Meta(description="memory of one card, such as 16G")] = ""
    performance: Annotated[Text, Meta(description="free text for people")] = ""


class MachineTypeDoc(Struct, frozen=True, forbid_unknown_fields=True):
    """A model of machine and where it is offered."""

    id: Annotated[Id, Meta(description="name on the wire, such as Base-SSD-V5")]
    name: Name
    disk_class: Annotated[DiskClass, Meta(description="where the system disk lives")]
    cpu: Annotated[CpuDoc, Meta(description="the processors")]
    memory: Annotated[int, Meta(ge=1, le=1_000_000, description="memory in GB")]
    disks: Annotated[tuple[DiskDoc, ...], Meta(description="groups of equal disks")] = ()
    gpu: Annotated[GpuDoc | None, Meta(description="absent when the machine has none")] = None
    raid_supported: Annotated[bool, Meta(description="whether the RAID of the data disks can be chosen")] = False
    scenes: Annotated[tuple[Text, ...], Meta(description="what the machine is meant for, for people")] = ()
    offers: Annotated[
        dict[str, dict[str, Count]],
        Meta(description="stock by zone and cluster: {cn-bj2-02: {25G: 12}}; 0 is sold out"),
    ] = field(default_factory=dict)


class ImageDoc(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A base image: published by the operator, for everyone, in the zones it is placed in."""

    id: Annotated[
        str,
        Meta(pattern=r"^pimg-[a-z0-9]{1,8}-[a-z0-9]{4,16}$", description="such as pimg-cs-xev4rz; never changes its meaning"),
    ]
    name: Annotated[str, Meta(min_length=1, max_length=128, description="ImageName: what people call the image")]
    family: Annotated[
        str,
        Meta(
            pattern=r"^([a-z0-9][a-z0-9.-]{0,62})?$",
            description="what stays the same from version to version: ubuntu-22.04; empty for none",
        ),
    ] = ""
    os_type: Annotated[str, Meta(min_length=1, max_length=64, description="distribution family: CentOS, Ubuntu, Windows, ...")]
    os_name: Annotated[str, Meta(min_length=1, max_length=128, description="OsName: the operating system, for people")]
    version: Annotated[str, Meta(max_length=64, description="free text that the operator chooses")] = ""
    description: Annotated[str, Meta(max_length=1024, description="ImageDescription")] = ""
    state: Annotated[Literal["Available", "Unavailable", "Making"], Meta(description="State")] = "Available"
    deprecated: Annotated[bool, Meta(description="no longer listed, still answered when asked for by its id")] = False
    size: Annotated[
        int,
        Meta(
            ge=0,
            le=2_147_483_647,
            description="ImageSize: GB of the system disk that the image needs; 0 beside a source: what its disk needs",
        ),
    ]
    created: Annotated[
        str,
        Meta(pattern=DATE, description="when it was published, UTC: 2026-11-01T00:00:00Z"),
    ]
    source: Annotated[
        str,
        Meta(
            max_length=8192,
            description="http(s) URL of the disk image; it is Making until its bytes are here, then in its state",
        ),
    ] = ""
    sha256: Annotated[
        str,
        Meta(pattern=r"^([0-9a-f]{64})?$", description="SHA-256 of the file at the source, in hexadecimal; required with it"),
    ] = ""
    zones: Annotated[tuple[str, ...], Meta(description="zones the image is placed in")] = ()
    support: Annotated[
        dict[str, tuple[str, ...]],
        Meta(description="machine types that can run it, and on which clusters: {DB-2: [1G, 10G]}"),
    ] = field(default_factory=dict)


class Document(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole catalogue: places, machine types and base images."""

    phimage: Annotated[Literal[1], Meta(description="format of this file: 1")]
    clusters: Annotated[tuple[ClusterDoc, ...], Meta(description="network kinds of machines")] = ()
    regions: Annotated[tuple[RegionDoc, ...], Meta(description="regions and their zones")] = ()
    machine_types: Annotated[tuple[MachineTypeDoc, ...], Meta(description="models of machine, and where they are offered")] = ()
    images: Annotated[tuple[ImageDoc, ...], Meta(description="base images")] = ()
