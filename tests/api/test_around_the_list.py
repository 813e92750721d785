"""The Actions around the list and what limits an account: section 6 and decisions B15 and B16 of the wire protocol."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api import small
from tests.api.gateway import Gateway, Reply
from tests.api.signer import Pair, Params

NORTH_A: Params = {"Region": "north", "Zone": "north-a"}


def told(reply: Reply) -> tuple[int, str]:
    return reply.ret_code, reply.message


# places, projects, the user


def test_regions_and_zones_of_the_two_lists_are_those_of_get_region(gateway: Gateway) -> None:
    rows = gateway.ask("GetRegion").fields["Regions"]
    zones = gateway.ask("ListZones").fields["Zones"]
    regions = gateway.ask("ListRegions").fields["Regions"]

    assert [(row["Region"], row["Zone"]) for row in rows] == [(zone["Region"], zone["Zone"]) for zone in zones]
    assert list(dict.fromkeys(row["Region"] for row in rows)) == [region["Region"] for region in regions]
    assert {(row["Region"], row["RegionName"]) for row in rows} == {(one["Region"], one["RegionName"]) for one in regions}
    assert (len(regions), len(zones)) == (33, 43)


@pytest.mark.parametrize("action", ["GetRegion", "GetProjectList", "GetUserInfo", "ListRegions", "ListZones"])
def test_actions_about_the_caller_and_places_ignore_odd_regions_and_projects(gateway: Gateway, action: str) -> None:
    odd: Params = {"Region": "nowhere", "Zone": "nowhere", "ProjectId": "org-no", "Limit": "many"}

    assert gateway.ask(action, odd).body == gateway.ask(action).body


def test_projects_count_their_custom_images_and_their_members(small_gateway: Gateway) -> None:
    def projects(pair: Pair) -> list[tuple[str, bool, int, int]]:
        rows = small_gateway.ask("GetProjectList", pair=pair).fields["ProjectSet"]
        return [(row["ProjectId"], row["IsDefault"], row["ResourceCount"], row["MemberCount"]) for row in rows]

    assert projects(small.ACME) == [("org-a", True, 2, 2), ("org-b", False, 1, 2)]
    assert projects(small.VIEWER) == [("org-a", True, 2, 2)]
    assert projects(small.WORKER) == [("org-b", False, 1, 2)]
    assert projects(small.RIVAL) == [("org-r", True, 1, 1)]


def test_the_user_is_told_who_it_is(small_gateway: Gateway) -> None:
    def user(pair: Pair) -> tuple[str, str, int, str]:
        (row,) = small_gateway.ask("GetUserInfo", pair=pair).fields["DataSet"]
        return row["UserName"], row["UserEmail"], row["Admin"], row["CompanyName"]

    assert user(small.ACME) == ("key-acme", "key-acme@acme.example", 1, "艾克美 GmbH")
    assert user(small.VIEWER) == ("key-viewer", "key-viewer@acme.example", 0, "艾克美 GmbH")


@pytest.mark.parametrize(
    ("action", "params", "rows"),
    [
        ("DescribePHostMachineType", {}, [("Both", "north-a", "10G"), ("Both", "north-a", "25G"), ("Both", "north-b", "10G")]),
        ("DescribePHostMachineType", {"Region": "north", "Zone": "north-b"}, [("Both", "north-b", "10G")]),
        ("DescribePHostMachineType", {"Zone": "north-b"}, [("Both", "north-b", "10G")]),
        ("DescribePHostMachineType", {"Region": "south"}, []),
        ("DescribePHostMachineType", {"Type": "Far"}, []),
        ("DescribeBaremetalMachineType", {"Region": "north"}, []),
        ("DescribeBaremetalMachineType", {"Region": "south"}, [("Far", "south-a", "25G")]),
    ],
    ids=str,
)
def test_machine_types_are_a_row_per_zone_and_cluster(
    small_gateway: Gateway, action: str, params: Params, rows: list[tuple[str, str, str]]
) -> None:
    found = small_gateway.ask(action, params, pair=small.ACME).fields["MachineTypes"]

    assert [(row["Type"], row["Zone"], row["Cluster"]) for row in found if row["Type"] != "Slow"] == rows


@pytest.mark.parametrize(
    ("action", "params", "code", "name"),
    [
        ("DescribeBaremetalMachineType", {}, 220, "Region"),
        ("DescribePHostMachineType", {"Region": "nowhere"}, 230, "Region"),
        ("DescribePHostMachineType", {"Region": "north", "Zone": "south-a"}, 230, "Zone"),
        ("DescribePHostMachineType", {"Zone": "nowhere"}, 230, "Zone"),
        ("DescribePHostMachineType", {"Type": "NoSuch"}, 230, "Type"),
        ("DescribePHostMachineType", {"ProjectId": "org-r"}, 292, "org-r"),
    ],
    ids=str,
)
def test_machine_types_name_what_is_wrong(small_gateway: Gateway, action: str, params: Params, code: int, name: str) -> None:
    reply = small_gateway.ask(action, params, pair=small.ACME)

    assert reply.ret_code == code
    assert f"[{name}]" in reply.message


@pytest.mark.parametrize("value", ["v2", "V2"])
def test_version_2_is_the_new_model_alone_and_anything_else_the_superset(small_gateway: Gateway, value: str) -> None:
    def row(**params: str) -> dict[str, Any]:
        rows: list[dict[str, Any]] = small_gateway.ask("DescribePHostMachineType", params, pair=small.ACME).fields[
            "MachineTypes"
        ]
        return rows[0]

    new, superset = row(APIVersion=value), row()

    assert set(superset) - set(new) == {"Clusters"}
    assert set(superset["CPU"]) - set(new["CPU"]) == {"Frequence"}
    assert set(superset["Disks"][0]) - set(new["Disks"][0]) == {"IOCap", "Count", "Type"}
    assert (superset["RaidSupported"], new["RaidSupported"]) == ("YES", "Yes")
    assert row(APIVersion="v3") == row(APIVersion="") == superset


def test_an_account_sees_stock_only_where_it_may_have_machines(small_gateway: Gateway) -> None:
    def zones(**params: str) -> Reply:
        return small_gateway.ask("DescribePHostMachineType", params, pair=small.FENCED, client=small.INSIDE)

    assert {row["Zone"] for row in zones().fields["MachineTypes"]} == {"north-a"}
    assert {row["Zone"] for row in zones(Region="north").fields["MachineTypes"]} == {"north-a"}
    assert told(zones(Region="north", Zone="north-b")) == (293, "Zone [north-b] not permitted")
    assert small_gateway.ask("ListZones", pair=small.FENCED, client=small.INSIDE).fields["Zones"][0]["Zone"] == "north-a"


@pytest.mark.parametrize("client", ["192.0.2.0", "192.0.2.255", "2001:db8::1", "::ffff:192.0.2.1"])
def test_an_account_works_from_its_networks(small_gateway: Gateway, client: str) -> None:
    assert small_gateway.ask("DescribePHostImage", NORTH_A, pair=small.FENCED, client=client).ret_code == 0


@pytest.mark.parametrize("client", ["192.0.3.0", "127.0.0.1", "2001:db9::1", "::ffff:198.51.100.1", "", "unix:"])
def test_an_account_works_from_nowhere_else(small_gateway: Gateway, client: str) -> None:
    assert told(small_gateway.ask("DescribePHostImage", NORTH_A, pair=small.FENCED, client=client)) == (294, "IP not permitted")
