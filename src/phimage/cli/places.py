"""`phimage region`, `zone`, `cluster` and `machine-type`: what machines there are, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from phimage.cli.output import json_option, note, print_json, print_table
from phimage.cli.profile import Session, signed
from phimage.model.ids import natural

MAX_NAMES = 3
"""Max names in a cell; a number stands for the others."""

region_option = click.option("--region", help="Only of this region, such as cn-bj2.")
zone_option = click.option("--zone", help="Only of this zone, such as cn-bj2-02.")


@click.group(short_help="List the regions.")
def region() -> None:
    """List the regions."""


@click.group(short_help="List the zones.")
def zone() -> None:
    """List the availability zones."""


@click.group(short_help="List the network clusters.")
def cluster() -> None:
    """List the network clusters."""


@click.group(name="machine-type", short_help="List the machine types and their stock.")
def machine_type() -> None:
    """List the machine types and their stock."""


@region.command("ls", short_help="List the regions.")
@json_option
@signed
def list_regions(session: Session, as_json: bool) -> None:
    """List the regions that the account may use. One is the default, in which clients start.

    \b
    Example:
      phimage region ls
    """
    rows = session.client.call("GetTopology").fields["RegionSet"]
    if as_json:
        print_json({"RegionSet": rows})
        return
    print_table(
        ("REGION", "NUMBER", "NAME", "ZONES", "DEFAULT"),
        (
            (
                row["Region"],
                str(row["RegionId"]),
                row["RegionNameEn"] or row["RegionName"],
                _few(row["Zones"]),
                "default" if row["IsDefault"] else "",
            )
            for row in rows
        ),
        empty="no regions: an operator can load some with phimage catalog starter",
    )


@zone.command("ls", short_help="List the zones.")
@region_option
@json_option
@signed
def list_zones(session: Session, region: str | None, as_json: bool) -> None:
    """List the zones that the account may use, with the clusters and the number of machine types that each offers.

    \b
    Examples:
      phimage zone ls
      phimage zone ls --region cn-bj2
    """
    rows = session.client.call("GetTopology", Region=region).fields["ZoneSet"]
    if as_json:
        print_json({"ZoneSet": rows})
        return
    print_table(
        ("ZONE", "REGION", "NAME", "CLUSTERS", "TYPES"),
        (
            (
                row["Zone"],
                row["Region"],
                row["ZoneNameEn"] or row["ZoneName"],
                ", ".join(sorted(row["Clusters"], key=natural)) or "-",
                str(len(row["MachineTypes"])),
            )
            for row in rows
        ),
        whole=2,
        empty="no zones: an operator can load some with phimage catalog starter",
    )


@cluster.command("ls", short_help="List the network clusters.")
@region_option
@zone_option
@json_option
@signed
def list_clusters(session: Session, region: str | None, zone: str | None, as_json: bool) -> None:
    """List the network clusters and the zones that offer machine types on them.

    \b
    Example:
      phimage cluster ls --zone cn-bj2-02
    """
    rows = session.client.call("GetTopology", Region=region, Zone=zone).fields["ClusterSet"]
    if as_json:
        print_json({"ClusterSet": rows})
        return
    print_table(
        ("CLUSTER", "DEFAULT", "ZONES", "DESCRIPTION"),
        (
            (row["Cluster"], "default" if row["IsDefault"] else "", _few(row["Zones"]), row["Description"] or "-")
            for row in sorted(rows, key=lambda row: natural(row["Cluster"]))
        ),
        whole=2,
        empty="no clusters",
    )


@machine_type.command("ls", short_help="List the machine types and their stock.")
@region_option
@zone_option
@click.option("--cluster", help="Only those on this cluster, such as 25G.")
@click.option("--in-stock", is_flag=True, help="Only those of which there are machines.")
@json_option
@signed
def list_machine_types(
    session: Session, region: str | None, zone: str | None, cluster: str | None, in_stock: bool, as_json: bool
) -> None:
    """List the machine types: a line for each zone that offers one, with the number of machines in stock on each cluster.

    \b
    Examples:
      phimage machine-type ls --zone cn-bj2-02
      phimage machine-type ls --cluster 25G --in-stock
    """
    found = session.client.call("GetTopology", Region=region, Zone=zone).fields
    rows = [{**row, "Offers": _offers(row, cluster, in_stock)} for row in found["MachineTypeSet"]]
    if cluster is not None or in_stock:
        rows = [row for row in rows if row["Offers"]]
    if as_json:
        print_json({"MachineTypeSet": rows})
        return
    print_table(
        ("MACHINE TYPE", "ZONE", "STOCK", "CORES", "GB", "DISKS", "GPU"),
        (
            (row["MachineType"], of, stock, str(row["Cores"]), str(row["Memory"]), row["DiskClass"], row["Gpu"] or "-")
            for row in rows
            for of, stock in _stock(row["Offers"])
        ),
        whole=3,
        empty="no such machine types",
    )
    if cluster is not None and not rows and cluster not in [one["Cluster"] for one in found["ClusterSet"]]:
        note(f"there is no cluster {cluster} there: see phimage cluster ls")


def _offers(row: dict[str, Any], cluster: str | None, in_stock: bool) -> list[dict[str, Any]]:
    return [offer for offer in row["Offers"] if cluster in (None, offer["Cluster"]) and (offer["Stock"] > 0 or not in_stock)]


def _stock(offers: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """The stock by zone: `1G: 3, 10G: sold out`."""
    zones: dict[str, list[str]] = {}
    for offer in sorted(offers, key=lambda offer: (offer["Zone"], natural(offer["Cluster"]))):
        zones.setdefault(offer["Zone"], []).append(f"{offer['Cluster']}: {offer['Stock'] or 'sold out'}")
    return [(zone, ", ".join(stock)) for zone, stock in zones.items()] or [("-", "not offered")]


def _few(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "") or "-"
