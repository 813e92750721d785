"""All places and machine types of one revision, indexed for look-ups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from phimage.model.ids import ClusterId, MachineTypeId, RegionId, ZoneId
from phimage.model.machine import MachineType, Offer
from phimage.model.place import Cluster, Region, Zone


class Topology(Struct, frozen=True):
    """Every mapping is in the order in which lists of it are answered: regions by number, the rest by id."""

    regions: Mapping[RegionId, Region]
    zones: Mapping[ZoneId, Zone]
    clusters: Mapping[ClusterId, Cluster]
    machine_types: Mapping[MachineTypeId, MachineType]
    offers: tuple[Offer, ...]
    offered: Mapping[ZoneId, Mapping[MachineTypeId, frozenset[ClusterId]]]

    def zones_of(self, region: RegionId) -> tuple[ZoneId, ...]:
        """The zones of a region, by id."""
        return tuple(zone.id for zone in self.zones.values() if zone.region == region)

    def default_cluster(self) -> ClusterId | None:
        """The cluster that a machine type alone means; None in an empty catalogue."""
        return next((cluster.id for cluster in self.clusters.values() if cluster.default), None)


def topology(
    regions: Iterable[Region],
    zones: Iterable[Zone],
    clusters: Iterable[Cluster],
    machine_types: Iterable[MachineType],
    offers: Iterable[Offer],
) -> Topology:
    """Index the places and machine types of one revision, given in any order."""
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
