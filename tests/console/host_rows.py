"""A host of the demonstration's project whose agent waits, without a machine: for pages that show hosts and order something."""

from __future__ import annotations

import time

from phimage import demo
from phimage.catalog.hosts import HOSTS, AgentContact, begin_contact, forget_contact
from phimage.catalog.orders import abort_order, end_order, order_of_host
from phimage.installation import command_author, open_catalog
from phimage.model.host import Host, HostState, ReportedDisk, failed
from phimage.model.ids import ClusterId, HostId, MachineTypeId, ManifestDigest, ProjectId
from phimage.model.order import OrderState
from phimage.settings import Settings

STOPPED = HostId("upm-stopped1")


def add_stopped_host(settings: Settings, name: str = "web-7", heard: float = 3600.0) -> None:
    """Put a host into rescue that was installed with the demonstration's image. Its agent is heard for so many seconds more."""
    catalog = open_catalog(settings)
    now = time.time()
    disk = ReportedDisk(path="/dev/sda", size=8 << 30, serial="S1")
    host = Host(
        id=STOPPED,
        name=name,
        zone=demo.ZONE,
        machine_type=MachineTypeId("DB-2"),
        cluster=ClusterId("10G"),
        serial="SN-7",
        macs=("aa:bb:cc:dd:ee:07",),
        hint="serial:S1",
        created=int(now) - 86_400,
        state=HostState.RESCUE,
        project=ProjectId("org-default"),
        assigned=int(now) - 80_000,
        image=demo.WITH_DISK,
        manifest=ManifestDigest("0" * 64),
        deployed=int(now) - 70_000,
        disks=(disk,),
    )
    with catalog.change(command_author("Test")) as change:
        HOSTS.put(change, host)
        begin_contact(change.connection, AgentContact(STOPPED, now + heard, "192.0.2.77", "0.1.0", disk))
    catalog.database.close()


def remove_stopped_host(settings: Settings) -> None:
    """Remove the host, whatever its state."""
    catalog = open_catalog(settings)
    with catalog.change(command_author("Test")) as change:
        host = HOSTS.find(change.connection, STOPPED)
        assert host is not None
        abort_order(change, host, "the test is over")
        forget_contact(change.connection, STOPPED)
        HOSTS.withdraw(change, host)
    catalog.database.close()


def leave_dirty(settings: Settings) -> None:
    """Let the agent of the host fail to clean the disk."""
    catalog = open_catalog(settings)
    with catalog.change(command_author("Test")) as change:
        host = HOSTS.find(change.connection, STOPPED)
        assert host is not None
        order = order_of_host(change.connection, STOPPED)
        assert order is not None
        end_order(change.connection, order, OrderState.FAILED, time.time(), error="no disk")
        HOSTS.put(change, failed(host, order.kind, "no disk"))
    catalog.database.close()
