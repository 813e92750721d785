"""Zones, machine types, clusters and projects, between which the filters of pages choose."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from phimage.actions.caller import GetProjectList, GetProjectListResponse, ProjectRow
from phimage.actions.topology import GetTopology, GetTopologyResponse
from phimage.console.visit import Visit


async def places(visit: Visit) -> GetTopologyResponse:
    """The places that the account may use, in the catalogue that is shown."""
    return await visit.ask(GetTopology, GetTopologyResponse)


def machine_types_of(topology: GetTopologyResponse, zone: str) -> list[str]:
    """The machine types that a zone offers; those of all zones if it is empty."""
    return [
        kind.machine_type for kind in topology.machine_type_set if any(not zone or offer.zone == zone for offer in kind.offers)
    ]


def clusters_of(topology: GetTopologyResponse, zone: str, machine_type: str = "") -> list[str]:
    """The clusters on which a zone offers a machine type; an empty zone or type stands for all."""
    offered = {
        offer.cluster
        for kind in topology.machine_type_set
        if not machine_type or kind.machine_type == machine_type
        for offer in kind.offers
        if not zone or offer.zone == zone
    }
    return [cluster.cluster for cluster in topology.cluster_set if cluster.cluster in offered]


def region_of(topology: GetTopologyResponse, zone: str) -> str:
    """The region of a zone; empty for an unknown one."""
    return next((each.region for each in topology.zone_set if each.zone == zone), "")


def start_zone(topology: GetTopologyResponse) -> str:
    """The zone where a page begins that needs one: the first of the default region, or of any."""
    regions = sorted(topology.region_set, key=lambda region: not region.is_default)
    return next((zone for region in regions for zone in region.zones), "")


def short_support(ticked: Iterable[str], zones: Collection[str], topology: GetTopologyResponse) -> list[str]:
    """The parameter Support of ticked `TYPE:CLUSTER`: a machine type with all clusters that the zones offer is named alone."""
    kinds: dict[str, set[str]] = {}
    for text in ticked:
        kind, _, cluster = text.partition(":")
        kinds.setdefault(kind, set()).add(cluster)
    found: list[str] = []
    for kind, clusters in kinds.items():
        offers = next((each.offers for each in topology.machine_type_set if each.machine_type == kind), ())
        offered = {offer.cluster for offer in offers if offer.zone in zones}
        found += [kind] if offered and clusters == offered else [f"{kind}:{cluster}" for cluster in sorted(clusters)]
    return found


async def project_choices(visit: Visit) -> tuple[ProjectRow, ...]:
    """The projects of a tenant; none for an operator, whose pages show all."""
    if visit.session.is_operator:
        return ()
    return (await visit.ask(GetProjectList, GetProjectListResponse)).project_set
