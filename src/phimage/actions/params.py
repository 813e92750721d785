"""Types that several Actions share on the wire."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.errors import UnavailableParam, ZoneRefused
from phimage.model.account import Tenant
from phimage.model.ids import RegionId, ZoneId
from phimage.model.topology import Topology

RegionParam = Annotated[RegionId, Meta(description="region, such as cn-bj2")]
ZoneParam = Annotated[ZoneId, Meta(description="availability zone of the region, such as cn-bj2-02")]
OffsetParam = Annotated[int, Meta(ge=0, le=2_147_483_647, description="how many to skip")]
LimitParam = Annotated[int, Meta(ge=0, le=2_147_483_647, description="most to answer; 0 answers the count alone")]


class Empty(Struct, frozen=True):
    """An answer that says only that it went well."""


def zones_asked(region: RegionId, zone: ZoneId | None, tenant: Tenant, topology: Topology) -> tuple[ZoneId, ...]:
    """The zones that Region and Zone mean: the one that was named, or without one all of the region that may be used.

    Raises UnavailableParam for what does not exist or does not fit together.
    """
    check_region(region, topology)
    if zone is None:
        return tuple(zone for zone in topology.zones_of(region) if tenant.account.may_use_zone(zone))
    found = topology.zones.get(zone)
    if found is None or found.region != region:
        raise UnavailableParam("Zone", detail=f"region {region} has {_some(topology.zones_of(region))}")
    return (zone,)


def check_zone_allowed(zones: tuple[ZoneId, ...], tenant: Tenant) -> None:
    """Raises ZoneRefused for a zone that the account may not use. The last of all checks (wire-protocol B5)."""
    for zone in zones:
        if not tenant.account.may_use_zone(zone):
            raise ZoneRefused(zone, detail="the account is limited to other zones")


def check_region(region: RegionId, topology: Topology) -> None:
    """Raises UnavailableParam for a region that does not exist."""
    if not topology.regions:
        raise UnavailableParam("Region", detail="the catalogue is empty; an operator can load one: phimage catalog starter")
    if region not in topology.regions:
        raise UnavailableParam("Region", detail=f"there are {_some(tuple(topology.regions))}")


def _some(names: tuple[str, ...]) -> str:
    if not names:
        return "none"
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
