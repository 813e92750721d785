"""Regions, zones, clusters, machine types and offers in SQL."""

from __future__ import annotations

from sqlalchemy import Connection

from phimage.catalog import tables
from phimage.catalog.revisions import TOPOLOGY
from phimage.catalog.versioned_table import VersionedTable
from phimage.model.ids import Revision
from phimage.model.topology import Cluster, MachineType, Offer, Region, Topology, Zone, topology

REGIONS = VersionedTable(tables.region, Region, ("id",), lambda region: TOPOLOGY)
ZONES = VersionedTable(tables.zone, Zone, ("id",), lambda zone: TOPOLOGY)
CLUSTERS = VersionedTable(tables.cluster, Cluster, ("id",), lambda cluster: TOPOLOGY)
MACHINE_TYPES = VersionedTable(tables.machine_type, MachineType, ("id",), lambda kind: TOPOLOGY)
OFFERS = VersionedTable(tables.offer, Offer, ("machine_type", "zone", "cluster"), lambda offer: TOPOLOGY)


def topology_at(connection: Connection, revision: Revision) -> Topology:
    """All places and machine types of a revision."""
    return topology(
        regions=REGIONS.at(connection, revision),
        zones=ZONES.at(connection, revision),
        clusters=CLUSTERS.at(connection, revision),
        machine_types=MACHINE_TYPES.at(connection, revision),
        offers=OFFERS.at(connection, revision),
    )
