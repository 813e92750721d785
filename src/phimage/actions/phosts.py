"""Hosts for their tenants (wire-protocol 6.6): describing them, and installing an image on one.

phimage does not own power, networks or prices: Actions for these do not exist. Fields about them are empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from phimage.actions.host_rows import contact_of, is_on, seen_contacts, seen_images
from phimage.actions.hosts import HostIdParam, HostNameParam
from phimage.actions.params import RegionParam, ZoneParam, check_zone_allowed, zones_asked
from phimage.actions.service import Call
from phimage.catalog import hosts
from phimage.catalog.engine import Connection
from phimage.catalog.hosts import HOSTS, AgentContact
from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.catalog.images import IMAGES
from phimage.catalog.orders import add_order
from phimage.errors import UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.explain import no_bytes, reasons
from phimage.model.host import Host, HostState, WrongState, deploying
from phimage.model.ids import HostId, ImageId, ZoneId, new_order_id
from phimage.model.image import Image, ImageType, Query, State
from phimage.model.image_bytes import ImageBytes
from phimage.model.order import Order, OrderKind
from phimage.model.topology import MachineType, Topology

PM_STATUS: Mapping[HostState, str] = {
    HostState.RESCUE: "Stopped",
    HostState.CAPTURING: "Stopped",
    HostState.DEPLOYING: "Starting",
    HostState.RUNNING: "Running",
    HostState.FAILED: "InstallFailed",
}
"""The states that tenants see, in the words of their clients."""


class ReserveDisk(StrEnum):
    """Whether data disks keep their content."""

    YES = "Yes"


class DescribePHost(Struct, rename="pascal", frozen=True, kw_only=True):
    """List the hosts of the project."""

    region: RegionParam
    zone: ZoneParam | None = None
    p_host_id: Annotated[tuple[HostIdParam, ...], Meta(description="ids of the hosts to list; unknown ids are ignored")] = ()
    offset: Annotated[int, Meta(ge=0, le=2_147_483_647, description="number of hosts to skip")] = 0
    limit: Annotated[int, Meta(ge=0, le=1000, description="max hosts of the page; 0 for TotalCount alone")] = 20


class ReinstallPHost(Struct, rename="pascal", frozen=True, kw_only=True):
    """Install an image on a stopped host of the project. All is checked before anything changes.

    Other disks than the system disk are never written.
    """

    region: RegionParam
    zone: ZoneParam
    p_host_id: HostIdParam
    image_id: Annotated[ImageId, Meta(max_length=64, description="image to install; absent for the one that it has")] | None = (
        None
    )
    name: HostNameParam | None = None
    remark: Annotated[str, Meta(max_length=255, description="remark, free text")] | None = None
    tag: Annotated[str, Meta(max_length=63, description="business group, free text")] | None = None
    password: Annotated[str, Meta(max_length=255, description="must be blank: phimage sets no passwords")] = ""
    reserve_disk: Annotated[ReserveDisk, Meta(description="data disks are always kept")] = ReserveDisk.YES


class HostCpu(Struct, rename="pascal", frozen=True, kw_only=True):
    """Processors of a host."""

    model: Annotated[str, Meta(description="model of the processor")]
    frequence: Annotated[float, Meta(description="clock frequency in GHz")]
    count: Annotated[int, Meta(description="number of sockets")]
    core_count: Annotated[int, Meta(description="number of logical cores of all sockets together")]


class HostDisk(Struct, frozen=True, kw_only=True):
    """A group of equal disks of a host, as its machine type has them."""

    space: Annotated[int, Meta(description="capacity of one disk in GB")] = field(name="Space")
    count: Annotated[int, Meta(description="number of disks")] = field(name="Count")
    type: Annotated[str, Meta(description="SSD, SAS, ...")] = field(name="Type")
    name: Annotated[str, Meta(description="sys (operating system) or data")] = field(name="Name")
    io_cap: Annotated[int, Meta(description="IO limit of one disk; 0 for none")] = field(name="IOCap")
    drive: Annotated[str, Meta(description="not stored, always empty")] = field(name="Drive", default="")
    disk_id: Annotated[str, Meta(description="not stored, always empty")] = field(name="DiskId", default="")
    is_boot: Annotated[str, Meta(description="True for the system disk, else False")] = field(name="IsBoot")


class HostIp(Struct, frozen=True, kw_only=True):
    """An IP address. phimage manages no networks, so no host has one here."""

    operator_name: Annotated[str, Meta(description="network operator")] = field(name="OperatorName")
    ip_id: Annotated[str, Meta(description="id of the address")] = field(name="IPId")
    ip_addr: Annotated[str, Meta(description="the address")] = field(name="IPAddr")
    mac_addr: Annotated[str, Meta(description="MAC address")] = field(name="MACAddr")
    bandwidth: Annotated[int, Meta(description="bandwidth in Mbit/s")] = field(name="Bandwidth")
    subnet_id: Annotated[str, Meta(description="subnet")] = field(name="SubnetId")
    vpc_id: Annotated[str, Meta(description="VPC")] = field(name="VPCId")


class PHostSet(Struct, frozen=True, kw_only=True):
    """One host. The types are those that every client decodes."""

    zone: Annotated[str, Meta(description="zone")] = field(name="Zone")
    p_host_id: Annotated[str, Meta(description="id of the host")] = field(name="PHostId")
    sn: Annotated[str, Meta(description="serial number of the machine")] = field(name="SN")
    pm_status: Annotated[
        str,
        Meta(
            description="Stopped (in the rescue system), Starting (being installed), Running (installed; it does not say that "
            "the system booted), or InstallFailed"
        ),
    ] = field(name="PMStatus")
    name: Annotated[str, Meta(description="name of the host")] = field(name="Name")
    remark: Annotated[str, Meta(description="remark, free text")] = field(name="Remark")
    tag: Annotated[str, Meta(description="business group, free text")] = field(name="Tag")
    image_name: Annotated[str, Meta(description="name of the image that it was installed with; empty if unknown")] = field(
        name="ImageName"
    )
    image_id: Annotated[str, Meta(description="id of this image; an addition of phimage")] = field(name="ImageId")
    os_name: Annotated[str, Meta(description="operating system of this image")] = field(name="OSname")
    os_type: Annotated[str, Meta(description="operating system family of this image")] = field(name="OSType")
    create_time: Annotated[int, Meta(description="since when the project has it, Unix seconds")] = field(name="CreateTime")
    expire_time: Annotated[int, Meta(description="always 0: hosts do not expire")] = field(name="ExpireTime", default=0)
    charge_type: Annotated[str, Meta(description="not stored, always empty")] = field(name="ChargeType", default="")
    power_state: Annotated[
        str,
        Meta(description="on when installed, or when its agent was heard within a minute (unknown in the past); else off"),
    ] = field(name="PowerState")
    p_host_type: Annotated[str, Meta(description="machine type")] = field(name="PHostType")
    memory: Annotated[int, Meta(description="memory in MB")] = field(name="Memory")
    cpu_set: Annotated[HostCpu, Meta(description="the processors")] = field(name="CPUSet")
    disk_set: Annotated[tuple[HostDisk, ...], Meta(description="the disks, in groups of equal disks")] = field(name="DiskSet")
    ip_set: Annotated[tuple[HostIp, ...], Meta(description="always empty: phimage manages no networks")] = field(
        name="IPSet", default=()
    )
    cluster: Annotated[str, Meta(description="network cluster")] = field(name="Cluster")
    auto_renew: Annotated[str, Meta(description="always No")] = field(name="AutoRenew", default="No")
    is_support_kvm: Annotated[str, Meta(description="always No")] = field(name="IsSupportKVM", default="No")
    components: Annotated[str, Meta(description="not stored, always empty")] = field(name="Components", default="")
    raid_supported: Annotated[str, Meta(description="YES or NO")] = field(name="RaidSupported")
    phost_class: Annotated[str, Meta(description="LocalDisk or CloudDisk")] = field(name="PhostClass")
    boot_disk_state: Annotated[str, Meta(description="ImageMaking while an image is captured, else Normal")] = field(
        name="BootDiskState"
    )
    rdma_cluster_id: Annotated[str, Meta(description="not stored, always empty")] = field(name="RdmaClusterId", default="")
    gpu: Annotated[int, Meta(description="number of accelerators")] = field(name="GPU")
    gpu_type: Annotated[str, Meta(description="model of the accelerators")] = field(name="GPUType")
    failure: Annotated[str, Meta(description="why the last order failed; an addition of phimage")] = field(name="Failure")


class DescribePHostResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """A page of hosts."""

    total_count: Annotated[int, Meta(description="number of hosts on all pages")]
    p_host_set: Annotated[tuple[PHostSet, ...], Meta(description="the hosts of the page, in the order of their assignment")]


class ReinstallPHostResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The host that is being installed."""

    p_host_id: Annotated[str, Meta(description="id of the host")]


def describe_phost(request: DescribePHost, call: Call) -> DescribePHostResponse:
    topology = call.view.topology()
    zones = zones_asked(request.region, request.zone, call.caller.tenant, topology)
    check_zone_allowed(zones, call.caller.tenant)
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        found = [
            host
            for host in hosts.hosts_of(connection, call.view.revision, call.project)
            if host.zone in zones and (not request.p_host_id or host.id in request.p_host_id)
        ]
        found.sort(key=lambda host: (host.assigned, host.id))
        page = found[request.offset : request.offset + request.limit]
        contacts = seen_contacts(connection, [host.id for host in page], call)
        images = seen_images(connection, page, call)
    return DescribePHostResponse(
        total_count=len(found),
        p_host_set=tuple(_row(host, topology, images.get(host.image), contacts.get(host.id), call.time) for host in page),
    )


def reinstall_phost(request: ReinstallPHost, call: Call) -> ReinstallPHostResponse:
    topology = call.view.topology()
    zones = zones_asked(request.region, request.zone, call.caller.tenant, topology)
    check_zone_allowed(zones, call.caller.tenant)
    if request.password:  # docs/decisions.md#no-passwords
        detail = "phimage sets no passwords: leave it blank, and log in with an SSH key that is in the image"
        raise UnavailableParam("Password", detail=detail)
    with call.service.change(call) as change:
        host, contact = own_host(change.connection, request.p_host_id, zones, call)
        check_agent_is_there(host, contact, call)
        order_id = new_order_id(call.service.random)
        try:
            after = deploying(host, order_id)
        except WrongState as error:
            raise UnavailableParam("PHostId", detail=str(error)) from None
        image = request.image_id or host.image
        if not image:
            raise UnavailableParam("ImageId", detail=f"phimage does not know what {host.id} runs: name the image to install")
        content = _deployable(change.connection, image, host, contact, topology, call)
        add_order(
            change.connection,
            Order(
                id=order_id,
                host=host.id,
                kind=OrderKind.DEPLOY,
                created=call.time,
                heard=call.time,
                image=image,
                manifest=content.manifest,
                project=call.project,
                account=call.caller.account.id,
                actor=call.caller.actor,
            ),
        )
        given = {"tenant_name": request.name, "remark": request.remark, "tag": request.tag}
        HOSTS.put(change, replace(after, **{name: text for name, text in given.items() if text is not None}))
    return ReinstallPHostResponse(p_host_id=host.id)


def own_host(connection: Connection, id: HostId, zones: tuple[ZoneId, ...], call: Call) -> tuple[Host, AgentContact | None]:
    """A host of the project, with its agent's last word. Raises the same UnavailableParam for an unknown host as for one of
    another project."""
    host = HOSTS.find(connection, id)
    if host is None or host.project != call.project or host.zone not in zones:
        raise UnavailableParam("PHostId", detail="there is no such host in this zone, or this project cannot see it")
    return host, contact_of(connection, id)


def check_agent_is_there(host: Host, contact: AgentContact | None, call: Call) -> None:
    """Raises UnavailableParam for a stopped host whose agent was not heard within a minute."""
    if host.state in (HostState.RESCUE, HostState.FAILED) and not is_on(contact, call.time):
        silence = f"was not heard for {call.time - contact.heard:.0f} seconds" if contact else "was never heard"
        raise UnavailableParam("PHostId", detail=f"its agent {silence}: boot the rescue system, or ask your operator")


def _deployable(
    connection: Connection, id: ImageId, host: Host, contact: AgentContact | None, topology: Topology, call: Call
) -> ImageBytes:
    """The bytes of an image that a list for this host has and that fit its disk. Raises UnavailableParam."""
    image = IMAGES.find(connection, id)
    if image is None or (image.type is ImageType.CUSTOM and image.project != call.project):
        raise UnavailableParam("ImageId", detail="there is no such image, or this project cannot see it")
    query = Query(
        project=call.project,
        zones=(host.zone,),
        ids=frozenset({id}),
        machine_type=host.machine_type,
        cluster=host.cluster,
    )
    for reason in reasons(image, query, topology):
        raise UnavailableParam("ImageId", detail=f"{reason.why}: {reason.remedy}")
    content = IMAGE_BYTES.find(connection, id)
    if content is None or not content.stored:
        raise UnavailableParam("ImageId", detail=no_bytes(image.type, image.state))
    if image.state is not State.AVAILABLE:
        raise UnavailableParam("ImageId", detail=f"the image is {image.state.value}: choose one that is Available")
    if contact is not None and contact.disk is not None and contact.disk.size < content.size:
        detail = f"the image has {content.size} bytes and the system disk {contact.disk.size}: choose a smaller image"
        raise UnavailableParam("ImageId", detail=detail)
    return content


def _row(host: Host, topology: Topology, image: Image | None, contact: AgentContact | None, now: float) -> PHostSet:
    kind = topology.machine_types.get(host.machine_type)
    is_powered = host.state in (HostState.RUNNING, HostState.DEPLOYING) or is_on(contact, now)
    return PHostSet(
        zone=host.zone,
        p_host_id=host.id,
        sn=host.serial,
        pm_status=PM_STATUS[host.state],
        name=host.tenant_name or host.name,
        remark=host.remark,
        tag=host.tag or "Default",
        image_name=image.name if image else "",
        image_id=host.image,
        os_name=image.os_name if image else "",
        os_type=image.os_type if image else "",
        create_time=host.assigned,
        power_state="on" if is_powered else "off",
        p_host_type=host.machine_type,
        memory=kind.memory * 1024 if kind else 0,
        cpu_set=_cpu(kind),
        disk_set=_disks(kind),
        cluster=host.cluster,
        raid_supported="YES" if kind and kind.raid_supported else "NO",
        phost_class=kind.disk_class if kind else "LocalDisk",
        boot_disk_state="ImageMaking" if host.state is HostState.CAPTURING else "Normal",
        gpu=kind.gpu.count if kind and kind.gpu else 0,
        gpu_type=kind.gpu.name if kind and kind.gpu else "",
        failure=host.failure,
    )


def _cpu(kind: MachineType | None) -> HostCpu:
    if kind is None:  # the catalogue dropped the type while it has hosts
        return HostCpu(model="", frequence=0.0, count=0, core_count=0)
    return HostCpu(model=kind.cpu.model, frequence=float(kind.cpu.frequency), count=kind.cpu.count, core_count=kind.cpu.cores)


def _disks(kind: MachineType | None) -> tuple[HostDisk, ...]:
    return tuple(
        HostDisk(
            space=disk.size,
            count=disk.count,
            type=disk.type,
            name="sys" if disk.role == "system" else "data",
            io_cap=disk.io_cap,
            is_boot="True" if disk.role == "system" else "False",
        )
        for disk in (kind.disks if kind else ())
    )


ACTIONS = (
    Action(DescribePHost, DescribePHostResponse, describe_phost, Right.READ, project=True),
    Action(ReinstallPHost, ReinstallPHostResponse, reinstall_phost, Right.CHANGE, project=True, changes=True, ucloud=True),
)
