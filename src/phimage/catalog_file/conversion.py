"""Conversion between the catalogue file's types and the model's records.

A base image is *normalized*: its zones and clusters are sorted and unique, and a machine type without clusters is left out. So
records with the same meaning are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import cast

from msgspec import Struct
from msgspec.structs import replace

from phimage.catalog_file.document import (
    ClusterDoc,
    CpuDoc,
    DiskClass,
    DiskDoc,
    Document,
    GpuDoc,
    ImageDoc,
    MachineTypeDoc,
    NameDoc,
    RegionDoc,
    Role,
    ZoneDoc,
)
from phimage.fields import shared_values
from phimage.model.ids import ClusterId, ImageId, MachineTypeId, RegionId, ZoneId, natural
from phimage.model.image import NO_PROJECT, Image, ImageType, State
from phimage.model.image_bytes import ImageBytes
from phimage.model.topology import Cluster, Cpu, DiskGroup, Gpu, MachineType, Offer, Region, Topology, Zone
from phimage.sources.url import shown


class DeclaredSource(Struct, frozen=True):
    """A source of image bytes. `digest` is `sha256:<hex>`; `failure` is why an earlier publication failed."""

    image: ImageId
    url: str
    digest: str
    failure: str = ""

    @property
    def shown(self) -> str:
        """The URL for people, without the values of its query."""
        return shown(self.url)


Record = Cluster | Region | Zone | MachineType | Offer | Image | DeclaredSource
Records = Mapping[str, Mapping[str, Record]]
"""Records by noun and id. The id of an offer is `machine type/zone/cluster`, the id of a source that of its image."""

NOUNS = ("cluster", "region", "zone", "machine_type", "offer", "image", "source")


def records_of(document: Document) -> Records:
    """The model's records of a file without errors."""
    return _by_noun(
        [Cluster(ClusterId(doc.id), doc.description, doc.default) for doc in document.clusters],
        [Region(RegionId(doc.id), doc.number, doc.name.zh, doc.name.en, doc.default) for doc in document.regions],
        [
            Zone(ZoneId(doc.id), RegionId(region.id), doc.name.zh, doc.name.en)
            for region in document.regions
            for doc in region.zones
        ],
        [_machine_type(doc) for doc in document.machine_types],
        [
            Offer(MachineTypeId(doc.id), ZoneId(zone), ClusterId(cluster), stock)
            for doc in document.machine_types
            for zone, stocks in doc.offers.items()
            for cluster, stock in stocks.items()
        ],
        [_image(doc) for doc in document.images],
        [DeclaredSource(ImageId(doc.id), doc.source, f"sha256:{doc.sha256}") for doc in document.images if doc.source],
    )


def records_in(topology: Topology, images: Iterable[Image]) -> Records:
    """The records of the catalogue that a file can define, without sources."""
    return _by_noun(
        topology.clusters.values(),
        topology.regions.values(),
        topology.zones.values(),
        topology.machine_types.values(),
        topology.offers,
        [normalized(image) for image in images if image.type is ImageType.BASE],
    )


def _by_noun(
    clusters: Iterable[Cluster],
    regions: Iterable[Region],
    zones: Iterable[Zone],
    machine_types: Iterable[MachineType],
    offers: Iterable[Offer],
    images: Iterable[Image],
    sources: Iterable[DeclaredSource] = (),
) -> Records:
    return {
        "cluster": {cluster.id: cluster for cluster in clusters},
        "region": {region.id: region for region in regions},
        "zone": {zone.id: zone for zone in zones},
        "machine_type": {kind.id: kind for kind in machine_types},
        "offer": {f"{offer.machine_type}/{offer.zone}/{offer.cluster}": offer for offer in offers},
        "image": {image.id: image for image in images},
        "source": {source.image: source for source in sources},
    }


def normalized(image: Image) -> Image:
    """The image with sorted, unique zones and clusters."""
    return replace(
        image,
        zones=tuple(sorted(set(image.zones))),
        support={kind: tuple(sorted(set(clusters))) for kind, clusters in image.support.items() if clusters},
    )


def _machine_type(doc: MachineTypeDoc) -> MachineType:
    gpu = doc.gpu
    return MachineType(
        id=MachineTypeId(doc.id),
        name_zh=doc.name.zh,
        name_en=doc.name.en,
        disk_class=doc.disk_class,
        cpu=Cpu(doc.cpu.model, doc.cpu.frequency, doc.cpu.count, doc.cpu.cores),
        memory=doc.memory,
        disks=tuple(DiskGroup(disk.role, disk.type, disk.size, disk.count, disk.raid, disk.io_cap) for disk in doc.disks),
        gpu=None if gpu is None else Gpu(gpu.name, gpu.count, gpu.memory, gpu.performance),
        raid_supported=doc.raid_supported,
        scenes=doc.scenes,
    )


def _image(doc: ImageDoc) -> Image:
    return normalized(
        Image(
            **shared_values(doc, Image)
            | {
                "type": ImageType.BASE,
                "project": NO_PROJECT,
                "state": State(doc.state),
                "created": seconds(doc.created),
                "deprecation_time": seconds(doc.deprecation_time) if doc.deprecation_time else 0,
            }
        )
    )


def seconds(created: str) -> int:
    """The Unix seconds of a date such as 2026-11-01T00:00:00Z. Raises ValueError for a date that does not exist."""
    return int(datetime.strptime(created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())


def date(created: int) -> str:
    """The date of Unix seconds, the inverse of `seconds`."""
    return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def cluster_doc(cluster: Cluster) -> ClusterDoc:
    """The cluster in the file."""
    return ClusterDoc(cluster.id, cluster.description, cluster.default)


def zone_doc(zone: Zone) -> ZoneDoc:
    """The zone in the file."""
    return ZoneDoc(zone.id, NameDoc(zone.name_zh, zone.name_en))


def region_doc(region: Region, zones: Iterable[Zone] = ()) -> RegionDoc:
    """The region in the file."""
    docs = tuple(zone_doc(zone) for zone in sorted(zones, key=lambda zone: natural(zone.id)))
    return RegionDoc(region.id, region.number, NameDoc(region.name_zh, region.name_en), region.default, docs)


def machine_type_doc(kind: MachineType, offers: Iterable[Offer] = ()) -> MachineTypeDoc:
    """The machine type in the file."""
    stocks: dict[str, dict[str, int]] = {}
    for offer in sorted(offers, key=lambda offer: (natural(offer.zone), natural(offer.cluster))):
        stocks.setdefault(offer.zone, {})[offer.cluster] = offer.stock
    gpu = kind.gpu
    return MachineTypeDoc(
        id=kind.id,
        name=NameDoc(kind.name_zh, kind.name_en),
        disk_class=cast("DiskClass", kind.disk_class),
        cpu=CpuDoc(kind.cpu.model, kind.cpu.frequency, kind.cpu.count, kind.cpu.cores),
        memory=kind.memory,
        disks=tuple(_disk_doc(disk) for disk in kind.disks),
        gpu=None if gpu is None else GpuDoc(gpu.name, gpu.count, gpu.memory, gpu.performance),
        raid_supported=kind.raid_supported,
        scenes=kind.scenes,
        offers=stocks,
    )


def _disk_doc(disk: DiskGroup) -> DiskDoc:
    return DiskDoc(cast("Role", disk.role), disk.type, disk.size, disk.count, disk.raid, disk.io_cap)


def image_doc(image: Image, image_bytes: ImageBytes | None = None) -> ImageDoc:
    """The base image in the file, with the source of its bytes if that is a URL with a SHA-256 digest."""
    algorithm, _, digest = (
        image_bytes.source_digest.partition(":") if image_bytes is not None and image_bytes.source else ("", "", "")
    )
    support = sorted(normalized(image).support.items(), key=lambda item: natural(item[0]))
    return ImageDoc(
        **shared_values(image, ImageDoc)
        | {
            "state": image.state.value,
            "created": date(image.created),
            "deprecation_time": date(image.deprecation_time) if image.deprecation_time else "",
            "source": image_bytes.source if image_bytes is not None and algorithm == "sha256" else "",
            "sha256": digest if algorithm == "sha256" else "",
            "zones": tuple(sorted(set(image.zones), key=natural)),
            "support": {kind: tuple(sorted(clusters, key=natural)) for kind, clusters in support},
            "labels": dict(sorted(image.labels.items())),
        }
    )
