"""The topology at once: places, clusters, and machine types with their offers and stock. A supplement to UCloud's Actions.

Those list zones and machine types each in a form of its own, none lists clusters, and machine types need a project.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.params import check_zone_allowed, zones_anywhere
from phimage.actions.service import Call
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import ClusterId, MachineTypeId, RegionId, ZoneId
from phimage.model.topology import MachineType, Offer, Topology, with_stock


class GetTopology(Struct, rename="pascal", frozen=True, kw_only=True):
    """Show regions, zones, network clusters, and machine types with their stock, as far as the account may use them."""

    region: Annotated[RegionId | None, Meta(description="region, such as cn-bj2; absent means every region")] = None
    zone: Annotated[ZoneId | None, Meta(description="availability zone, such as cn-bj2-02; absent means every zone")] = None


class TopologyRegion(Struct, rename="pascal", frozen=True, kw_only=True):
    """A region."""

    region: Annotated[str, Meta(description="region, such as cn-bj2")]
    region_id: Annotated[int, Meta(description="number of the region")]
    region_name: Annotated[str, Meta(description="Chinese name, for people")]
    region_name_en: Annotated[str, Meta(description="English name, for people")]
    is_default: Annotated[bool, Meta(description="whether clients start in this region")]
    zones: Annotated[tuple[str, ...], Meta(description="zones of the region")]


class TopologyZone(Struct, rename="pascal", frozen=True, kw_only=True):
    """A zone."""

    zone: Annotated[str, Meta(description="availability zone, such as cn-bj2-02")]
    region: Annotated[str, Meta(description="region of the zone")]
    zone_name: Annotated[str, Meta(description="Chinese name, for people")]
    zone_name_en: Annotated[str, Meta(description="English name, for people")]
    clusters: Annotated[tuple[str, ...], Meta(description="network clusters on which it offers machine types")]
    machine_types: Annotated[tuple[str, ...], Meta(description="machine types that it offers")]


class TopologyCluster(Struct, rename="pascal", frozen=True, kw_only=True):
    """A network cluster."""

    cluster: Annotated[str, Meta(description="network cluster, such as 25G")]
    description: Annotated[str, Meta(description="description, for people")]
    is_default: Annotated[bool, Meta(description="whether lists of a machine type mean it where they name no cluster")]
    zones: Annotated[tuple[str, ...], Meta(description="zones that offer machine types on it")]


class TopologyOffer(Struct, rename="pascal", frozen=True, kw_only=True):
    """An offer of a machine type."""

    zone: Annotated[str, Meta(description="zone that offers it")]
    cluster: Annotated[str, Meta(description="network cluster that its machines are connected to")]
    stock: Annotated[int, Meta(description="number of machines in stock; 0 is sold out")]


class TopologyMachineType(Struct, rename="pascal", frozen=True, kw_only=True):
    """A machine type."""

    machine_type: Annotated[str, Meta(description="name of the machine type, such as DB-2")]
    type_name: Annotated[str, Meta(description="Chinese name, for people")]
    type_name_en: Annotated[str, Meta(description="English name, for people")]
    disk_class: Annotated[str, Meta(description="LocalDisk or CloudDisk")]
    cpu: Annotated[str, Meta(description="model of the processors")]
    cores: Annotated[int, Meta(description="logical cores of all sockets together")]
    memory: Annotated[int, Meta(description="memory in GB")]
    gpu: Annotated[str, Meta(description="accelerators, such as 4 x V100; empty for none")]
    offers: Annotated[tuple[TopologyOffer, ...], Meta(description="zones and clusters that offer it, with their stock")]


class GetTopologyResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """Regions by number, everything else by name. With Region or Zone: what is there."""

    region_set: Annotated[tuple[TopologyRegion, ...], Meta(description="the regions")]
    zone_set: Annotated[tuple[TopologyZone, ...], Meta(description="the zones")]
    cluster_set: Annotated[tuple[TopologyCluster, ...], Meta(description="the network clusters")]
    machine_type_set: Annotated[tuple[TopologyMachineType, ...], Meta(description="the machine types")]


def get_topology(request: GetTopology, call: Call) -> GetTopologyResponse:
    topology = with_stock(call.view.topology(), call.view.host_stock())
    zones = zones_anywhere(request.region, request.zone, call.caller.tenant, topology)
    check_zone_allowed(zones, call.caller.tenant)
    everywhere = request.region is None and request.zone is None
    offers = [offer for offer in topology.offers if offer.zone in zones]
    offers_of: dict[MachineTypeId, list[Offer]] = {}
    for offer in offers:
        offers_of.setdefault(offer.machine_type, []).append(offer)
    clusters = {offer.cluster for offer in offers}
    return GetTopologyResponse(
        region_set=_regions(zones, topology, named=request.region),
        zone_set=tuple(
            _zone(zone, topology) for region in topology.regions for zone in topology.zones_of(region) if zone in zones
        ),
        cluster_set=tuple(_cluster(id, offers, topology) for id in topology.clusters if everywhere or id in clusters),
        machine_type_set=tuple(
            _machine_type(kind, offers_of.get(kind.id, []))
            for kind in topology.machine_types.values()
            if everywhere or kind.id in offers_of
        ),
    )


def _regions(zones: tuple[ZoneId, ...], topology: Topology, *, named: RegionId | None) -> tuple[TopologyRegion, ...]:
    found = []
    for region in topology.regions.values():
        here = tuple(zone for zone in topology.zones_of(region.id) if zone in zones)
        if here or region.id == named:
            found.append(
                TopologyRegion(
                    region=region.id,
                    region_id=region.number,
                    region_name=region.name_zh,
                    region_name_en=region.name_en,
                    is_default=region.default,
                    zones=here,
                )
            )
    return tuple(found)


def _zone(id: ZoneId, topology: Topology) -> TopologyZone:
    zone, offered = topology.zones[id], topology.offered.get(id, {})
    return TopologyZone(
        zone=id,
        region=zone.region,
        zone_name=zone.name_zh,
        zone_name_en=zone.name_en,
        clusters=tuple(cluster for cluster in topology.clusters if any(cluster in on for on in offered.values())),
        machine_types=tuple(sorted(offered)),
    )


def _cluster(id: ClusterId, offers: list[Offer], topology: Topology) -> TopologyCluster:
    cluster = topology.clusters[id]
    zones = dict.fromkeys(offer.zone for offer in sorted(offers, key=lambda offer: offer.zone) if offer.cluster == id)
    return TopologyCluster(cluster=id, description=cluster.description, is_default=cluster.default, zones=tuple(zones))


def _machine_type(kind: MachineType, offers: list[Offer]) -> TopologyMachineType:
    return TopologyMachineType(
        machine_type=kind.id,
        type_name=kind.name_zh,
        type_name_en=kind.name_en,
        disk_class=kind.disk_class,
        cpu=kind.cpu.model,
        cores=kind.cpu.cores,
        memory=kind.memory,
        gpu=f"{kind.gpu.count} x {kind.gpu.name}" if kind.gpu else "",
        offers=tuple(TopologyOffer(zone=offer.zone, cluster=offer.cluster, stock=offer.stock) for offer in offers),
    )


ACTIONS = (Action(GetTopology, GetTopologyResponse, get_topology, Right.KEY),)
