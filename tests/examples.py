"""Records to test with: each function gives a whole one, and takes what a test cares about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from phimage.catalog.revisions import Author
from phimage.model.account import Account, Key, Membership, Project, Role, User
from phimage.model.ids import (
    AccountId,
    ClusterId,
    ImageId,
    MachineTypeId,
    ProjectId,
    PublicKey,
    RegionId,
    UserId,
    ZoneId,
)
from phimage.model.image import NO_PROJECT, Image, ImageType, State
from phimage.model.topology import Cluster, Cpu, DiskGroup, Gpu, MachineType, Offer, Region, Topology, Zone, topology

PUBLIC_KEY = "ucloudsomeone@example.com1296235120854146120"
PRIVATE_KEY = "46f09bb9fab4f12dfc160dae12273d5332b5debe"
"""The sample pair that the signature documentation publishes (wire-protocol 2.6)."""


def author(time: float = 1_700_000_000.0, actor: str = "acme/main", action: str = "Test") -> Author:
    """Who changes something."""
    return Author(actor=actor, address="192.0.2.1", request_id="a-request", action=action, time=time)


def region(id: str = "cn-bj2", number: int = 1_000_001, *, default: bool = False) -> Region:
    """A region."""
    return Region(RegionId(id), number, f"{id} 地域", f"{id} region", default)


def zone(id: str = "cn-bj2-02", of: str = "cn-bj2") -> Zone:
    """A zone of a region."""
    return Zone(ZoneId(id), RegionId(of), f"{id} 可用区", f"{id} zone")


def cluster(id: str = "25G", *, default: bool = False) -> Cluster:
    """A network kind."""
    return Cluster(ClusterId(id), f"{id} network", default)


def machine_type(id: str = "DB-2", *, gpu: Gpu | None = None, memory: int = 256) -> MachineType:
    """A model of machine."""
    return MachineType(
        id=MachineTypeId(id),
        name_zh="数据库型",
        name_en="Database",
        disk_class="LocalDisk",
        cpu=Cpu("Intel Xeon 6248R", "3.0", 2, 96),
        memory=memory,
        disks=(DiskGroup("sys", "SSD", 480, 2, "RAID1", 0), DiskGroup("data", "NVMe", 3840, 4, "no", 0)),
        gpu=gpu,
        raid_supported=True,
        scenes=("database", "数据库"),
    )


def offer(kind: str = "DB-2", zone: str = "cn-bj2-02", cluster: str = "25G", stock: int = 3) -> Offer:
    """A machine type that can be had somewhere."""
    return Offer(MachineTypeId(kind), ZoneId(zone), ClusterId(cluster), stock)


def offering(*offers: Offer, default: str | None = "25G", clusters: Iterable[str] = ("1G", "10G", "25G")) -> Topology:
    """Places and machine types that have these offers; `default` names the default cluster."""
    return topology(
        regions=[region()],
        zones=[zone(name) for name in dict.fromkeys(offer.zone for offer in offers)],
        clusters=[cluster(name, default=name == default) for name in clusters],
        machine_types=[machine_type(name) for name in dict.fromkeys(offer.machine_type for offer in offers)],
        offers=offers,
    )


def image(
    id: str = "pimg-a",
    *,
    project: str = NO_PROJECT,
    zones: Iterable[str] = ("cn-bj2-02",),
    support: Mapping[str, Iterable[str]] | None = None,
    created: int = 1_700_000_000,
    deprecated: bool = False,
    state: State = State.AVAILABLE,
    name: str = "CentOS 7.9 64位",
) -> Image:
    """An image: a base image, or a custom one if a project is given."""
    return Image(
        id=ImageId(id),
        type=ImageType.CUSTOM if project else ImageType.BASE,
        project=ProjectId(project),
        family="centos-7",
        name=name,
        os_type="CentOS",
        os_name="CentOS 7.9 64位",
        version="v1.0",
        description="",
        state=state,
        deprecated=deprecated,
        size=20,
        created=created,
        zones=tuple(ZoneId(zone) for zone in zones),
        support={
            MachineTypeId(kind): tuple(ClusterId(cluster) for cluster in clusters)
            for kind, clusters in ({"DB-2": ("25G",)} if support is None else support).items()
        },
    )


def account(id: str = "acme", *, operator: bool = False, zones: Iterable[str] = (), networks: Iterable[str] = ()) -> Account:
    """A customer."""
    return Account(
        id=AccountId(id),
        operator=operator,
        company="艾克美 GmbH",
        email=f"main@{id}.example",
        zones=tuple(ZoneId(zone) for zone in zones),
        networks=tuple(networks),
        created=1_600_000_000,
    )


def user(id: int = 50_000_001, of: str = "acme", *, main: bool = False, name: str = "") -> User:
    """A user of an account."""
    return User(UserId(id), AccountId(of), name or f"user{id}", f"{id}@{of}.example", main, 1_600_000_000)


def project(id: str = "org-a", of: str = "acme", *, default: bool = False) -> Project:
    """A project of an account."""
    return Project(ProjectId(id), AccountId(of), f"Project {id}", default, 1_600_000_000)


def membership(project: str = "org-a", user: int = 50_000_001, of: str = "acme", role: Role = Role.VIEWER) -> Membership:
    """A sub-user's role in a project."""
    return Membership(ProjectId(project), UserId(user), AccountId(of), role)


def key(id: str = PUBLIC_KEY, of: str = "acme", user: int = 50_000_001, encrypted: bytes = b"\x01cipher text\x00\xff") -> Key:
    """A key of a user."""
    return Key(PublicKey(id), AccountId(of), UserId(user), encrypted, 1_600_000_000)
