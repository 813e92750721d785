"""The types of the catalogue file.

The JSON Schema (`phimage catalog schema`), the decoder and the exporter follow these types, so a field is described once. Text
is text: `version: 8.10` is the version "8.10", never the number 8.1.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from phimage.fields import nested_records, with_controls
from phimage.json_schema import record_schema
from phimage.model.image import MAX_LABEL_VALUE, MAX_LABELS

FORMAT = 1
DATE = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"
IMAGE_ID = r"^pimg-[a-z0-9]{1,8}-[a-z0-9]{4,16}$"

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
    """A class of networks that machines are attached to."""

    id: Annotated[Id, Meta(description="name of the cluster, such as 25G")]
    description: Annotated[Text, Meta(description="what the network is")] = ""
    default: Annotated[bool, Meta(description="default of queries with a machine type; exactly one")] = False


class ZoneDoc(Struct, frozen=True, forbid_unknown_fields=True):
    """An availability zone of the region it is listed under."""

    id: Annotated[Id, Meta(description="name of the zone, such as cn-bj2-02")]
    name: Name


class RegionDoc(Struct, frozen=True, forbid_unknown_fields=True):
    """A region and its zones."""

    id: Annotated[Id, Meta(description="name of the region, such as cn-bj2")]
    number: Annotated[int, Meta(ge=1, le=2_147_483_647, description="RegionId on the wire; unique and never reused")]
    name: Name
    default: Annotated[bool, Meta(description="the region that clients start in; exactly one")] = False
    zones: Annotated[tuple[ZoneDoc, ...], Meta(description="zones of the region")] = ()


class CpuDoc(Struct, frozen=True, forbid_unknown_fields=True):
    """Processors of a machine type."""

    model: Annotated[Text, Meta(description="such as Intel Silver 4110")]
    frequency: Annotated[str, Meta(pattern=r"^\d{1,2}(\.\d{1,3})?$", description="clock in GHz, such as 2.1")]
    count: Annotated[int, Meta(ge=1, le=64, description="number of sockets")]
    cores: Annotated[int, Meta(ge=1, le=4096, description="number of logical cores of all sockets together")]


class DiskDoc(Struct, frozen=True, forbid_unknown_fields=True):
    """A group of equal disks of a machine type."""

    role: Annotated[Role, Meta(description="use of the disks: operating system or data")]
    type: Annotated[Text, Meta(description="such as SSD, SAS, SATA, NVMe, RSSD")]
    size: Annotated[int, Meta(ge=1, le=1_000_000, description="capacity of one disk in GB")]
    count: Annotated[int, Meta(ge=1, le=1000, description="number of disks")] = 1
    raid: Annotated[Text, Meta(description="RAID level, such as RAID1; empty for none, or where the tenant chooses it")] = ""
    io_cap: Annotated[Count, Meta(description="IO limit of one disk; 0 for none")] = 0


class GpuDoc(Struct, frozen=True, forbid_unknown_fields=True):
    """Accelerators of a machine type."""

    name: Annotated[Text, Meta(description="such as NVIDIA T4")]
    count: Annotated[int, Meta(ge=1, le=64, description="number of cards")]
    memory: Annotated[Text, Meta(description="memory of one card, such as 16G")] = ""
    performance: Annotated[Text, Meta(description="free text for people")] = ""


class MachineTypeDoc(Struct, frozen=True, forbid_unknown_fields=True):
    """A machine type, and the zones that offer it."""

    id: Annotated[Id, Meta(description="name on the wire, such as Base-SSD-V5")]
    name: Name
    disk_class: Annotated[DiskClass, Meta(description="LocalDisk or CloudDisk: where the system disk is")]
    cpu: Annotated[CpuDoc, Meta(description="the processors")]
    memory: Annotated[int, Meta(ge=1, le=1_000_000, description="memory in GB")]
    disks: Annotated[tuple[DiskDoc, ...], Meta(description="groups of equal disks")] = ()
    gpu: Annotated[GpuDoc | None, Meta(description="accelerators; absent for none")] = None
    raid_supported: Annotated[bool, Meta(description="whether the tenant can choose the RAID level of the data disks")] = False
    scenes: Annotated[tuple[Text, ...], Meta(description="typical uses, for people")] = ()
    offers: Annotated[
        dict[str, dict[str, Count]],
        Meta(description="stock by zone and cluster: {cn-bj2-02: {25G: 12}}; 0 is sold out"),
    ] = field(default_factory=dict)


class ImageDoc(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A base image: published by the operator for all tenants, available in its zones."""

    id: Annotated[
        str,
        Meta(
            pattern=IMAGE_ID,
            description="image id, such as pimg-cs-xev4rz; never reused",
        ),
    ]
    name: Annotated[str, Meta(min_length=1, max_length=128, description="ImageName: name of the image, for people")]
    family: Annotated[
        str,
        Meta(
            pattern=r"^([a-z0-9][a-z0-9.-]{0,62})?$",
            description="name that all versions of an image share, such as ubuntu-22.04; empty for none",
        ),
    ] = ""
    os_type: Annotated[str, Meta(min_length=1, max_length=64, description="distribution family: CentOS, Ubuntu, Windows, ...")]
    os_name: Annotated[str, Meta(min_length=1, max_length=128, description="OsName: the operating system, for people")]
    version: Annotated[str, Meta(max_length=64, description="version, free text")] = ""
    description: Annotated[str, Meta(max_length=1024, description="ImageDescription", extra=with_controls("lines"))] = ""
    state: Annotated[Literal["Available", "Unavailable", "Making"], Meta(description="State of the image")] = "Available"
    deprecated: Annotated[bool, Meta(description="whether it is no longer listed; it is still found by its id")] = False
    deprecation_time: Annotated[
        str,
        Meta(
            pattern=rf"{DATE}|^$",
            description="time in UTC when it is, or was, deprecated, such as 2027-01-01T00:00:00Z; empty for none",
        ),
    ] = ""
    successor: Annotated[
        str, Meta(pattern=rf"{IMAGE_ID}|^$", description="id of the base image to use instead of this one; empty for none")
    ] = ""
    size: Annotated[
        int,
        Meta(
            ge=0,
            le=2_147_483_647,
            description="ImageSize: min size of the system disk in GB; 0 with a source: the size of its disk",
        ),
    ]
    created: Annotated[
        str,
        Meta(pattern=DATE, description="time of publication in UTC, such as 2026-11-01T00:00:00Z"),
    ]
    source: Annotated[
        str,
        Meta(
            max_length=8192,
            description="http(s) URL of the disk image; the image is Making until it is fetched and published, then in `state`",
        ),
    ] = ""
    sha256: Annotated[
        str,
        Meta(
            pattern=r"^([0-9a-f]{64})?$",
            description="SHA-256 of the file at the source, in hexadecimal; required with it",
        ),
    ] = ""
    zones: Annotated[tuple[str, ...], Meta(description="zones where the image is available")] = ()
    support: Annotated[
        dict[str, tuple[str, ...]],
        Meta(description="clusters by machine type that can run it: {DB-2: [1G, 10G]}"),
    ] = field(default_factory=dict)
    labels: Annotated[
        dict[str, Annotated[str, Meta(max_length=MAX_LABEL_VALUE)]],
        Meta(description=f"at most {MAX_LABELS} texts by key, for filters: {{team: storage}}"),
    ] = field(default_factory=dict)


class Document(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole catalogue: places, machine types and base images."""

    phimage: Annotated[Literal[1], Meta(description="version of the file format: 1")]
    clusters: Annotated[tuple[ClusterDoc, ...], Meta(description="network clusters")] = ()
    regions: Annotated[tuple[RegionDoc, ...], Meta(description="regions and their zones")] = ()
    machine_types: Annotated[tuple[MachineTypeDoc, ...], Meta(description="machine types, and the zones that offer them")] = ()
    images: Annotated[tuple[ImageDoc, ...], Meta(description="base images")] = ()


def json_schema() -> str:
    """The JSON Schema (2020-12) of the file, for editors."""
    records: list[type[Struct]] = [Document, *nested_records(Document)]
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "phimage catalogue",
        "$ref": "#/$defs/Document",
        "$defs": {record.__name__: record_schema(record, "#/$defs/") for record in records},
    }
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"
