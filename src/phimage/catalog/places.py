"""Regions, zones, clusters, machine types and offers in SQL.

They have one scope: they change rarely, and a view reads all of them together.
"""

from __future__ import annotations

from sqlalchemy import Connection, Text, select, type_coerce

from phimage.catalog import tables
from phimage.catalog.revisions import TOPOLOGY
from phimage.catalog.versioned_table import VersionedTable
from phimage.model.ids import Revision, ZoneId
from phimage.model.image import ImageType
from phimage.model.topology import Cluster, MachineType, Offer, Region, Topology, Zone, topology

REGIONS = VersionedTable(tables.region, Region, ("id",), lambda region: TOPOLOGY)
ZONES = VersionedTable(tables.zone, Zone, ("id",), lambda zone: TOPOLOGY)
CLUSTERS = VersionedTable(tables.cluster, Cluster, ("id",), lambda cluster: TOPOLOGY)
MACHINE_TYPES = VersionedTable(tables.machine_type, MachineType, ("id",), lambda kind: TOPOLOGY)
OFFERS = VersionedTable(tables.offer, Offer, ("machine_type", "zone", "cluster"), lambda offer: TOPOLOGY)


def topology_at(connection: Connection, revision: Revision) -> Topology:
    """All places, machine types and offers at a revision."""
    return topology(
        regions=REGIONS.at(connection, revision),
        zones=ZONES.at(connection, revision),
        clusters=CLUSTERS.at(connection, revision),
        machine_types=MACHINE_TYPES.at(connection, revision),
        offers=OFFERS.at(connection, revision),
    )


def custom_images_in(connection: Connection, zone: ZoneId) -> int:
    """The number of custom images in a zone now."""
    image = tables.image.c
    named = type_coerce(image.zones, Text).contains(f'"{zone}"', autoescape=True)  # SQLite's LIKE ignores case
    rows = connection.execute(
        select(image.zones).where(image.until == tables.LIVING, image.type == ImageType.CUSTOM.value, named)
    )
    return sum(zone in row.zones for row in rows)
