"""The topology is what the other Actions say of places and machine types, as far as the account may use them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api import small
from tests.api.gateway import Gateway
from tests.api.signer import Pair, Params


def topology(
    gateway: Gateway, params: Params | None = None, pair: Pair = small.ACME, client: str = small.INSIDE
) -> dict[str, Any]:
    reply = gateway.ask("GetTopology", params, pair=pair, client=client)
    assert reply.ret_code == 0, reply.fields
    return reply.fields


def test_places_and_machine_types_are_those_of_the_other_actions(gateway: Gateway) -> None:
    found = gateway.ask("GetTopology").fields
    regions = gateway.ask("GetRegion").fields["Regions"]
    described = [
        row
        for action in ("DescribePHostMachineType", "DescribeBaremetalMachineType")
        for region in {row["Region"] for row in regions}
        for row in gateway.ask(action, {"Region": region}).fields["MachineTypes"]
    ]

    assert [(region["RegionId"], zone) for region in found["RegionSet"] for zone in region["Zones"]] == [
        (row["RegionId"], row["Zone"]) for row in regions
    ]
    assert [zone["Zone"] for zone in found["ZoneSet"]] == [row["Zone"] for row in regions]
    assert {
        (kind["MachineType"], offer["Zone"], offer["Cluster"], offer["Stock"], kind["DiskClass"] == "CloudDisk")
        for kind in found["MachineTypeSet"]
        for offer in kind["Offers"]
    } == {(row["Type"], row["Zone"], row["Cluster"], row["Stock"], row["IsBaremetal"]) for row in described}
    assert [cluster["Cluster"] for cluster in found["ClusterSet"] if cluster["IsDefault"]] == ["25G"]


def test_a_place_has_what_is_offered_there(small_gateway: Gateway) -> None:
    found = topology(small_gateway, {"Zone": "north-b"})

    assert [region["Zones"] for region in found["RegionSet"]] == [["north-b"]]
    assert [(zone["Zone"], zone["Clusters"], zone["MachineTypes"]) for zone in found["ZoneSet"]] == [
        ("north-b", ["10G"], ["Both"])
    ]
    assert [(cluster["Cluster"], cluster["Zones"]) for cluster in found["ClusterSet"]] == [("10G", ["north-b"])]
    assert [kind["Offers"] for kind in found["MachineTypeSet"]] == [[{"Zone": "north-b", "Cluster": "10G", "Stock": 1}]]
    assert topology(small_gateway, {"Region": "north", "Zone": "north-b"}) == found


def test_an_account_sees_no_place_that_it_may_not_use(small_gateway: Gateway) -> None:
    found = topology(small_gateway, pair=small.FENCED_VIEWER)

    assert [zone["Zone"] for zone in found["ZoneSet"]] == ["north-a"]
    assert {offer["Zone"] for kind in found["MachineTypeSet"] for offer in kind["Offers"]} == {"north-a"}
    assert {zone for cluster in found["ClusterSet"] for zone in cluster["Zones"]} == {"north-a"}
    refused = small_gateway.ask("GetTopology", {"Zone": "north-b"}, pair=small.FENCED, client=small.INSIDE)
    assert (refused.ret_code, refused.message) == (293, "Zone [north-b] not permitted")


@pytest.mark.parametrize(
    ("params", "name"),
    [({"Region": "nowhere"}, "Region"), ({"Zone": "nowhere"}, "Zone"), ({"Region": "north", "Zone": "south-a"}, "Zone")],
)
def test_an_unknown_place_is_named(small_gateway: Gateway, params: Params, name: str) -> None:
    reply = small_gateway.ask("GetTopology", params, pair=small.ACME)

    assert (reply.ret_code, reply.message) == (230, f"Params [{name}] not available")
