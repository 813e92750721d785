"""Regions and zones (wire-protocol 6.2 and 6.5)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.service import Call
from phimage.gateway.registry import Action
from phimage.model.account import Right


class GetRegion(Struct, rename="pascal", frozen=True):
    """List the regions and zones that the account may use, a row for each zone."""


class RegionRow(Struct, rename="pascal", frozen=True, kw_only=True):
    """A zone with its region."""

    region_id: Annotated[int, Meta(description="number of the region, the same for all its zones")]
    region_name: Annotated[str, Meta(description="name of the region, for people")]
    is_default: Annotated[bool, Meta(description="whether clients start in this zone; true in exactly one row")]
    bit_maps: Annotated[str, Meta(description="always empty; clients require the field")] = ""
    region: Annotated[str, Meta(description="region, such as cn-bj2")]
    zone: Annotated[str, Meta(description="availability zone, such as cn-bj2-02")]


class GetRegionResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """Regions in the order of their numbers, zones by name."""

    regions: Annotated[tuple[RegionRow, ...], Meta(description="a row for each zone")]


class ListRegions(Struct, rename="pascal", frozen=True):
    """List the regions. The format of the response is not verified against a public sample."""


class RegionItem(Struct, rename="pascal", frozen=True, kw_only=True):
    """A region."""

    region: Annotated[str, Meta(description="region, such as cn-bj2")]
    region_name: Annotated[str, Meta(description="name of the region, for people")]


class ListRegionsResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """Regions in the order of their numbers."""

    regions: Annotated[tuple[RegionItem, ...], Meta(description="a row for each region")]


class ListZones(Struct, rename="pascal", frozen=True):
    """List the zones that the account may use. The format of the response is not verified against a public sample."""


class ZoneItem(Struct, rename="pascal", frozen=True, kw_only=True):
    """A zone."""

    region: Annotated[str, Meta(description="region, such as cn-bj2")]
    zone: Annotated[str, Meta(description="availability zone, such as cn-bj2-02")]
    zone_name: Annotated[str, Meta(description="name of the zone, for people")]


class ListZonesResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """Zones in the order of their regions."""

    zones: Annotated[tuple[ZoneItem, ...], Meta(description="a row for each zone")]


def get_region(request: GetRegion, call: Call) -> GetRegionResponse:
    topology = call.view.topology()
    default = next((region.id for region in topology.regions.values() if region.default), None)
    rows = [
        (region, zone)
        for region in topology.regions.values()
        for zone in topology.zones_of(region.id)
        if call.caller.account.may_use_zone(zone)
    ]
    # Exactly one row is the default, also for an account that may not use the default region.
    start = next((row for row in rows if row[0].id == default), rows[0] if rows else None)
    return GetRegionResponse(
        regions=tuple(
            RegionRow(
                region_id=region.number,
                region_name=region.name_zh,
                is_default=(region, zone) == start,
                region=region.id,
                zone=zone,
            )
            for region, zone in rows
        )
    )


def list_regions(request: ListRegions, call: Call) -> ListRegionsResponse:
    regions = call.view.topology().regions.values()
    return ListRegionsResponse(regions=tuple(RegionItem(region=region.id, region_name=region.name_zh) for region in regions))


def list_zones(request: ListZones, call: Call) -> ListZonesResponse:
    topology = call.view.topology()
    zones = (topology.zones[zone] for region in topology.regions for zone in topology.zones_of(region))
    return ListZonesResponse(
        zones=tuple(
            ZoneItem(region=zone.region, zone=zone.id, zone_name=zone.name_zh)
            for zone in zones
            if call.caller.account.may_use_zone(zone.id)
        )
    )


ACTIONS = (
    Action(GetRegion, GetRegionResponse, get_region, Right.KEY),
    Action(ListRegions, ListRegionsResponse, list_regions, Right.KEY),
    Action(ListZones, ListZonesResponse, list_zones, Right.KEY),
)
