"""Parameters that several Actions share, and what they name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from phimage.catalog.engine import Connection
from phimage.catalog.lookup import find_tenant
from phimage.errors import UnavailableParam, ZoneRefused
from phimage.model.account import Tenant, User
from phimage.model.ids import AccountId, RegionId, ZoneId
from phimage.model.topology import Topology

RegionParam = Annotated[RegionId, Meta(description="region, such as cn-bj2")]
ZoneParam = Annotated[ZoneId, Meta(description="availability zone of the region, such as cn-bj2-02")]
Line = Annotated[str, Meta(max_length=255)]
# docs/decisions.md#times-end-with-the-year-9999
MAX_TIME = 253_402_300_799
"""The last second of the year 9999, in Unix seconds."""
AccountParam = Annotated[
    AccountId,
    Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", description="name of the account: letters, digits, . _ -"),
]
UserParam = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$",
        description="name of the user in the account; the main user is main",
    ),
]


class Empty(Struct, frozen=True):
    """A response without fields of its own."""


def zones_asked(region: RegionId, zone: ZoneId | None, tenant: Tenant, topology: Topology) -> tuple[ZoneId, ...]:
    """The zones that Region and Zone select: the named zone, or without one every zone of the region that the account may use.

    Raises UnavailableParam for an unknown region, an unknown zone and a zone of another region.
    """
    check_region(region, topology)
    if zone is None:
        return tuple(zone for zone in topology.zones_of(region) if tenant.account.may_use_zone(zone))
    known = topology.zones.get(zone)
    if known is not None and known.region != region:
        raise UnavailableParam("Zone", detail=f"{zone} is in region {known.region}: use Region={known.region}")
    if known is None:
        raise UnavailableParam("Zone", detail=f"region {region} has {_some(topology.zones_of(region))}")
    return (zone,)


def zones_anywhere(region: RegionId | None, zone: ZoneId | None, tenant: Tenant, topology: Topology) -> tuple[ZoneId, ...]:
    """The same where Region may be absent: then the named zone of any region, or every zone that the account may use."""
    if region is not None:
        return zones_asked(region, zone, tenant, topology)
    if zone is None:
        return tuple(zone for zone in topology.zones if tenant.account.may_use_zone(zone))
    if zone not in topology.zones:
        near = RegionId(zone.rpartition("-")[0])
        here = f"region {near} has {_some(topology.zones_of(near))}" if near in topology.regions else "there is no such zone"
        raise UnavailableParam("Zone", detail=here)
    return (zone,)


def check_zone_allowed(zones: tuple[ZoneId, ...], tenant: Tenant) -> None:
    """Raises ZoneRefused for a zone that the account may not use. The last check of a request (wire-protocol B5)."""
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


def tenant_of(connection: Connection, account: AccountId) -> Tenant:
    """The tenant of an account. Raises UnavailableParam when there is no such account."""
    known = find_tenant(connection, account)
    if known is None:
        raise UnavailableParam("Account", detail=f"there is no account {account}")
    return known


def user_of(tenant: Tenant, name: str) -> User:
    """A user by name. Raises UnavailableParam when there is no such user."""
    for user in tenant.users.values():
        if user.name == name:
            return user
    raise UnavailableParam("User", detail=f"account {tenant.account.id} has no user {name}")


def rfc3339(microseconds: int) -> str:
    """A time since 1970 as clients read it, in UTC."""
    time = datetime.fromtimestamp(microseconds / 1_000_000, UTC)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")
