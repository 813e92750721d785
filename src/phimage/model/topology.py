"""Places, machine types and their offers, and all of them at one revision, indexed for look-ups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from phimage.model.ids import ClusterId, MachineTypeId, RegionId, ZoneId


class Region(Struct, frozen=True):
    """A region. `number` is `RegionId` on the wire: unique, 32 bits, never reused for another region."""

    id: RegionId
    number: int
    name_zh: str
    name_en: str
    default: bool


class Zone(Struct, frozen=True):
    """An availability zone of one region."""

    id: ZoneId
    region: RegionId
    name_zh: str
    name_en: str


class Cluster(Struct, frozen=True):
    """A kind of machine network, such as 25G. A query that names only a machine type means the default cluster."""

    id: ClusterId
    description: str
    default: bool


class Cpu(Struct, frozen=True):
    """Processors. `frequency` is in GHz as decimal text; `cores` are the logical cores of all sockets."""

    model: str
    frequency: str
    count: int
    cores: int


class DiskGroup(Struct, frozen=True):
    """Disks of equal kind. `size` is GB of one disk; `io_cap` 0 means no limit."""

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
    disks: tuple[DiskGroup, ...]
    gpu: Gpu | None
    raid_supported: bool
    scenes: tuple[str, ...]


class Offer(Struct, frozen=True):
    """A machine type is available in a zone, on a cluster. Stock 0 is sold out."""

    machine_type: MachineTypeId
    zone: ZoneId
    cluster: ClusterId
    stock: int


class Topology(Struct, frozen=True):
    """Places, machine types and offers of one revision, in the order of answers: regions by number, everything else by id."""

    regions: Mapping[RegionId, Region]
    zones: Mapping[ZoneId, Zone]
    clusters: Mapping[ClusterId, Cluster]
    machine_types: Mapping[MachineTypeId, MachineType]
    offers: tuple[Offer, ...]
    offered: Mapping[ZoneId, Mapping[MachineTypeId, frozenset[ClusterId]]]

    def zones_of(self, region: RegionId) -> tuple[ZoneId, ...]:
        """The zones of a region, by id."""
        return tuple(zone.id for zone in self.zones.values() if zone.region == region)

    def clusters_of(self, machine_type: MachineTypeId, zones: Iterable[ZoneId]) -> tuple[ClusterId, ...]:
        """The clusters on which any of these zones offers a machine type, by id."""
        return tuple(sorted({cluster for zone in zones for cluster in self.offered.get(zone, {}).get(machine_type, ())}))

    def default_cluster(self) -> ClusterId | None:
        """The default cluster; None in an empty catalogue."""
        return next((cluster.id for cluster in self.clusters.values() if cluster.default), None)


HostStock = Mapping[tuple[MachineTypeId, ZoneId, ClusterId], int]
"""The number of free hosts by machine type, zone and cluster, for those with a host."""


def with_stock(topology: Topology, free: HostStock) -> Topology:
    """The topology with the number of free hosts as the stock of offers where hosts are registered."""

    def stocked(offer: Offer) -> Offer:
        stock = free.get((offer.machine_type, offer.zone, offer.cluster))
        return offer if stock is None else replace(offer, stock=stock)

    return replace(topology, offers=tuple(map(stocked, topology.offers))) if free else topology


def topology(
    regions: Iterable[Region],
    zones: Iterable[Zone],
    clusters: Iterable[Cluster],
    machine_types: Iterable[MachineType],
    offers: Iterable[Offer],
) -> Topology:
    """Index the places, machine types and offers of one revision, in any order."""
    ordered_offers = tuple(sorted(offers, key=lambda offer: (offer.machine_type, offer.zone, offer.cluster)))
    offered: dict[ZoneId, dict[MachineTypeId, frozenset[ClusterId]]] = {}
    for offer in ordered_offers:
        types = offered.setdefault(offer.zone, {})
        types[offer.machine_type] = types.get(offer.machine_type, frozenset()) | {offer.cluster}
    return Topology(
        regions={region.id: region for region in sorted(regions, key=lambda region: region.number)},
        zones={zone.id: zone for zone in sorted(zones, key=lambda zone: zone.id)},
        clusters={cluster.id: cluster for cluster in sorted(clusters, key=lambda cluster: cluster.id)},
        machine_types={kind.id: kind for kind in sorted(machine_types, key=lambda kind: kind.id)},
        offers=ordered_offers,
        offered=offered,
    )
