"""The index of places and machine types."""

from __future__ import annotations

from phimage.model.ids import RegionId, ZoneId
from phimage.model.topology import topology
from tests.examples import cluster, machine_type, offer, offering, region, zone


def test_every_index_is_in_the_order_of_its_lists_whatever_the_order_it_was_given_in() -> None:
    regions = [region("hk", 3), region("cn-bj2", 1), region("cn-sh2", 2)]
    zones = [zone("hk-02", "hk"), zone("cn-bj2-05"), zone("hk-01", "hk"), zone("cn-bj2-02")]
    kinds = [machine_type("SSD-1"), machine_type("DB-2")]
    offers = [offer("SSD-1", "hk-02", "1G"), offer("DB-2", "hk-02", "25G"), offer("DB-2", "hk-01", "25G")]

    found = topology(regions, zones, [cluster("25G"), cluster("10G")], kinds, offers)

    assert list(found.regions) == ["cn-bj2", "cn-sh2", "hk"]
    assert list(found.zones) == ["cn-bj2-02", "cn-bj2-05", "hk-01", "hk-02"]
    assert list(found.clusters) == ["10G", "25G"]
    assert list(found.machine_types) == ["DB-2", "SSD-1"]
    assert found.offers == (offers[2], offers[1], offers[0])


def test_zones_of_a_region_are_its_own() -> None:
    found = topology([region()], [zone("hk-01", "hk"), zone("cn-bj2-05"), zone("cn-bj2-02")], [], [], [])

    assert found.zones_of(RegionId("cn-bj2")) == ("cn-bj2-02", "cn-bj2-05")
    assert found.zones_of(RegionId("nowhere")) == ()


def test_offers_are_indexed_by_zone_and_machine_type() -> None:
    found = offering(offer("DB-2", "hk-01", "25G"), offer("DB-2", "hk-01", "10G"), offer("DB-2", "hk-02", "1G"))

    assert found.offered[ZoneId("hk-01")] == {"DB-2": {"10G", "25G"}}
    assert found.offered[ZoneId("hk-02")] == {"DB-2": {"1G"}}


def test_an_empty_catalogue_has_no_default_cluster() -> None:
    assert topology([], [], [], [], []).default_cluster() is None
    assert offering(default="10G").default_cluster() == "10G"
