"""Machine types in the two formats that clients decode (wire-protocol 6.7).

Without `APIVersion=v2`, some clients decode the old format and some the new one, so the response is a superset for both: no
Components, no Price, stock in the row and in Clusters, clock frequency as text and as a number.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

from phimage.actions.params import RegionParam, ZoneParam, check_zone_allowed, zones_anywhere
from phimage.actions.service import Call
from phimage.errors import UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import MachineTypeId, RegionId
from phimage.model.topology import DiskGroup, MachineType, Offer, Topology, with_stock


class DescribePHostMachineType(Struct, rename="pascal", frozen=True, kw_only=True):
    """List the machine types with local disks, with a row for each zone and cluster that offers one."""

    region: Annotated[RegionId | None, Meta(description="region, such as cn-bj2; absent means every region")] = None
    zone: ZoneParam | None = None
    type: Annotated[MachineTypeId, Meta(max_length=64, description="name of a machine type: list it alone")] | None = None
    api_version: Annotated[str, Meta(max_length=8, description="v2 for the new format alone")] = field(
        default="", name="APIVersion"
    )


class DescribeBaremetalMachineType(DescribePHostMachineType, rename="pascal", frozen=True, kw_only=True):
    """List the machine types with cloud disks, with a row for each zone and cluster that offers one."""

    region: RegionParam


class CPUSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """Processors. `Frequence` is the old name of `Frequency`, and a number."""

    model: Annotated[str, Meta(description="model of the processor")]
    frequency: Annotated[str, Meta(description="clock frequency in GHz")]
    frequence: Annotated[float | UnsetType, Meta(description="clock frequency in GHz as a number; absent with v2")] = UNSET
    count: Annotated[int, Meta(description="number of sockets")]
    core_count: Annotated[int, Meta(description="number of logical cores of all sockets together")]


class DiskSet(Struct, frozen=True, kw_only=True):
    """A group of equal disks. Two clients ignore the case of names, so `IoCap` and `IOCap` are always equal."""

    space: Annotated[int, Meta(description="capacity of one disk in GB")] = field(name="Space")
    name: Annotated[str, Meta(description="use of the disks: sys (operating system) or data")] = field(name="Name")
    io_cap: Annotated[int, Meta(description="IO limit of one disk; 0 for none")] = field(name="IoCap")
    number: Annotated[int, Meta(description="number of disks")] = field(name="Number")
    unit_size: Annotated[int, Meta(description="capacity of one disk in GB")] = field(name="UnitSize")
    raid_level: Annotated[int, Meta(description="number of the RAID level; 0 for none")] = field(name="RaidLevel")
    disk_type: Annotated[int, Meta(description="0 for a local disk, 1 for a cloud disk")] = field(name="DiskType")
    old_io_cap: Annotated[int | UnsetType, Meta(description="same as IoCap; absent with v2")] = field(
        name="IOCap", default=UNSET
    )
    count: Annotated[int | UnsetType, Meta(description="same as Number; absent with v2")] = field(name="Count", default=UNSET)
    type: Annotated[str | UnsetType, Meta(description="SSD, SAS, ...; absent with v2")] = field(name="Type", default=UNSET)


class ClusterStock(Struct, rename="pascal", frozen=True, kw_only=True):
    """The stock on a cluster, in the old format."""

    name: Annotated[str, Meta(description="network cluster")]
    stock_status: Annotated[str, Meta(description="Available or SoldOut")]


class GpuInfo(Struct, rename="pascal", frozen=True, kw_only=True):
    """Accelerators."""

    name: Annotated[str, Meta(description="model of the card")]
    count: Annotated[int, Meta(description="number of cards")]
    memory: Annotated[str, Meta(description="memory of one card, such as 16G")]
    performance: Annotated[str, Meta(description="free text for people")]


class MachineTypeSet(Struct, frozen=True, kw_only=True):
    """A machine type in a zone, on a cluster."""

    type: Annotated[str, Meta(description="name of the machine type, such as DB-2")] = field(name="Type")
    zone: Annotated[str, Meta(description="zone")] = field(name="Zone")
    cluster: Annotated[str, Meta(description="network cluster, such as 25G")] = field(name="Cluster")
    stock: Annotated[int, Meta(description="number of machines in stock")] = field(name="Stock")
    stock_status: Annotated[str, Meta(description="Available or SoldOut")] = field(name="StockStatus")
    cpu: Annotated[CPUSet, Meta(description="the processors")] = field(name="CPU")
    memory: Annotated[int, Meta(description="memory in MB")] = field(name="Memory")
    disks: Annotated[tuple[DiskSet, ...], Meta(description="the disks, in groups of equal disks")] = field(name="Disks")
    raid_supported: Annotated[str, Meta(description="whether RAID can be chosen: Yes or No with v2, else YES or NO")] = field(
        name="RaidSupported"
    )
    is_baremetal: Annotated[bool, Meta(description="whether its disks are cloud disks")] = field(name="IsBaremetal")
    is_gpu: Annotated[bool, Meta(description="whether it has accelerators")] = field(name="IsGpu")
    is_new: Annotated[bool, Meta(description="always true; clients require the field")] = field(name="IsNew", default=True)
    gpu_info: Annotated[GpuInfo, Meta(description="the accelerators; with empty fields for none")] = field(name="GpuInfo")
    on_sale: Annotated[bool, Meta(description="whether there is stock")] = field(name="OnSale")
    scene: Annotated[tuple[str, ...], Meta(description="typical uses, for people")] = field(name="Scene")
    clusters: Annotated[
        tuple[ClusterStock, ...] | UnsetType, Meta(description="the clusters of the zone that offer it; absent with v2")
    ] = field(name="Clusters", default=UNSET)


class DescribePHostMachineTypeResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """Machine types by name, zone and cluster."""

    machine_types: Annotated[tuple[MachineTypeSet, ...], Meta(description="a row for each machine type, zone and cluster")]


def describe_machine_types(request: DescribePHostMachineType, call: Call) -> DescribePHostMachineTypeResponse:
    topology = with_stock(call.view.topology(), call.view.host_stock())
    zones = zones_anywhere(request.region, request.zone, call.caller.tenant, topology)
    disk_class = "CloudDisk" if isinstance(request, DescribeBaremetalMachineType) else "LocalDisk"
    kinds = topology.machine_types
    if request.type is not None and request.type not in kinds:
        raise UnavailableParam("Type", detail=f"expected one of {', '.join(kinds) or 'none'}")
    check_zone_allowed((request.zone,) if request.zone else (), call.caller.tenant)
    v2 = request.api_version.lower() == "v2"
    return DescribePHostMachineTypeResponse(
        machine_types=tuple(
            _row(kinds[offer.machine_type], offer, topology, v2=v2)
            for offer in topology.offers
            if offer.zone in zones
            and kinds[offer.machine_type].disk_class == disk_class
            and (request.type is None or offer.machine_type == request.type)
        )
    )


def _row(kind: MachineType, offer: Offer, topology: Topology, *, v2: bool) -> MachineTypeSet:
    stock = _stock(offer)
    raid = "Yes" if kind.raid_supported else "No"
    gpu = kind.gpu
    siblings = (other for other in topology.offers if (other.machine_type, other.zone) == (offer.machine_type, offer.zone))
    return MachineTypeSet(
        type=kind.id,
        zone=offer.zone,
        cluster=offer.cluster,
        stock=offer.stock,
        stock_status=stock,
        cpu=CPUSet(
            model=kind.cpu.model,
            frequency=kind.cpu.frequency,
            frequence=UNSET if v2 else float(kind.cpu.frequency),
            count=kind.cpu.count,
            core_count=kind.cpu.cores,
        ),
        memory=kind.memory * 1024,
        disks=tuple(_disk(disk, kind, v2=v2) for disk in kind.disks),
        raid_supported=raid if v2 else raid.upper(),
        is_baremetal=kind.disk_class == "CloudDisk",
        is_gpu=gpu is not None,
        gpu_info=GpuInfo(
            name=gpu.name if gpu else "",
            count=gpu.count if gpu else 0,
            memory=gpu.memory if gpu else "",
            performance=gpu.performance if gpu else "",
        ),
        on_sale=offer.stock > 0,
        scene=kind.scenes,
        clusters=UNSET if v2 else tuple(ClusterStock(name=o.cluster, stock_status=_stock(o)) for o in siblings),
    )


def _disk(disk: DiskGroup, kind: MachineType, *, v2: bool) -> DiskSet:
    return DiskSet(
        space=disk.size,
        name="sys" if disk.role == "system" else "data",
        io_cap=disk.io_cap,
        number=disk.count,
        unit_size=disk.size,
        raid_level=int("".join(filter(str.isdecimal, disk.raid)) or 0),
        disk_type=1 if kind.disk_class == "CloudDisk" else 0,
        old_io_cap=UNSET if v2 else disk.io_cap,
        count=UNSET if v2 else disk.count,
        type=UNSET if v2 else disk.type,
    )


def _stock(offer: Offer) -> str:
    return "Available" if offer.stock > 0 else "SoldOut"


ACTIONS = tuple(
    Action(request, DescribePHostMachineTypeResponse, describe_machine_types, Right.READ, project=True)
    for request in (DescribePHostMachineType, DescribeBaremetalMachineType)
)
