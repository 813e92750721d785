"""`phimage region`, `zone`, `cluster` and `machine-type`, beside the demonstration."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from tests.e2e import naive
from tests.e2e.process import Phimage

OF_ZONE = naive.offered("cn-bj2-02")


def test_regions_zones_and_clusters_are_listed(demo_cli: Phimage) -> None:
    regions = {row["Region"]: row for row in demo_cli.json("region", "ls")["RegionSet"]}
    zones = [row["Zone"] for row in demo_cli.json("zone", "ls", "--region", "cn-bj2")["ZoneSet"]]
    assert regions["cn-bj2"]["Zones"] == zones == ["cn-bj2-02", "cn-bj2-03", "cn-bj2-05"]
    assert len(demo_cli.json("zone", "ls")["ZoneSet"]) == 43

    clusters = demo_cli.json("cluster", "ls", "--zone", "cn-bj2-02")["ClusterSet"]
    assert {row["Cluster"] for row in clusters} == set().union(*OF_ZONE.values())
    shown = demo_cli.well("cluster", "ls").splitlines()
    assert [line.split()[0] for line in shown] == ["CLUSTER", "1G", "10G", "25G"]
    assert "default" in shown[-1]


def test_machine_types_are_listed_with_their_stock(demo_cli: Phimage) -> None:
    here = demo_cli.json("machine-type", "ls", "--zone", "cn-bj2-02")["MachineTypeSet"]
    assert {row["MachineType"]: {offer["Cluster"] for offer in row["Offers"]} for row in here} == OF_ZONE
    in_stock = demo_cli.json("machine-type", "ls", "--cluster", "1G", "--in-stock")["MachineTypeSet"]
    assert {offer["Cluster"] for row in in_stock for offer in row["Offers"]} == {"1G"}
    assert all(offer["Stock"] for row in in_stock for offer in row["Offers"])

    shown = demo_cli.well("machine-type", "ls", "--zone", "cn-bj2-02")
    assert re.search(r"DB-2 +cn-bj2-02 +1G: 3, 10G: 6 ", shown)
    assert "sold out" in shown
    none = demo_cli.run("machine-type", "ls", "--cluster", "100G")
    assert (none.code, none.out) == (0, "no such machine types\n")
    assert none.err == "there is no cluster 100G there: see phimage cluster ls\n"


@pytest.mark.parametrize(
    "noun", ["machine-type", *(pytest.param(noun, marks=pytest.mark.more) for noun in ("region", "zone", "cluster"))]
)
def test_they_fit_a_terminal_of_eighty_columns(demo_cli: Phimage, noun: str) -> None:
    shown = demo_cli.in_terminal(noun, "ls")
    assert shown.code == 0
    assert max(cell_len(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line)) for line in shown.out.splitlines()) <= 80


@pytest.mark.parametrize(
    ("options", "command"),
    [
        (("--zone", "nowhere"), "`phimage zone ls` lists the zones"),
        (("--region", "nowhere"), "`phimage region ls` lists the regions"),
    ],
)
def test_a_wrong_name_says_which_command_lists_the_right_ones(
    demo_cli: Phimage, options: tuple[str, str], command: str
) -> None:
    refused = demo_cli.run("image", "ls", *options)
    assert refused.code == 1
    assert refused.err.endswith(f"; {command})\n")
